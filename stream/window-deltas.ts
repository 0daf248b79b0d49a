/**
 * What the records since the last commit add to the windows of one partition. Guarantee: bounded by the number of
 * touched cells (`operations`), however many records there are; sums are exact beyond 2^53 (they spill into bigints).
 */
import type { Aggregate, SlotKind } from '../domain/aggregate.ts';
import { formatScaled } from '../domain/decimal.ts';
import type { Field, Value } from '../domain/field.ts';

/** One cell's deltas, parallel to the aggregate's slots; NaN = no value yet. */
interface Cell {
  readonly values: number[];
  /** What no longer fitted into a safe integer, by slot. */
  spilled: Map<number, bigint> | null;
}

/** The deltas of one window: one operation for each touched slot of each touched group. */
export interface WindowDelta {
  readonly aggregate: Aggregate;
  readonly startMs: number;
  readonly operations: readonly Operation[];
}

/** `field` is the name inside the window's hash: slot key, `|`, group. */
export interface Operation {
  readonly kind: 'add' | 'min' | 'max';
  readonly field: string;
  readonly value: string;
}

type Cells = Map<Value, Cell>;

export class WindowDeltas {
  readonly #fields: readonly Field[];
  readonly #windows: Map<Aggregate, Map<number, Cells>>;
  /** The window that the last event of each aggregate fell into: most events follow into the same. */
  #lastAggregate: Aggregate | null = null;
  #lastStartMs = Number.NaN;
  #lastCells: Cells | null = null;
  operations = 0;

  constructor(aggregates: readonly Aggregate[], fields: readonly Field[]) {
    this.#fields = fields;
    this.#windows = new Map(aggregates.map((aggregate) => [aggregate, new Map<number, Cells>()]));
  }

  add(aggregate: Aggregate, startMs: number, values: readonly Value[]): void {
    const cells = this.#cellsOf(aggregate, startMs);
    const group = groupOf(aggregate, values);
    let cell = cells.get(group);
    if (cell === undefined) {
      cell = { values: new Array<number>(aggregate.slots.length).fill(Number.NaN), spilled: null };
      cells.set(group, cell);
      this.operations += aggregate.slots.length;
    }
    const { slots } = aggregate;
    for (let i = 0; i < slots.length; i++) {
      const slot = slots[i];
      if (slot === undefined) continue;
      if (slot.kind === 'rows') {
        addTo(cell, i, 1);
        continue;
      }
      const value = values[slot.field];
      if (value === null || value === undefined) continue;
      mergeInto(cell, i, slot.kind, value as number);
    }
  }

  /** All deltas, windows in the order in which they were first touched. */
  *drain(): Generator<WindowDelta> {
    for (const [aggregate, windows] of this.#windows)
      for (const [startMs, cells] of windows)
        yield { aggregate, startMs, operations: this.#operationsOf(aggregate, cells) };
  }

  #cellsOf(aggregate: Aggregate, startMs: number): Cells {
    if (this.#lastCells !== null && this.#lastAggregate === aggregate && this.#lastStartMs === startMs)
      return this.#lastCells;
    const windows = this.#windows.get(aggregate);
    if (windows === undefined) throw new Error(`no such aggregate: ${aggregate.name}`);
    let cells = windows.get(startMs);
    if (cells === undefined) {
      cells = new Map();
      windows.set(startMs, cells);
    }
    this.#lastAggregate = aggregate;
    this.#lastStartMs = startMs;
    this.#lastCells = cells;
    return cells;
  }

  #operationsOf(aggregate: Aggregate, cells: Cells): Operation[] {
    const operations: Operation[] = [];
    for (const [group, cell] of cells) {
      const groupText = this.#groupText(aggregate, group);
      aggregate.slots.forEach((slot, i) => {
        const value = cell.values[i] ?? Number.NaN;
        const spilled = cell.spilled?.get(i);
        if (Number.isNaN(value) && spilled === undefined) return;
        const total =
          spilled === undefined ? String(value) : String(spilled + BigInt(Number.isNaN(value) ? 0 : value));
        operations.push({ kind: operationOf(slot.kind), field: `${slot.key}|${groupText}`, value: total });
      });
    }
    return operations;
  }

  /** The group as a JSON array of texts, the form in which Redis, reports and the API know it: `["SFO",null]`. */
  #groupText(aggregate: Aggregate, group: Value): string {
    if (aggregate.groupBy.length === 0) return '[]';
    const values = aggregate.groupBy.length === 1 ? [group] : (JSON.parse(group as string) as Value[]);
    return JSON.stringify(
      values.map((value, i) => valueText(value, this.#fields[aggregate.groupBy[i] ?? -1])),
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

function valueText(value: Value, field: Field | undefined): string | null {
  if (value === null) return null;
  return field?.type === 'decimal' ? formatScaled(BigInt(value), field.scale) : String(value);
}

function operationOf(kind: SlotKind): Operation['kind'] {
  return kind === 'min' || kind === 'max' ? kind : 'add';
}

function mergeInto(cell: Cell, slot: number, kind: SlotKind, value: number): void {
  const before = cell.values[slot] ?? Number.NaN;
  if (kind === 'sum') addTo(cell, slot, value);
  else if (kind === 'count') addTo(cell, slot, 1);
  else if (kind === 'min') cell.values[slot] = before <= value ? before : value;
  else cell.values[slot] = before >= value ? before : value;
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
