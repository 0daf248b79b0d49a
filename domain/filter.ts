/**
 * The `where` of an aggregate: a conjunction of comparisons of fields with constants. Guarantee: as in SQL, a comparison
 * with an absent field is never true (`exists: false` is how to ask for one).
 */
import type { Value } from './field.ts';

export const comparisonOperators = ['eq', 'ne', 'lt', 'lte', 'gt', 'gte', 'in', 'exists'] as const;
export type ComparisonOperator = (typeof comparisonOperators)[number];

/** One comparison; `field` is the index into the pipeline's fields, decimals in `operand` are scaled integers. */
export interface Comparison {
  readonly field: number;
  readonly operator: ComparisonOperator;
  readonly operand: Value | readonly Value[];
}

export type Filter = readonly Comparison[];

/** @returns whether every comparison of the filter holds; an empty filter holds for every event. */
export function passes(filter: Filter, values: readonly Value[]): boolean {
  for (const comparison of filter) if (!holds(comparison, values[comparison.field] ?? null)) return false;
  return true;
}

function holds({ operator, operand }: Comparison, value: Value): boolean {
  if (operator === 'exists') return (value !== null) === operand;
  if (value === null) return false;
  if (operator === 'in') return (operand as readonly Value[]).includes(value);
  const constant = operand as Value;
  if (constant === null) return false;
  switch (operator) {
    case 'eq':
      return value === constant;
    case 'ne':
      return value !== constant;
    case 'lt':
      return value < constant;
    case 'lte':
      return value <= constant;
    case 'gt':
      return value > constant;
    case 'gte':
      return value >= constant;
  }
}
