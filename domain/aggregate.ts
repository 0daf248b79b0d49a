/**
 * What an aggregate keeps for each pane and group. One definition, three carriers: the TypeScript fold (`stream/fold.ts`), the
 * Lua merge (`stream/lua/commit.lua`) and DuckDB's SQL (`batch/recompute.ts`) all work on the same `slots`. Guarantee: slots
 * are integers that merge associatively and commutatively, so order never matters.
 */
import type { Field } from './field.ts';
import type { Filter } from './filter.ts';
import type { Window } from './window.ts';

/**
 * - `rows`: how many events; `first`, `last`: their smallest and largest event time (ms).
 * - `sum`, `count`, `min`, `max`: of the non-null values of one field. A slot whose field was null in every event has no
 *   value (null), as in SQL.
 * - `quantile`, `top`: a family of counts, by log-bucket (`domain/quantile.ts`) and by value.
 * - `distinct`: a sketch (`domain/distinct.ts`).
 */
export type SlotKind =
  'rows' | 'first' | 'last' | 'sum' | 'count' | 'min' | 'max' | 'quantile' | 'top' | 'distinct';

/** Slots that hold one integer. */
export function isScalar(kind: SlotKind): boolean {
  return !isFamily(kind) && kind !== 'distinct';
}

/** Slots that hold a count for each bucket or value. */
export function isFamily(kind: SlotKind): kind is 'quantile' | 'top' {
  return kind === 'quantile' || kind === 'top';
}

/**
 * One mergeable value of a pane and group. `key` is its name in Redis and in reports: `rows`, `sum:delay`. Members of a family
 * have one more element in their group: `top:product|["SFO","p7"]`.
 */
export interface Slot {
  readonly key: string;
  readonly kind: SlotKind;
  /** Index into the pipeline's fields; −1 for `rows`, `first` and `last`. */
  readonly field: number;
}

export type MeasureKind = 'count' | 'sum' | 'min' | 'max' | 'avg' | 'distinct' | 'quantile' | 'topK';

/** A measure as the definition resolves it. */
export interface MeasureChoice {
  readonly name: string;
  readonly kind: MeasureKind;
  /** Index into the pipeline's fields; −1 for `count`. */
  readonly field: number;
  /** The q of a quantile (0 to 1), the k of topK. */
  readonly argument: number | null;
}

/** One output of an aggregate, computed from one slot (or two: `avg` = sum ÷ count). */
export interface Measure extends MeasureChoice {
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

/** The slots that a window and a list of measures need, each once; `rows` is always the first. */
export function slotsOfMeasures(
  window: Window,
  measures: readonly MeasureChoice[],
  fields: readonly Field[],
): { slots: Slot[]; measures: Measure[] } {
  const slots: Slot[] = [{ key: 'rows', kind: 'rows', field: -1 }];
  if (window.kind === 'session')
    slots.push({ key: 'first', kind: 'first', field: -1 }, { key: 'last', kind: 'last', field: -1 });
  const slotOf = (kind: SlotKind, field: number): number => {
    const key = `${kind}:${fields[field]?.name ?? ''}`;
    const known = slots.findIndex((slot) => slot.key === key);
    return known >= 0 ? known : slots.push({ key, kind, field }) - 1;
  };
  const slotsOf = (kind: MeasureKind, field: number): number[] => {
    if (kind === 'count') return field < 0 ? [0] : [slotOf('count', field)];
    if (kind === 'avg') return [slotOf('sum', field), slotOf('count', field)];
    return [slotOf(kind === 'topK' ? 'top' : kind, field)];
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
