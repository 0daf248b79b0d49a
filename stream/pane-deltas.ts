/**
 * What the records since the last commit add to the panes of one partition. Guarantee: bounded by the number of touched
 * cells (`operations`), however many records there are; sums are exact beyond 2^53 (they spill into bigints).
 */
import { isFamily } from '../domain/aggregate.ts';
import type { Aggregate, Slot } from '../domain/aggregate.ts';
import { formatScaled } from '../domain/decimal.ts';
import { mergeRegister, registerOfRank } from '../domain/distinct.ts';
import type { Event } from '../domain/event.ts';
import type { Field, Value } from '../domain/field.ts';
import { bucketOf } from '../domain/quantile.ts';
import { markOfText } from './hash.ts';
import { paneField } from './keys.ts';

/** One cell's deltas, parallel to the aggregate's slots; NaN = no value yet. */
interface Cell {
  readonly values: number[];
  /** What no longer fitted into a safe integer, by slot. */
  spilled: Map<number, bigint> | null;
  /** By slot: counts by bucket or value, or states by register. */
  members: Map<number, Map<Value, number>> | null;
}

/** The deltas of one pane: one operation for each touched cell. */
export interface PaneDelta {
  readonly aggregate: Aggregate;
  readonly startMs: number;
  readonly endMs: number;
  readonly operations: readonly Operation[];
}

/**
 * `field` is the name inside the pane's hash. `value` is an integer's text; of a `sketch`, a JSON array
 * `[register, state, register, state, ...]`.
 */
export interface Operation {
  readonly kind: 'add' | 'min' | 'max' | 'sketch';
  readonly field: string;
  readonly value: string;
}

type Cells = Map<Value, Cell>;

/** The panes of one aggregate that were touched, by start and end. */
class TouchedPanes {
  readonly #panes = new Map<number, Map<number, Cells>>();
  /** The pane that the last event fell into: most events follow into the same. */
  #lastStartMs = Number.NaN;
  #lastEndMs = Number.NaN;
  #lastCells: Cells = new Map();

