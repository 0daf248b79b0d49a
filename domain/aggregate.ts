/**
 * What an aggregate keeps for each window and group. One definition, three carriers: the TypeScript fold
 * (`stream/fold.ts`), the Lua merge (`stream/lua/commit.lua`) and DuckDB's SQL (`batch/recompute.ts`) all work on the
 * same `slots`. Guarantee: slots are integers that merge associatively and commutatively, so order never matters.
 */
import { formatQuotient, formatScaled } from './decimal.ts';
import type { Field } from './field.ts';
import type { Filter } from './filter.ts';
import type { Window } from './window.ts';

/**
 * - `rows`: how many events; `sum`, `count`, `min`, `max`: of the non-null values of one field. A slot whose field was
 *   null in every event has no value (null), as in SQL.
 */
export type SlotKind = 'rows' | 'sum' | 'count' | 'min' | 'max';

/** One mergeable integer of a window and group. `key` is its name in Redis and in reports: `rows`, `sum:delay`. */
export interface Slot {
  readonly key: string;
  readonly kind: SlotKind;
  /** Index into the pipeline's fields; −1 for `rows`. */
  readonly field: number;
}

export type MeasureKind = 'count' | 'sum' | 'min' | 'max' | 'avg';

/** One output of an aggregate, computed from one slot (or two: `avg` = sum ÷ count). */
export interface Measure {
  readonly name: string;
  readonly kind: MeasureKind;
  /** Index into the pipeline's fields; −1 for `count`. */
  readonly field: number;
  readonly scale: number;
  /** Indexes into the aggregate's slots. */
  readonly slots: readonly number[];
}

export interface Aggregate {
  readonly name: string;
  readonly window: Window;
  /** Indexes into the pipeline's fields. */
  readonly groupBy: readonly number[];
  readonly where: Filter;
  readonly measures: readonly Measure[];
  readonly slots: readonly Slot[];
  readonly allowedLatenessMs: number;
}

/** The slots that a list of measures needs, each once; `rows` is always the first. */
export function slotsOfMeasures(
  measures: readonly { name: string; kind: MeasureKind; field: number }[],
  fields: readonly Field[],
): { slots: Slot[]; measures: Measure[] } {
  const slots: Slot[] = [{ key: 'rows', kind: 'rows', field: -1 }];
  const slotOf = (kind: SlotKind, field: number): number => {
    const key = `${kind}:${fields[field]?.name ?? ''}`;
    const known = slots.findIndex((slot) => slot.key === key);
    return known >= 0 ? known : slots.push({ key, kind, field }) - 1;
  };
  const slotsOf = (kind: MeasureKind, field: number): number[] => {
    if (kind === 'count') return field < 0 ? [0] : [slotOf('count', field)];
    if (kind === 'avg') return [slotOf('sum', field), slotOf('count', field)];
    return [slotOf(kind, field)];
  };
  return {
    measures: measures.map((measure) => ({
      ...measure,
      scale: fields[measure.field]?.scale ?? 0,
      slots: slotsOf(measure.kind, measure.field),
    })),
    slots,
  };
}

/** Merges two values of a slot; null is the neutral element. */
export function mergeSlot(kind: SlotKind, a: bigint | null, b: bigint | null): bigint | null {
  if (a === null) return b;
  if (b === null) return a;
  if (kind === 'min') return a < b ? a : b;
  if (kind === 'max') return a > b ? a : b;
  return a + b;
}

/**
 * A measure's result as exact decimal text (`avg` has four digits more than its field), or null where every value was
 * null.
 */
export function measureResult(measure: Measure, slots: readonly (bigint | null)[]): string | null {
  const [first, second] = measure.slots.map((index) => slots[index] ?? null);
  if (measure.kind === 'count') return (first ?? 0n).toString();
  if (first === null || first === undefined) return null;
  if (measure.kind === 'avg') return second ? formatQuotient(first, second, measure.scale) : null;
  return formatScaled(first, measure.scale);
}
