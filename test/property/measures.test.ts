/** Quantiles and distinct counts: within the errors that they promise, whatever the values and the order. */
import * as fc from 'fast-check';
import {
  estimateDistinct,
  markOf,
  mergeRegister,
  mergeSketches,
  registerOfRank,
  registers,
} from '../../domain/distinct.ts';
import { bucketOf, bucketValue, quantileOf } from '../../domain/quantile.ts';
import { markOfText } from '../../stream/hash.ts';

const integer = fc.oneof(
  fc.maxSafeInteger(),
  fc.integer({ min: -300, max: 300 }),
  fc.tuple(fc.integer({ min: 0, max: 52 }), fc.integer({ min: -1, max: 1 })).map(([e, d]) => 2 ** e + d),
);

describe('log-buckets', () => {
  it('keep the order of the values, and their value is within 1/128 of each', () => {
    fc.assert(
      fc.property(integer, integer, (a, b) => {
        const [low, high] = a <= b ? [a, b] : [b, a];
        expect(bucketOf(low)).toBeLessThanOrEqual(bucketOf(high));
        for (const value of [low, high]) {
          const error = Math.abs(bucketValue(bucketOf(value)) - value);
          expect(error).toBeLessThanOrEqual(Math.abs(value) / 128);
          expect(Number.isSafeInteger(bucketOf(value))).toBe(true);
        }
      }),
      { numRuns: 1_000 },
    );
  });

  it('give the value at the nearest rank, within 1%', () => {
    fc.assert(
      fc.property(
        fc.array(integer, { minLength: 1, maxLength: 200 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (values, q) => {
          const buckets = new Map<number, bigint>();
          for (const value of values) buckets.set(bucketOf(value), (buckets.get(bucketOf(value)) ?? 0n) + 1n);
          const sorted = [...values].sort((a, b) => a - b);
          const exact = sorted[Math.max(1, Math.ceil(q * values.length)) - 1] ?? Number.NaN;
          expect(Math.abs((quantileOf(buckets, q) ?? Number.NaN) - exact)).toBeLessThanOrEqual(
            Math.abs(exact) * 0.01,
          );
        },
      ),
    );
  });

  it('take ranks exactly where binary fractions do not', () => {
    const oneToHundred = new Map(Array.from({ length: 100 }, (_, i) => [i + 1, 1n]));
    expect([0.07, 0.55, 0.57, 0.58, 1].map((q) => quantileOf(oneToHundred, q))).toEqual([7, 55, 57, 58, 100]);
  });

  it('have no quantile without a value', () => {
    expect(quantileOf(new Map(), 0.5)).toBeNull();
  });
});

describe('the sketch of distinct values', () => {
  const sketchOf = (marks: Iterable<number>): Uint8Array => {
    const sketch = new Uint8Array(registers);
    for (const mark of marks)
      sketch[mark >> 6] = mergeRegister(sketch[mark >> 6] ?? 0, registerOfRank(mark & 63));
    return sketch;
  };
  const texts = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => `user ${from + i}`);

  it.each([0, 1, 2, 10, 1_000, 20_000, 300_000])('of %d values is within 2%', (n) => {
    const marks = texts(0, n).map(markOfText);
    expect(Math.abs(estimateDistinct(sketchOf(marks)) - n)).toBeLessThanOrEqual(0.02 * n);
  });

  it('has a standard error of 0.6% at a million, and no bias', () => {
    // A value's hash is 64 random bits: random ones stand for the values, so that many sketches can be tried.
    let state = 1;
    const random = () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
      let t = state ^ (state >>> 15);
      t = Math.imul(t, 0x2c1b3c6d);
      t ^= t >>> 12;
      return Math.imul(t, 0x297a2d39) ^ (t >>> 15);
    };
    const errors = Array.from({ length: 4 }, () => {
      const sketch = new Uint8Array(registers);
      for (let i = 0; i < 1_000_000; i++) {
        const mark = markOf(random(), random());
        sketch[mark >> 6] = mergeRegister(sketch[mark >> 6] ?? 0, registerOfRank(mark & 63));
      }
      return estimateDistinct(sketch) / 1_000_000 - 1;
    });
    expect(Math.sqrt(errors.reduce((sum, error) => sum + error ** 2, 0) / errors.length)).toBeLessThan(0.01);
    for (const error of errors) expect(Math.abs(error)).toBeLessThan(0.02);
  });

  it('is the same in any order and any parts', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(5_000), { maxLength: 500 }),
        fc.array(fc.nat(5_000), { maxLength: 500 }),
        (a, b) => {
          const marks = (numbers: readonly number[]) => numbers.map((n) => markOfText(String(n)));
          const both = Buffer.from(sketchOf(marks([...b, ...a])));
          expect(both.equals(mergeSketches(sketchOf(marks(a)), sketchOf(marks(b))))).toBe(true);
          expect(both.equals(sketchOf(new Set(marks([...a, ...b, ...a]))))).toBe(true);
        },
      ),
      { numRuns: 50 },
    );
  });

  it('takes the hash with no rank bits at all', () => {
    expect([markOf(5, 0), markOf(5 | (1 << 14), 0), markOf(0, 1)]).toEqual([5 * 64 + 51, 5 * 64 + 1, 19]);
  });
});