  cells(startMs: number, endMs: number): Cells {
    if (this.#lastStartMs === startMs && this.#lastEndMs === endMs) return this.#lastCells;
    let ends = this.#panes.get(startMs);
    if (ends === undefined) this.#panes.set(startMs, (ends = new Map<number, Cells>()));
    let cells = ends.get(endMs);
    if (cells === undefined) ends.set(endMs, (cells = new Map<Value, Cell>()));
    this.#lastStartMs = startMs;
    this.#lastEndMs = endMs;
    this.#lastCells = cells;
    return cells;
  }

  *entries(): Generator<{ startMs: number; endMs: number; cells: Cells }> {
    for (const [startMs, ends] of this.#panes)
      for (const [endMs, cells] of ends) yield { startMs, endMs, cells };
  }
}

export class PaneDeltas {
  readonly #fields: readonly Field[];
  readonly #panes: Map<Aggregate, TouchedPanes>;
  operations = 0;

  constructor(aggregates: readonly Aggregate[], fields: readonly Field[]) {
    this.#fields = fields;
    this.#panes = new Map(aggregates.map((aggregate) => [aggregate, new TouchedPanes()]));
  }

  /** Adds an event to its pane; `endMs` is the one of `acceptingEndMs`. */
  add(aggregate: Aggregate, startMs: number, endMs: number, event: Event): void {
    const cells = this.#panes.get(aggregate)?.cells(startMs, endMs);
    if (cells === undefined) throw new Error(`no such aggregate: ${aggregate.name}`);
    const group = groupOf(aggregate, event.values);
    let cell = cells.get(group);
    if (cell === undefined) {
      cell = {
        values: new Array<number>(aggregate.slots.length).fill(Number.NaN),
        spilled: null,
        members: null,
      };
      cells.set(ownCopy(group), cell);
      this.operations += aggregate.slots.length;
    }
    const { slots } = aggregate;
    for (let i = 0; i < slots.length; i++) this.#merge(cell, i, slots[i] as Slot, event);
  }

  /** All deltas, panes in the order in which they were first touched. */
  *drain(): Generator<PaneDelta> {
    for (const [aggregate, panes] of this.#panes)
      for (const { startMs, endMs, cells } of panes.entries())
        yield { aggregate, startMs, endMs, operations: this.#operationsOf(aggregate, cells) };
  }

  #merge(cell: Cell, i: number, slot: Slot, event: Event): void {
    const { kind } = slot;
    if (kind === 'rows') return addTo(cell, i, 1);
    if (kind === 'first') return lower(cell, i, event.timeMs);
    if (kind === 'last') return raise(cell, i, event.timeMs);
    const value = event.values[slot.field];
    if (value === null || value === undefined) return;
    switch (kind) {
      case 'sum':
        return addTo(cell, i, value as number);
      case 'count':
        return addTo(cell, i, 1);
      case 'min':
        return lower(cell, i, value as number);
      case 'max':
        return raise(cell, i, value as number);
      case 'quantile':
        return this.#addMember(cell, i, bucketOf(value as number), 1);
      case 'top':
        return this.#addMember(cell, i, value, 1);
      case 'distinct': {
        const mark = markOfText(valueText(value, this.#fields[slot.field]));
        return this.#addMember(cell, i, mark >> 6, registerOfRank(mark & 63), mergeRegister);
      }
    }
  }

  #addMember(cell: Cell, slot: number, member: Value, value: number, merge = add): void {
    cell.members ??= new Map();
    let members = cell.members.get(slot);
    if (members === undefined) cell.members.set(slot, (members = new Map<Value, number>()));
    const before = members.get(member);
    if (before !== undefined) {
      members.set(member, merge(before, value));
      return;
    }
    this.operations++;
    members.set(ownCopy(member), value);
  }

  #operationsOf(aggregate: Aggregate, cells: Cells): Operation[] {
    const operations: Operation[] = [];
    for (const [group, cell] of cells) {
      const texts = this.#groupTexts(aggregate, group);
      const groupText = JSON.stringify(texts);
      for (const [i, slot] of aggregate.slots.entries()) {
        const members = cell.members?.get(i);
        if (slot.kind === 'distinct') {
          if (members !== undefined)
            operations.push({
              kind: 'sketch',
              field: paneField(slot.key, groupText),
              value: JSON.stringify([...members].flat()),
            });
        } else if (isFamily(slot.kind))
          for (const [member, count] of members ?? [])
            operations.push({
              kind: 'add',
              field: paneField(slot.key, JSON.stringify([...texts, this.#memberText(slot, member)])),
              value: String(count),
            });
        else {
          const total = totalOf(cell, i);
          if (total !== null)
            operations.push({ kind: operationOf(slot), field: paneField(slot.key, groupText), value: total });
        }
      }
    }
    return operations;
  }

  #memberText(slot: Slot, member: Value): string {
    return slot.kind === 'top' ? valueText(member, this.#fields[slot.field]) : String(member);
  }

  /** The group as texts; their JSON array is what Redis, reports and the API know it by: `["SFO",null]`. */
  #groupTexts(aggregate: Aggregate, group: Value): (string | null)[] {
    if (aggregate.groupBy.length === 0) return [];
    const values = aggregate.groupBy.length === 1 ? [group] : (JSON.parse(group as string) as Value[]);
    return values.map((value, i) =>
      value === null ? null : valueText(value, this.#fields[aggregate.groupBy[i] ?? -1]),
    );
  }
}

/** The key of the group in the maps above: the value itself, or for several fields their JSON. */
function groupOf(aggregate: Aggregate, values: readonly Value[]): Value {
  const { groupBy } = aggregate;
  if (groupBy.length === 1) return values[groupBy[0] ?? -1] ?? null;
  if (groupBy.length === 0) return null;
  return JSON.stringify(groupBy.map((field) => values[field] ?? null));
}

/** A part of a text keeps all of it in memory: the whole event, for a short group. */
function ownCopy(value: Value): Value {
  return typeof value === 'string' ? Buffer.from(value).toString() : value;
}

function valueText(value: Value, field: Field | undefined): string {
  return field?.type === 'decimal' ? formatScaled(BigInt(value as number), field.scale) : String(value);
}

function operationOf({ kind }: Slot): Operation['kind'] {
  if (kind === 'min' || kind === 'first') return 'min';
  return kind === 'max' || kind === 'last' ? 'max' : 'add';
}

function totalOf(cell: Cell, slot: number): string | null {
  const value = cell.values[slot] ?? Number.NaN;
  const spilled = cell.spilled?.get(slot);
  if (spilled !== undefined) return String(spilled + BigInt(Number.isNaN(value) ? 0 : value));
  return Number.isNaN(value) ? null : String(value);
}

function add(a: number, b: number): number {
  return a + b;
}

function lower(cell: Cell, slot: number, value: number): void {
  const before = cell.values[slot] ?? Number.NaN;
  cell.values[slot] = before <= value ? before : value;
}

function raise(cell: Cell, slot: number, value: number): void {
  const before = cell.values[slot] ?? Number.NaN;
  cell.values[slot] = before >= value ? before : value;
}

function addTo(cell: Cell, slot: number, value: number): void {
  const before = cell.values[slot] ?? Number.NaN;
  if (Number.isNaN(before)) {
    cell.values[slot] = value;
    return;
  }
  const sum = before + value;
  if (Number.isSafeInteger(sum)) {
    cell.values[slot] = sum;
    return;
  }
  cell.spilled ??= new Map();
  cell.spilled.set(slot, (cell.spilled.get(slot) ?? 0n) + BigInt(before));
  cell.values[slot] = value;
}
