/**
 * A pane's cells, gathered by group. Guarantee: a cell that is no integer, or whose slot the aggregate does not have, has no
 * value; what is gathered does not depend on what was read before.
 */
import { isFamily } from '../domain/aggregate.ts';
import type { Aggregate } from '../domain/aggregate.ts';
import type { GroupSlots, SlotValue } from '../domain/window-view.ts';
import { parsePaneField, parsePaneMember } from './keys.ts';
import type { PaneCells } from './pane-cells.ts';

/** So many characters are an integer that a double holds exactly. */
const exactDigits = 15;
const integer = /^-?\d+$/;

export function groupsOfPane(aggregate: Aggregate, pane: PaneCells): GroupSlots[] {
  const { groups, revision } = new PaneGroups(aggregate).take(pane);
  const { startMs, endMs } = parsePaneMember(pane.member);
  return Array.from(groups, ([group, slots]) => ({ startMs, endMs, group, slots, revision }));
}

/** One pane that is read again and again: only the cells that have changed since are gathered anew. */
export class PaneGroups {
  readonly #aggregate: Aggregate;
  /** Redis lists the fields of a hash in the same order until there is a new one. */
  #integers: readonly string[] = [];
  #groups = new Map<string, SlotValue[]>();
  #texts: readonly string[] = [];
  #revision = 0;
  /** Sketches are keys of their own: of a pane that has any, everything is gathered anew. */
  #hadSketches = false;

  constructor(aggregate: Aggregate) {
    this.#aggregate = aggregate;
  }

  /** By group, the slots, parallel to the aggregate's; those that change are replaced. */
  get groups(): ReadonlyMap<string, readonly SlotValue[]> {
    return this.#groups;
  }

  get revision(): number {
    return this.#revision;
  }

  /** What the next read of the pane has to know. */
  get texts(): readonly string[] {
    return this.#texts;
  }

  /** @param pane the same one at every call, as it is now */
  take({ integers, sketches, texts, revision }: PaneCells): this {
    const hasSketches = Object.keys(sketches).length > 0 || this.#hadSketches;
    if (hasSketches || !hasSameFields(integers, this.#integers)) {
      this.#groups = new Map();
      this.#integers = [];
    }
    this.#gather(integers, sketches);
    this.#integers = integers;
    this.#texts = texts;
    this.#revision = revision;
    this.#hadSketches = Object.keys(sketches).length > 0;
    return this;
  }

  #gather(integers: readonly string[], sketches: PaneCells['sketches']): void {
    /** What was made now; everything else may have been given away, and is copied before it is changed. */
    const fresh = new Set<SlotValue[]>();
    const slotsOf = (group: string): SlotValue[] => {
      let slots = this.#groups.get(group);
      if (slots !== undefined && fresh.has(slots)) return slots;
      slots =
        slots?.map((value) => (value instanceof Map ? new Map(value) : value)) ??
        this.#aggregate.slots.map(() => null);
      this.#groups.set(group, slots);
      fresh.add(slots);
      return slots;
    };
    for (let i = 0; i < integers.length; i += 2) {
      const [field, text] = [integers[i] as string, integers[i + 1] as string];
      if (text === this.#integers[i + 1]) continue;
      const cell = readCell(this.#aggregate, field);
      if (cell === null || !integer.test(text)) continue;
      const value = text.length <= exactDigits ? BigInt(Number(text)) : BigInt(text);
      const slots = slotsOf(cell.group);
      if (cell.member === null) slots[cell.slot] = value;
      else ((slots[cell.slot] ??= new Map<string, bigint>()) as Map<string, bigint>).set(cell.member, value);
    }
    for (const [field, sketch] of Object.entries(sketches)) {
      const cell = readCell(this.#aggregate, field);
      if (cell !== null) slotsOf(cell.group)[cell.slot] = sketch;
    }
  }
}

/** Whether the fields are the same in the same order, and none of the values has ceased to be an integer. */
function hasSameFields(integers: readonly string[], before: readonly string[]): boolean {
  if (integers.length !== before.length) return false;
  for (let i = 0; i < integers.length; i += 2) {
    if (integers[i] !== before[i]) return false;
    if (integers[i + 1] !== before[i + 1] && !integer.test(integers[i + 1] as string)) return false;
  }
  return true;
}

/** What the name of a pane's field says. */
interface Cell {
  /** Index of one of the aggregate's slots. */
  readonly slot: number;
  readonly group: string;
  /** Bucket or value; null where the slot is no family. */
  readonly member: string | null;
}

function readCell({ slots }: Aggregate, field: string): Cell | null {
  const { slot: key, group } = parsePaneField(field);
  const slot = slots.findIndex((one) => one.key === key);
  if (slot < 0) return null;
  if (!isFamily(slots[slot]?.kind ?? 'rows')) return { slot, group, member: null };
  const texts = parseGroup(group);
  const member = texts?.pop();
  return texts === null || typeof member !== 'string' ? null : { slot, group: JSON.stringify(texts), member };
}

function parseGroup(text: string): unknown[] | null {
  try {
    const group: unknown = JSON.parse(text);
    return Array.isArray(group) ? group : null;
  } catch {
    return null;
  }
}
