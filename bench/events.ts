/**
 * The events of the benchmarks: what `../shared/peers/generate-events.js` writes, byte by byte. Guarantee: a function of
 * the seed; up to 2 s out of order, 1% of them up to 2 minutes late.
 */
export interface BenchEvent {
  readonly key: string;
  readonly json: string;
}

export const firstMs = Date.UTC(2026, 0, 1);
const types = ['view', 'click', 'cart', 'purchase'];

/** @param timeMs event time of the i-th event before the disorder; by default one millisecond an event, as the peers have it */
export function* generateEvents(
  records: number,
  seed: number,
  timeMs = (i: number) => firstMs + i,
): Generator<BenchEvent, undefined> {
  const random = mulberry32(seed);
  const below = (limit: number) => Math.floor(random() * limit);
  const hex = (digits: number) => {
    let text = '';
    for (let i = 0; i < digits; i += 8)
      text += ((random() * 4_294_967_296) >>> 0).toString(16).padStart(8, '0');
    return text.slice(0, digits);
  };
  // The order of the draws is the generator's definition: an object's properties are evaluated as they are written.
  for (let i = 0; i < records; i++) {
    const userId = `u${below(50_000)}`;
    const productId = `p${Math.floor(Math.pow(random(), 3) * 1_000)}`;
    const isLate = random() < 0.01;
    const jitterMs = isLate ? -random() * 120_000 : -random() * 2_000;
    const event = {
      eventId: `${hex(8)}-${hex(4)}-4${hex(3)}-a${hex(3)}-${hex(12)}`,
      type: types[below(4)],
      userId,
      sessionId: `s${below(100_000)}`,
      productId,
      amount: below(10_000) / 100,
      timestamp: Math.floor(timeMs(i) + jitterMs),
    };
    yield { key: userId, json: JSON.stringify(event) };
  }
}

/** Uniform numbers in [0, 1) (Tommy Ettinger's generator, public domain). */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
