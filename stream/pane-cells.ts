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
}

/** Whether a field of a pane's hash stands for a sketch, which is under a key of its own. */
export function isSketchField(field: string): boolean {
  return field.startsWith('distinct:');
}

/** @param flat fields and values of a pane's hash in turn @param sketchOf finds the sketch of a field */
export function toPaneCells(
  member: string,
  flat: readonly string[],
  sketchOf: (field: string) => Uint8Array | null,
): PaneCells {
  const integers: string[] = [];
  const sketches: Record<string, Uint8Array | null> = {};
  let revision = 0;
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const [field, value] = [flat[i] as string, flat[i + 1] as string];
    if (isSketchField(field)) sketches[field] = sketchOf(field);
    else if (field === revisionField) revision = Number(value);
    else if (field !== ownerField) integers.push(field, value);
  }
  return { member, revision, integers, sketches };
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
