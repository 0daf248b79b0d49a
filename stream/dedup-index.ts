/**
 * Rule 2, dedup: which ids were seen in the last `horizonMs` of log time of one partition. Guarantee: exact but for
 * collisions of a 96-bit hash (below 10^-11 for a billion ids in the horizon); 16 bytes a slot; forgetting costs
 * nothing while running, expired ids leave when the table is rebuilt.
 */

/** Words of a slot: three of the hash, one of the log time (milliseconds since `#baseMs`, plus 1; 0 = free). */
const slotWords = 4;
const capacityMin = 1 << 10;
/** Linear probing stays short up to this load. */
const loadMax = 0.6;
/** Log times are 32-bit offsets from a base; a table is rebased before they would overflow. */
const spanMaxMs = 0xffff_fff0;

export class DedupIndex {
  readonly #horizonMs: number;
  #table = new Uint32Array(capacityMin * slotWords);
  #mask = capacityMin - 1;
  #used = 0;
  #baseMs = Number.NaN;
  readonly #hash = new Uint32Array(3);

  /** @param horizonMs at most 30 days. */
  constructor(horizonMs: number) {
    this.#horizonMs = horizonMs;
  }

  /** Slots in use, expired ones included. */
  get size(): number {
    return this.#used;
  }

  /**
   * Notes the id as seen at `logTimeMs` (which never falls from call to call).
   * @returns whether it was seen before, at most `horizonMs` earlier.
   */
  seen(id: string, logTimeMs: number): boolean {
    if (!(logTimeMs - this.#baseMs < spanMaxMs)) this.#rebuild(logTimeMs);
    else if (this.#used > loadMax * (this.#mask + 1)) this.#rebuild(logTimeMs);
    hash96(id, this.#hash);
    const slot = this.#find(this.#hash[0] ?? 0, this.#hash[1] ?? 0, this.#hash[2] ?? 0);
    const table = this.#table;
    const before = table[slot + 3] ?? 0;
    const now = logTimeMs - this.#baseMs + 1;
    table[slot + 3] = now;
    if (before !== 0) return now - before <= this.#horizonMs;
    table[slot] = this.#hash[0] ?? 0;
    table[slot + 1] = this.#hash[1] ?? 0;
    table[slot + 2] = this.#hash[2] ?? 0;
    this.#used++;
    return false;
  }

  /** @returns the word index of the id's slot, or of the free slot where it belongs. */
  #find(h1: number, h2: number, h3: number): number {
    const table = this.#table;
    for (let index = h1 & this.#mask; ; index = (index + 1) & this.#mask) {
      const slot = index * slotWords;
      if (table[slot + 3] === 0) return slot;
      if (table[slot] === h1 && table[slot + 1] === h2 && table[slot + 2] === h3) return slot;
    }
  }

  /** Copies what is inside the horizon into a table of the right size, with a new base. */
  #rebuild(logTimeMs: number): void {
    const old = this.#table;
    const oldBaseMs = this.#baseMs;
    const oldestMs = logTimeMs - this.#horizonMs;
    const isLive = (slot: number) =>
      (old[slot + 3] ?? 0) !== 0 && oldBaseMs + (old[slot + 3] ?? 0) - 1 >= oldestMs;
    let live = 0;
    for (let slot = 0; slot < old.length; slot += slotWords) if (isLive(slot)) live++;
    let capacity = capacityMin;
    while (live > (loadMax / 2) * capacity) capacity *= 2;
    this.#table = new Uint32Array(capacity * slotWords);
    this.#mask = capacity - 1;
    this.#baseMs = oldestMs;
    this.#used = live;
    for (let slot = 0; slot < old.length; slot += slotWords) {
      if (!isLive(slot)) continue;
      const to = this.#find(old[slot] ?? 0, old[slot + 1] ?? 0, old[slot + 2] ?? 0);
      this.#table[to] = old[slot] ?? 0;
      this.#table[to + 1] = old[slot + 1] ?? 0;
      this.#table[to + 2] = old[slot + 2] ?? 0;
      this.#table[to + 3] = oldBaseMs + (old[slot + 3] ?? 0) - oldestMs;
    }
  }
}

const c1 = 0x239b961b;
const c2 = 0xab0e9789 | 0;
const c3 = 0x38b34ae5;
const c4 = 0xa1e38b93 | 0;

/**
 * The first 96 bits of MurmurHash3_x86_128 (Austin Appleby, public domain) over the UTF-16 code units, two a word.
 * @param into receives the three words.
 */
export function hash96(text: string, into: Uint32Array): void {
  const length = text.length;
  let h1 = 0;
  let h2 = 0;
  let h3 = 0;
  let h4 = 0;
  let at = 0;
  for (; at + 8 <= length; at += 8) {
    h1 = mix(h1 ^ scramble(word(text, at), c1, 15, c2), 19, h2, 0x561ccd1b);
    h2 = mix(h2 ^ scramble(word(text, at + 2), c2, 16, c3), 17, h3, 0x0bcaa747);
    h3 = mix(h3 ^ scramble(word(text, at + 4), c3, 17, c4), 15, h4, 0x96cd1c35);
    h4 = mix(h4 ^ scramble(word(text, at + 6), c4, 18, c1), 13, h1, 0x32ac3b17);
  }
  if (at < length) h1 ^= scramble(word(text, at), c1, 15, c2);
  if (at + 2 < length) h2 ^= scramble(word(text, at + 2), c2, 16, c3);
  if (at + 4 < length) h3 ^= scramble(word(text, at + 4), c3, 17, c4);
  if (at + 6 < length) h4 ^= scramble(word(text, at + 6), c4, 18, c1);
  h1 ^= length;
  h2 ^= length;
  h3 ^= length;
  h4 ^= length;
  h1 = (h1 + h2 + h3 + h4) | 0;
  h2 = (h2 + h1) | 0;
  h3 = (h3 + h1) | 0;
  h4 = (h4 + h1) | 0;
  h1 = finalize(h1);
  h2 = finalize(h2);
  h3 = finalize(h3);
  h4 = finalize(h4);
  h1 = (h1 + h2 + h3 + h4) | 0;
  into[0] = h1;
  into[1] = h2 + h1;
  into[2] = h3 + h1;
}

/** Two code units as one word; charCodeAt past the end is NaN, which `|` makes 0. */
function word(text: string, at: number): number {
  return text.charCodeAt(at) | (text.charCodeAt(at + 1) << 16);
}

function scramble(k: number, a: number, rotation: number, b: number): number {
  k = Math.imul(k, a);
  return Math.imul((k << rotation) | (k >>> (32 - rotation)), b);
}

function mix(h: number, rotation: number, other: number, constant: number): number {
  h = ((h << rotation) | (h >>> (32 - rotation))) + other;
  return (Math.imul(h, 5) + constant) | 0;
}

function finalize(h: number): number {
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
