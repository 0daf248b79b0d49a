/**
 * Exact decimals. Guarantee: a decimal becomes the integer `value × 10^scale` without any rounding, or is refused; sums
 * of these integers are equal to the last digit whatever the order in which they are added.
 */

export type ScaledDecimal =
  { readonly ok: true; readonly scaled: number } | { readonly ok: false; readonly code: DecimalFailure };
export type DecimalFailure = 'number-out-of-range' | 'too-precise';

const powersOfTen = Array.from({ length: 16 }, (_, exponent) => 10 ** exponent);

/** The largest scale that leaves three digits before the point. */
export const scaleMax = 12;

/** Below it the product in `scaleNumber` is less than half a unit off, and no two decimals share a double. */
const plainMax = 2 ** 50;

/**
 * Scales a JSON number. JSON numbers arrive as doubles, so the exact decimal is the shortest one that reads back as the
 * same double; `n / 10^scale` is correctly rounded, hence equal to the double exactly where `n` is that decimal.
 */
export function scaleNumber(value: number, scale: number): ScaledDecimal {
  const power = powersOfTen[scale] ?? Number.NaN;
  const scaled = Math.round(value * power);
  if (scaled >= plainMax || scaled <= -plainMax) return scaleLargeNumber(value, scale, power);
  if (scaled / power !== value) return { ok: false, code: 'too-precise' };
  return { ok: true, scaled: scaled === 0 ? 0 : scaled };
}

/** Near 2^53 units the double of a decimal may be its neighbour's, too: which was sent cannot be told any more. */
function scaleLargeNumber(value: number, scale: number, power: number): ScaledDecimal {
  const exact = scaleText(String(value), scale);
  if (exact === null) return { ok: false, code: 'number-out-of-range' };
  if (!exact.ok) return exact;
  const { scaled } = exact;
  const isShared = scale > 0 && ((scaled - 1) / power === value || (scaled + 1) / power === value);
  return isShared ? { ok: false, code: 'number-out-of-range' } : exact;
}

/** Scales a decimal text such as `-12.50`; zeros beyond the scale are allowed, other digits are not. */
export function scaleText(text: string, scale: number): ScaledDecimal | null {
  const match = /^(-?)(\d{1,19})(?:\.(\d+))?$/.exec(text);
  if (match === null) return null;
  const [, sign = '', whole = '', fraction = ''] = match;
  if (/[^0]/.test(fraction.slice(scale))) return { ok: false, code: 'too-precise' };
  const scaled = Number(`${sign}${whole}${fraction.slice(0, scale).padEnd(scale, '0')}`);
  if (!Number.isSafeInteger(scaled)) return { ok: false, code: 'number-out-of-range' };
  return { ok: true, scaled: scaled === 0 ? 0 : scaled };
}

/** `formatScaled(-1205n, 2)` → `-12.05`. */
export function formatScaled(scaled: bigint, scale: number): string {
  if (scale === 0) return scaled.toString();
  const digits = (scaled < 0n ? -scaled : scaled).toString().padStart(scale + 1, '0');
  return `${scaled < 0n ? '-' : ''}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

/**
 * The quotient of two integers at `scale + extraDigits` digits, rounded half to even.
 * @example formatQuotient(10n, 3n, 0, 4) → `3.3333`
 */
export function formatQuotient(sum: bigint, count: bigint, scale: number, extraDigits = 4): string {
  const numerator = sum * 10n ** BigInt(extraDigits);
  const truncated = numerator / count;
  const remainder = numerator % count;
  const twice = 2n * (remainder < 0n ? -remainder : remainder);
  const awayFromZero = twice > count || (twice === count && truncated % 2n !== 0n);
  const rounded = awayFromZero ? truncated + (numerator < 0n ? -1n : 1n) : truncated;
  return formatScaled(rounded, scale + extraDigits);
}
