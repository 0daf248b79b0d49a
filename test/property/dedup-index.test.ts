/** The dedup index against a Map, through growth, forgetting and rebasing. */
import * as fc from 'fast-check';
import { DedupIndex, hash96 } from '../../stream/dedup-index.ts';

class MapIndex {
  readonly #last = new Map<string, number>();
  readonly #horizonMs: number;
  constructor(horizonMs: number) {
    this.#horizonMs = horizonMs;
  }
  seen(id: string, logTimeMs: number): boolean {
    const before = this.#last.get(id);
    this.#last.set(id, logTimeMs);
    return before !== undefined && logTimeMs - before <= this.#horizonMs;
  }
}

it('answers what a Map answers', () => {
  const horizons = fc.constantFrom(0, 1, 1_000, 3_600_000, 30 * 86_400_000);
  const ticks = fc.constantFrom(
    0,
    0,
    0,
    1,
    500,
    1_000,
    1_001,
    3_600_000,
    3_600_001,
    30 * 86_400_000,
    60 * 86_400_000,
  );
  const steps = fc.array(
    fc.tuple(fc.oneof(fc.nat(30).map(String), fc.string({ unit: 'binary', maxLength: 12 })), ticks),
    { maxLength: 200, size: 'max' },
  );
  fc.assert(
    fc.property(horizons, fc.constantFrom(0, 1.7e12, -1), steps, (horizonMs, startMs, list) => {
      const [index, model] = [new DedupIndex(horizonMs), new MapIndex(horizonMs)];
      let nowMs = startMs;
      for (const [id, tickMs] of list) {
        nowMs += tickMs;
        expect(index.seen(id, nowMs)).toBe(model.seen(id, nowMs));
      }
    }),
    { numRuns: 300 },
  );
});

it('answers the same while it grows to 100,000 ids and forgets most of them, and its table shrinks again', () => {
  const [index, model] = [new DedupIndex(10_000), new MapIndex(10_000)];
  let state = 42;
  const random = (below: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state % below;
  };
  let nowMs = 1.7e12;
  let wrong = 0;
  for (let i = 0; i < 300_000; i++) {
    if (i % 30 === 0) nowMs += random(3);
    const id = `order-${random(150_000)}`;
    if (index.seen(id, nowMs) !== model.seen(id, nowMs)) wrong++;
  }
  expect(wrong).toBe(0);
  expect(index.size).toBeGreaterThan(50_000);
  for (let i = 0; i < 2_000; i++) index.seen(`late-${i}`, nowMs + 5e9);
  expect(index.size).toBe(2_000);
});

it('keeps the longest horizon over years of log time', () => {
  const day = 86_400_000;
  const index = new DedupIndex(30 * day);
  for (let at = 0; at < 2_000; at += 29) expect(index.seen('beat', at * day)).toBe(at > 0);
  const last = 1_972 * day;
  expect(index.seen('beat', last + 30 * day)).toBe(true);
  expect(index.seen('beat', last + 60 * day + 1)).toBe(false);
});

it('hashes ids that differ in one unit, in length or in order differently', () => {
  const words = new Uint32Array(3);
  const seen = new Map<string, string>();
  const add = (id: string) => {
    hash96(id, words);
    const hash = words.join(' ');
    expect(seen.get(hash) ?? id).toBe(id);
    seen.set(hash, id);
  };
  for (let length = 0; length < 40; length++) {
    add('\0'.repeat(length));
    for (let at = 0; at < length; at++)
      for (const unit of ['a', 'b', '\uFFFF', '\u0100'])
        add('x'.repeat(at) + unit + 'x'.repeat(length - at - 1));
  }
  for (let i = 0; i < 20_000; i++) add(String(i));
  expect(seen.size).toBeGreaterThan(20_000);
});
