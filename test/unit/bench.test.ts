/** The benchmarks' own parts: the generator is the peers', the rule of lateness is DESIGN.md's, a difference is found. */
import { createHash } from 'node:crypto';
import { cpuSecondsOf } from '../../bench/cpu.ts';
import { generateEvents } from '../../bench/events.ts';
import { OnTimeRule } from '../../bench/on-time.ts';
import { firstDifference } from '../../bench/results.ts';
import type { Results } from '../../bench/results.ts';

const minute = 60_000;

describe('the generator', () => {
  const text = (records: number, seed: number) =>
    [...generateEvents(records, seed)].map(({ key, json }) => `${key}\t${json}\n`).join('');

  it('writes what the generator of the peers writes', () => {
    // node ../shared/peers/generate-events.js 5000 7 | sha256sum
    expect(createHash('sha256').update(text(5_000, 7)).digest('hex')).toBe(
      '729635ceb91b8a4f7e46d6caade20c726a07418b98ca1d53a37657dc33005a48',
    );
  });

  it('is a function of the seed', () => {
    expect(text(100, 3)).toBe(text(100, 3));
    expect(text(100, 3)).not.toBe(text(100, 4));
  });
});

describe('the rule of lateness', () => {
  const event = (timestamp: number, amount = 1) =>
    Buffer.from(JSON.stringify({ productId: 'p', amount, timestamp }));
  // The window [0, 1 min) takes events until the watermark, 5 s behind the newest event, is at 6 min.
  const lastMs = 6 * minute + 5_000;

  it.each([
    ['just on time', lastMs - 1, 1],
    ['just late', lastMs, 0],
  ])('%s', (_, newestMs, counted) => {
    const rule = new OnTimeRule();
    rule.take(0, event(newestMs));
    rule.take(0, event(minute - 1, 0.29));
    expect(rule.expected.get('0 p')).toEqual(counted === 1 ? { count: 1, cents: 29 } : undefined);
    expect([rule.onTime, rule.late]).toEqual([1 + counted, 1 - counted]);
  });

  it('no partition makes the events of another late', () => {
    const rule = new OnTimeRule();
    rule.take(0, event(100 * minute));
    rule.take(1, event(0));
    expect([rule.onTime, rule.late]).toEqual([2, 0]);
  });

  it('tells how many events are not in their windows', () => {
    const rule = new OnTimeRule();
    for (const timestamp of [0, 1, 2, minute]) rule.take(0, event(timestamp));
    expect(rule.missingIn(rule.expected)).toBe(0);
    expect(rule.missingIn(new Map([['0 p', { count: 1, cents: 100 }]]))).toBe(3);
  });
});

describe('a comparison', () => {
  const results = (cells: Record<string, [number, number]>): Results =>
    new Map(Object.entries(cells).map(([name, [count, cents]]) => [name, { count, cents }]));
  const ours = results({ '0 p1': [2, 300], '0 p2': [1, 5] });

  it('finds nothing where there is nothing', () => {
    expect(firstDifference(ours, results({ '0 p2': [1, 5], '0 p1': [2, 300] }), 'Flink')).toBeNull();
  });

  it.each([
    ['a count', { '0 p1': [3, 300], '0 p2': [1, 5] }],
    ['a sum', { '0 p1': [2, 301], '0 p2': [1, 5] }],
    ['a missing window', { '0 p1': [2, 300] }],
    ['a window too many', { '0 p1': [2, 300], '0 p2': [1, 5], '1 p2': [1, 5] }],
  ] as [string, Record<string, [number, number]>][])('finds %s', (_, theirs) => {
    expect(firstDifference(ours, results(theirs), 'Flink')).toMatch(
      /^window and product [01] p[12]: we have .* Flink has /,
    );
  });
});

it('CPU time is that of the process', () => {
  const before = cpuSecondsOf(process.pid);
  const { user, system } = process.cpuUsage();
  // Other processes that this one started and waited for are inside, too.
  expect(before).toBeGreaterThan(((user + system) / 1e6) * 0.9 - 0.1);
  const until = performance.now() + 300;
  while (performance.now() < until) Math.sqrt(until);
  expect(cpuSecondsOf(process.pid) - before).toBeGreaterThan(0.05);
});
