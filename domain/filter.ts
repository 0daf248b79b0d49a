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

/**
 * Orders texts by code points, as UTF-8 bytes and SQL do; JavaScript's `<` orders UTF-16 units, which puts the characters
 * beyond U+FFFF before U+E000 to U+FFFF.
 */
export function compareTexts(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const [x, y] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (x !== y) return Number(isSurrogate(x)) - Number(isSurrogate(y)) || x - y;
  }
  return a.length - b.length;
}

function isSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdfff;
}

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
  if (operator === 'eq') return value === constant;
  if (operator === 'ne') return value !== constant;
  const order =
    typeof value === 'string' ? compareTexts(value, constant as string) : Number(value) - Number(constant);
  switch (operator) {
    case 'lt':
      return order < 0;
    case 'lte':
      return order <= 0;
    case 'gt':
      return order > 0;
    case 'gte':
      return order >= 0;
  }
}
