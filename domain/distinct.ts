/**
 * A sketch that counts distinct values: UltraLogLog (O. Ertl, "UltraLogLog: A Practical and More Space-Efficient Alternative to
 * HyperLogLog", 2023) with 2^14 registers of one byte. Guarantee: 16 KiB however many values; the registers are a function of
 * the *set* of values, so they merge in any order and are the same in TypeScript, Lua and SQL; the standard error of the
 * estimate is 0.6%.
 *
 * A value's 64-bit hash names a register (low 14 bits) and a rank (1 + trailing zeros of the other 50 bits, 51 at most). A
 * register says which is its largest rank `u`, and whether `u − 1` and `u − 2` were seen: 4 × u + 2 × [u − 1] + [u − 2].
 */

export const registerBits = 14;
export const registers = 1 << registerBits;
const rankMax = 64 - registerBits + 1;

/** A value's place in the sketch: `register × 64 + rank`. @param low and @param high words of the value's hash */
export function markOf(low: number, high: number): number {
  const register = low & (registers - 1);
  const restLow = (low >>> registerBits) | (high << (32 - registerBits));
  const restHigh = high >>> registerBits;
  const rank =
    restLow !== 0 ? trailingZeros(restLow) + 1 : restHigh !== 0 ? 32 + trailingZeros(restHigh) + 1 : rankMax;
  return register * 64 + rank;
}

function trailingZeros(word: number): number {
  return 31 - Math.clz32(word & -word);
}

/** The state of a register that has seen one rank. */
export function registerOfRank(rank: number): number {
  return 4 * rank;
}

/** Merges two states of a register; 0 = nothing seen. The same is done in `stream/lua/commit.lua`. */
export function mergeRegister(a: number, b: number): number {
  const high = Math.max(a, b);
  const low = Math.min(a, b);
  if (low === 0) return high;
  const behind = (high >> 2) - (low >> 2);
  if (behind === 0) return high | low;
  // The lower one's largest rank, and the one below it, as the bits of the higher one.
  if (behind === 1) return high | 2 | ((low >> 1) & 1);
  return behind === 2 ? high | 1 : high;
}

/** Merges two sketches into a new one. */
export function mergeSketches(a: Uint8Array, b: Uint8Array): Uint8Array {
  const merged = new Uint8Array(a);
  for (let register = 0; register < merged.length; register++) {
    const other = b[register] as number;
    if (other !== 0) merged[register] = mergeRegister(merged[register] as number, other);
  }
  return merged;
}

/**
 * How many distinct values a sketch has seen, by maximum likelihood: with m registers and n values, rank k is seen in a
 * register with probability 1 − exp(−n / (m 2^k)), independently of the other ranks (Poisson approximation, same source).
 */
export function estimateDistinct(sketch: Uint8Array): number {
  // ln L(x) = −A x + Σ B[k] ln(1 − exp(−x 2^−k)), x = n / m: A gathers what was not seen, B[k] what was.
  let unseen = 0;
  const seen = new Float64Array(rankMax + 1);
  const note = (rank: number, present: boolean) => {
    if (rank < 1) return;
    if (present) seen[rank] = (seen[rank] ?? 0) + 1;
    else unseen += weight(rank);
  };
  for (const state of sketch) {
    const rank = state >> 2;
    // All ranks above the largest were not seen: their weights add up to that of the largest (none above the maximum).
    unseen += state === 0 ? 1 : rank === rankMax ? 0 : weight(rank);
    if (state === 0) continue;
    note(rank, true);
    note(rank - 1, (state & 2) !== 0);
    note(rank - 2, (state & 1) !== 0);
  }
  if (seen.every((count) => count === 0)) return 0;
  const slope = (x: number) =>
    seen.reduce(
      (sum, count, rank) => sum + (count === 0 ? 0 : (count * weight(rank)) / Math.expm1(x * weight(rank))),
      0,
    ) - unseen;
  let [low, high] = [0, 1];
  while (slope(high) > 0 && high < 2 ** 60) [low, high] = [high, 2 * high];
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (slope(middle) > 0) low = middle;
    else high = middle;
  }
  return Math.round(((low + high) / 2) * registers);
}

/** Probability of a rank: 2^−rank, and for the last one that of all beyond. */
function weight(rank: number): number {
  return rank === rankMax ? 2 ** -(rankMax - 1) : 2 ** -rank;
}
