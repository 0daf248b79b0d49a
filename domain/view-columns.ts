/**
 * The columns of an aggregate's batch view. Guarantee: pure; names that engines of the lake accept, which tell names apart without
 * regard to case (Spark, delta-rs).
 */
import type { Aggregate } from './aggregate.ts';
import type { Field } from './field.ts';

/** The view's partition column: the day on which a window starts. */
export const windowDate = 'window_date';
export const windowStart = 'window_start';
export const windowEnd = 'window_end';

/** Characters that Spark refuses in names of columns. */
const unsafe = /[ ,;{}()\n\t=]/g;

/** @param complete with late records */
export function measureColumn(measure: string, complete: boolean): string {
  return `${complete ? 'complete_' : ''}${measure.replaceAll(unsafe, '_')}`;
}

/** @returns a name that two columns would have, or null */
export function doubleViewColumn(
  { groupBy, measures }: Pick<Aggregate, 'groupBy' | 'measures'>,
  fields: readonly Field[],
): string | null {
  const names = [
    ...[windowDate, windowStart, windowEnd],
    ...groupBy.map((index) => fields[index]?.column ?? ''),
    ...[false, true].flatMap((complete) => measures.map(({ name }) => measureColumn(name, complete))),
  ];
  const lower = names.map((name) => name.toLowerCase());
  return names.find((_, i) => lower.indexOf(lower[i] ?? '') !== i) ?? null;
}
