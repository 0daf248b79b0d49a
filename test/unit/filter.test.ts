/** Comparisons with constants: an absent field never matches, texts are ordered by code points as in SQL. */
import * as fc from 'fast-check';
import { compareTexts, passes } from '../../domain/filter.ts';
import type { ComparisonOperator } from '../../domain/filter.ts';
import type { Value } from '../../domain/field.ts';

const holds = (operator: ComparisonOperator, operand: Value | Value[], value: Value) =>
  passes([{ field: 0, operator, operand }], [value]);

it('orders texts as their UTF-8 bytes are ordered', () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom('\u{1F600}', '\uFF5E', '\uE000', '\uD7FF', '', 'a', 'a\0'),
  );
  fc.assert(
    fc.property(text, text, (a, b) => {
      expect(Math.sign(compareTexts(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
      expect(holds('lt', b, a)).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)) < 0);
      expect(holds('gte', b, a)).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)) >= 0);
    }),
    { numRuns: 1_000 },
  );
});

it.each<[ComparisonOperator, Value | Value[], Value, boolean]>([
  ['eq', 1, 1, true],
  ['eq', 0, -0, true],
  ['ne', 1, 1, false],
  ['ne', 1, 2, true],
  ['ne', 1, null, false],
  ['lt', 1, null, false],
  ['lt', 2, 1, true],
  ['lte', 1, 1, true],
  ['gt', 1, 1, false],
  ['gte', 1, 1, true],
  ['lt', true, false, true],
  ['gt', false, true, true],
  ['in', [1, 2], 2, true],
  ['in', [1, 2], 3, false],
  ['in', [], 1, false],
  ['in', ['a'], null, false],
  ['exists', true, 'a', true],
  ['exists', true, null, false],
  ['exists', false, null, true],
  ['exists', false, '', false],
])('%s %j of %j is %s', (operator, operand, value, expected) => {
  expect(holds(operator, operand, value)).toBe(expected);
});

it('is a conjunction; empty, it holds', () => {
  const positive = { field: 0, operator: 'gt', operand: 0 } as const;
  const small = { field: 0, operator: 'lt', operand: 9 } as const;
  expect([
    passes([], [null]),
    passes([positive, small], [5]),
    passes([positive, small], [9]),
    passes([positive], []),
  ]).toEqual([true, true, false, false]);
});
