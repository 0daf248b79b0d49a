/** Made-up orders for tests, the same for the same seed: nested fields, money, optional values, several groups. */
import { writeFileSync } from 'node:fs';

export const ordersDefinition = (name: string): string => `{
  name: '${name}',
  partitions: 3,
  event: {
    schema: {
      type: 'object',
      required: ['order', 'user', 'at', 'money'],
      properties: {
        order: { type: 'integer' },
        at: { type: 'integer' },
        user: {
          type: 'object',
          required: ['id'],
          properties: { id: { type: 'string' }, country: { type: ['string', 'null'] }, vip: { type: 'boolean' } },
        },
        status: { type: 'string' },
        money: {
          type: 'object',
          required: ['amount'],
          properties: { amount: { type: ['number', 'string'] }, discount: { type: ['number', 'null'] } },
        },
        items: { type: 'integer' },
      },
    },
    id: 'order',
    time: { field: 'at', format: 'epoch-ms' },
    key: 'user.id',
    decimals: { 'money.amount': 2, 'money.discount': 4 },
  },
  aggregates: {
    by_country_and_status: {
      window: { tumbling: '10m' },
      groupBy: ['user.country', 'status', 'user.vip'],
      measures: {
        orders: 'count',
        revenue: { sum: 'money.amount' },
        smallest: { min: 'money.amount' },
        largest: { max: 'money.amount' },
        mean_discount: { avg: 'money.discount' },
        discounted: { count: 'money.discount' },
        items: { sum: 'items' },
      },
    },
    large_paid: {
      window: { tumbling: '1h' },
      groupBy: 'user.id',
      where: { status: { in: ['paid', 'sent'] }, 'money.amount': { gte: 250.1 }, 'money.discount': { exists: false } },
      measures: { orders: 'count', revenue: { sum: 'money.amount' } },
    },
    everything: { window: { tumbling: '1d' }, measures: { orders: 'count', refunds: { min: 'money.amount' } } },
  },
  outOfOrder: '1h',
  allowedLateness: '1d',
}`;

/** mulberry32, a small generator of random numbers. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Orders over two days around 1970 and of 2024, not quite in order, some of them before the epoch. */
export function writeOrders(file: string, count: number, seed: number): void {
  const next = random(seed);
  const pick = <T>(values: readonly T[]): T => values[Math.floor(next() * values.length)] as T;
  const lines = Array.from({ length: count }, (_, i) => {
    const beginMs = i < count / 4 ? -86_400_000 : 1_709_164_800_000;
    const cents = Math.floor((next() - 0.1) * 100_000);
    const country = pick(['DE', 'Côte d’Ivoire', 'US"x"', '', null, undefined]);
    return JSON.stringify({
      order: i,
      at: beginMs + Math.floor((i * 172_800_000) / count) - Math.floor(next() * 600_000),
      user: { id: `u${Math.floor(next() * 50)}`, country, ...(next() < 0.7 ? { vip: next() < 0.2 } : {}) },
      status: pick(['paid', 'sent', 'open', undefined]),
      money: {
        amount: next() < 0.5 ? cents / 100 : (cents / 100).toFixed(2),
        discount: pick([null, undefined, 0.0625, 0.3333, 12.5]),
      },
      ...(next() < 0.6 ? { items: Math.floor(next() * 9) } : {}),
    });
  });
  writeFileSync(file, `${lines.join('\n')}\n`);
}
