/**
 * The cells of a pane as Redis holds them. Guarantee: whatever else was written there comes out as "no value", never as a
 * number that was not counted.
 */
import { registers } from '../domain/distinct.ts';
import { ownerField, revisionField } from './keys.ts';

export interface PaneCells {
  readonly member: string;
  /** How many commits have changed the pane. */
  readonly revision: number;
  /** `<slot>|<group>` and the integer's text in turn: one list, as a pane may have tens of thousands. */
  readonly integers: readonly string[];
  /** `<slot>|<group>` → the registers of a sketch; null where they are missing. */
  readonly sketches: Readonly<Record<string, Uint8Array | null>>;
  /** All fields and values of the hash in turn: `before` of the next read of the same pane. */
  readonly texts: readonly string[];
}

/** Whether a field of a pane's hash stands for a sketch, which is under a key of its own. */
function isSketchField(field: string): boolean {
  return field.startsWith('distinct:');
}

/** @param flat fields and values of a pane's hash in turn @returns the cells, every sketch missing */
export function toPaneCells(member: string, flat: readonly string[]): PaneCells {
  const integers: string[] = [];
  const sketches: Record<string, null> = {};
  let revision = 0;
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const [field, value] = [flat[i] as string, flat[i + 1] as string];
    if (isSketchField(field)) sketches[field] = null;
    else if (field === revisionField) revision = Number(value);
    else if (field !== ownerField) integers.push(field, value);
  }
  return { member, revision, integers, sketches, texts: flat };
}

/** @param found finds the registers of a sketch by its field */
export function withSketches(cells: PaneCells, found: (field: string) => Uint8Array | null): PaneCells {
  const fields = Object.keys(cells.sketches);
  if (fields.length === 0) return cells;
  return { ...cells, sketches: Object.fromEntries(fields.map((field) => [field, found(field)])) };
}

/**
 * A text cut at every NUL. Guarantee: as `text.split`, but parts that are as they were `before` are the same strings, and cost no
 * memory: of a pane that is read again, most of them.
 */
export function splitAgain(text: string, before: readonly string[]): string[] {
  const parts: string[] = [];
  let at = 0;
  for (const known of before) {
    if (at > text.length) return parts;
    let end = at + known.length;
    const isKnown = (end === text.length || text.charCodeAt(end) === 0) && text.startsWith(known, at);
    if (!isKnown) end = text.indexOf('\0', at);
    if (end < 0) end = text.length;
    parts.push(isKnown ? known : text.slice(at, end));
    at = end + 1;
  }
  return at > text.length ? parts : parts.concat(text.slice(at).split('\0'));
}

/** @param reply the string of a dense sketch, the flat list or the record of a sparse one; anything else is none */
export function fromSketchReply(reply: unknown): Uint8Array | null {
  if (Buffer.isBuffer(reply)) return reply.length === registers ? new Uint8Array(reply) : null;
  if (typeof reply !== 'object' || reply === null) return null;
  const flat = Array.isArray(reply) ? (reply as unknown[]) : Object.entries(reply).flat();
  if (flat.length === 0) return null;
  const sketch = new Uint8Array(registers);
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const [register, state] = [Number(String(flat[i])), Number(String(flat[i + 1]))];
    if (!(register >= 0 && register < registers && state > 0 && state < 256)) return null;
    sketch[register] = state;
  }
  return sketch;
}
