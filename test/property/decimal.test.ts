/** Decimals are exact or refused: what a producer wrote is what is summed, to the last digit, at every scale. */
import * as fc from 'fast-check';
import { formatQuotient, formatScaled, scaleMax, scaleNumber, scaleText } from '../../domain/decimal.ts';

const largest = 9_007_199_254_740_991n;
const scale = fc.integer({ min: 0, max: scaleMax });
/** Every magnitude, the edges included. */
const scaled = fc.oneof(
  fc.bigInt(-largest, largest),
  fc
    .integer({ min: 0, max: 53 })
    .chain((bits) =>
      fc.bigInt(-(2n ** BigInt(bits)), 2n ** BigInt(bits)).filter((n) => n <= largest && n >= -largest),
    ),
  fc.constantFrom(largest, -largest, 0n, 1n, -1n, 2n ** 51n + 1n, 2n ** 52n + 1n),
);

it('a JSON number becomes the decimal that was written, or is refused', () => {
  fc.assert(
    fc.property(scaled, scale, (n, digits) => {
      const read = scaleNumber(JSON.parse(formatScaled(n, digits)) as number, digits);
      if (read.ok) expect(BigInt(read.scaled)).toBe(n);
      else expect(read.code).toBe('number-out-of-range');
      // Up to 2^52 units every decimal has a double of its own, so none may be refused.
      if (n <= 2n ** 52n && n >= -(2n ** 52n)) expect(read.ok).toBe(true);
    }),
    { numRuns: 5_000 },
  );
});

it('a JSON number that has more digits is too precise, not rounded', () => {
  fc.assert(
    fc.property(
      fc.bigInt(-(10n ** 14n), 10n ** 14n).filter((n) => n % 10n !== 0n),
      fc.integer({ min: 0, max: scaleMax - 1 }),
      (n, digits) => {
        expect(scaleNumber(JSON.parse(formatScaled(n, digits + 1)) as number, digits)).toEqual({
          ok: false,
          code: 'too-precise',
        });
      },
    ),
  );
});

it('a decimal text becomes the integer that was written', () => {
  fc.assert(
    fc.property(scaled, scale, fc.nat(3), (n, digits, zeros) => {
      const text = formatScaled(n, digits);
      const padded = digits === 0 ? text : text + '0'.repeat(zeros);
      expect(scaleText(padded, digits)).toEqual({ ok: true, scaled: Number(n) });
    }),
  );
});

it('texts beyond the exact range are refused, and what is no decimal is none', () => {
  fc.assert(
    fc.property(fc.bigInt(largest + 1n, 10n ** 18n), scale, (n, digits) => {
      expect(scaleText(formatScaled(n, digits), digits)).toEqual({ ok: false, code: 'number-out-of-range' });
    }),
  );
  for (const text of [
    '',
    '-',
    '.5',
    '5.',
    '+1',
    '1e3',
    ' 1',
    '1 ',
    '1,5',
    'NaN',
    'Infinity',
    '0x10',
    '--1',
    '１',
  ])
    expect([text, scaleText(text, 2)]).toEqual([text, null]);
});

it.each([
  [0.1 + 0.2, 2, 'too-precise'],
  [1.005, 2, 'too-precise'],
  [1e400, 2, 'number-out-of-range'],
  [-1e400, 0, 'number-out-of-range'],
  [1e21, 2, 'number-out-of-range'],
  [5e-324, 12, 'too-precise'],
  [9_007_199_254_740_992, 0, 'number-out-of-range'],
  // 90071992547409.91 and …409.90 are the same double.
  [90_071_992_547_409.91, 2, 'number-out-of-range'],
])('%d at scale %d is refused: %s', (value, digits, code) => {
  expect(scaleNumber(value, digits)).toEqual({ ok: false, code });
});

it.each([
  [1.005, 3, 1005],
  [0.3, 1, 3],
  [-0, 2, 0],
  [-0.005, 3, -5],
  [9_007_199_254_740_991, 0, 9_007_199_254_740_991],
  [1e-12, 12, 1],
])('%d at scale %d is %d', (value, digits, expected) => {
  expect(scaleNumber(value, digits)).toEqual({ ok: true, scaled: expected });
});

it('quotients are rounded half to even, like the exact fraction', () => {
  fc.assert(
    fc.property(
      fc.bigInt(-(10n ** 20n), 10n ** 20n),
      fc.bigInt(1n, 10n ** 6n),
      scale,
      (sum, count, digits) => {
        const text = formatQuotient(sum, count, digits);
        expect(text).toMatch(new RegExp(`^-?\\d+\\.\\d{${digits + 4}}$`));
        const quotient = BigInt(text.replace('.', ''));
        const twiceError = 2n * (sum * 10_000n - quotient * count);
        const size = twiceError < 0n ? -twiceError : twiceError;
        expect(size <= count).toBe(true);
        if (size === count) expect(quotient % 2n).toBe(0n);
      },
    ),
  );
  expect([
    formatQuotient(10n, 3n, 0),
    formatQuotient(-1n, 20_000n, 0),
    formatQuotient(-3n, 20_000n, 0),
  ]).toEqual(['3.3333', '0.0000', '-0.0002']);
});
