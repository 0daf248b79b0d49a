/**
 * Log-buckets for quantiles: every integer belongs to one bucket, 64 buckets for each doubling. Guarantee: integer arithmetic
 * only, so TypeScript and SQL come to the same bucket; counts of buckets add up in any order; a quantile read from
 * them is within 1/128 (0.8%) of the exact one, and exact below 128.
 */

/** Buckets of one doubling; values below twice as many have a bucket each. */
const bucketsPerOctave = 64;

/** @param value a safe integer @returns its bucket; larger values never have a smaller one. */
export function bucketOf(value: number): number {
  if (value < 0) return -bucketOf(-value);
  if (value < 2 * bucketsPerOctave) return value;
  const shift = exponentOf(value) - 6;
  return shift * bucketsPerOctave + Math.floor(value / 2 ** shift);
}

/** @returns an integer within 1/128 of every value of the bucket. */
export function bucketValue(bucket: number): number {
  if (bucket < 0) return -bucketValue(-bucket);
  if (bucket < 2 * bucketsPerOctave) return bucket;
  const shift = Math.floor(bucket / bucketsPerOctave) - 1;
  return (bucket - shift * bucketsPerOctave) * 2 ** shift + 2 ** (shift - 1);
}

/**
 * The value at rank ⌈q × n⌉ of n values (the nearest-rank definition), the first for q = 0.
 * @param buckets counts by bucket @returns null where there is no value
 */
export function quantileOf(buckets: ReadonlyMap<number, bigint>, q: number): number | null {
  const sorted = [...buckets].sort(([a], [b]) => a - b);
  const total = sorted.reduce((sum, [, count]) => sum + count, 0n);
  if (total === 0n) return null;
  // In integers: 0.55 × 100 is more than 55 in binary.
  const nanos = BigInt(Math.round(q * 1e9));
  const exact = (nanos * total + 999_999_999n) / 1_000_000_000n;
  const rank = exact < 1n ? 1n : exact;
  let below = 0n;
  for (const [bucket, count] of sorted) {
    below += count;
    if (below >= rank) return bucketValue(bucket);
  }
  return bucketValue(sorted.at(-1)?.[0] ?? 0);
}

/** ⌊log2(value)⌋ of a positive safe integer, exact where Math.log2 would not be. */
function exponentOf(value: number): number {
  const high = Math.floor(value / 2 ** 32);
  return high > 0 ? 63 - Math.clz32(high) : 31 - Math.clz32(value);
}
