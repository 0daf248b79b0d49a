/** The recomputation of chaos, on logs that are worked out by hand. */
import { compareSideTopics, compareWindows } from '../../chaos/compare.ts';
import { measureOf } from '../../chaos/measures.ts';
import { recompute } from '../../chaos/recompute.ts';
import type { LoggedEvent, PlainAggregate, PlainRules, PlainValues } from '../../chaos/rules.ts';

const everything: PlainAggregate['where'] = () => true;
const rules: PlainRules = {
  outOfOrderMs: 10,
  allowedLatenessMs: 20,
  dedupHorizonMs: 100,
  maxFutureMs: 1_000_000,
  scales: { amount: 2 },
  aggregates: [
    {
      name: 'tumble',
      window: { tumbling: 100 },
      groupBy: ['shop'],
      where: ({ amount }) => amount !== null,
      measures: { events: 'count', revenue: { sum: 'amount' } },
    },
    {
      name: 'hop',
      window: { hopping: 100, slide: 50 },
      groupBy: [],
      where: everything,
      measures: { events: 'count' },
    },
    {
      name: 'visit',
      window: { session: 30 },
      groupBy: ['shop'],
      where: everything,
      measures: { events: 'count' },
    },
  ],
};

/** A record: offset, log time, id, event time, shop, amount. */
function record(
  offset: number,
  timestampMs: number,
  id: string,
  timeMs: number,
  amount: bigint | null = 100n,
  dead: string | null = null,
): LoggedEvent {
  return { partition: 0, offset, timestampMs, event: { dead, id, timeMs, values: { shop: 'a', amount } } };
}

const log = [
  record(0, 1_000, 'a', 105),
  record(1, 1_001, 'b', 130, 250n),
  record(2, 1_002, 'a', 190), // duplicate of offset 0; still, it moves the watermark: 180 from here on
  record(3, 1_003, '?', 0, 0n, 'invalid-json'),
  record(4, 1_004, 'c', 160, null), // filtered by tumble; 30 after b: of its session
  record(7, 1_005, 'd', 140), // after a gap of two offsets; its session (170) may take events up to a watermark of 190
  record(8, 1_090, 'e', 99), // tumbling: window 0–100 closed at a watermark of 120; hopping: 50–150 closed at 170; late
  record(9, 1_101, 'a', 200), // 99 after offset 2: a duplicate again
  record(10, 1_202, 'a', 210, 5n), // 101 after offset 9: counts
  record(11, 1_203, 'z', 1_003_203_000), // beyond maxFuture
];

describe('the rules', () => {
  const { windows, counters, dead, late } = recompute(rules, log);

  it('judge every record', () => {
    expect(Object.fromEntries(counters.get(0) ?? [])).toEqual({
      consumed: 10,
      gaps: 2,
      duplicate: 2,
      'dead:invalid-json': 1,
      'dead:time-in-future': 1,
      'counted:tumble': 4,
      'filtered:tumble': 1,
      'late:tumble': 1,
      'counted:hop': 5,
      'late:hop': 1,
      'counted:visit': 5,
      'late:visit': 1,
    });
    expect(Object.fromEntries(dead)).toEqual({ '0:3': 'invalid-json', '0:11': 'time-in-future' });
    expect(Object.fromEntries(late)).toEqual({ '0:8': ['tumble', 'hop', 'visit'] });
  });

  it('put the others into their windows', () => {
    const value = (place: string) =>
      Object.fromEntries(Object.entries(windows.get(place) ?? {}).map(([name, { value: is }]) => [name, is]));
    expect([...windows.keys()].sort()).toEqual(
      [
        ...['tumble|100|200|["a"]', 'tumble|200|300|["a"]'],
        ...['hop|50|150|[]', 'hop|100|200|[]', 'hop|150|250|[]', 'hop|200|300|[]'],
        ...['visit|105|190|["a"]', 'visit|210|240|["a"]'],
      ].sort(),
    );
    expect(value('tumble|100|200|["a"]')).toEqual({ events: '3', revenue: '4.50' });
    expect(value('tumble|200|300|["a"]')).toEqual({ events: '1', revenue: '0.05' });
    // d (140) comes at a watermark of 180: 50–150 is closed for it, 100–200 is not.
    expect(value('hop|50|150|[]')).toEqual({ events: '2' });
    expect(value('hop|100|200|[]')).toEqual({ events: '4' });
    expect(value('hop|150|250|[]')).toEqual({ events: '2' });
    expect(value('hop|200|300|[]')).toEqual({ events: '1' });
    expect(value('visit|105|190|["a"]')).toEqual({ events: '4' });
    expect(value('visit|210|240|["a"]')).toEqual({ events: '1' });
  });

  it('take a prefix where that is asked for', () => {
    expect(Object.fromEntries(recompute(rules, log, new Map([[0, 3]])).counters.get(0) ?? [])).toEqual({
      consumed: 3,
      duplicate: 1,
      'counted:tumble': 2,
      'counted:hop': 2,
      'counted:visit': 2,
    });
  });
});

describe('the measures', () => {
  const events = (values: readonly PlainValues[]) =>
    values.map((fields, i) => ({ dead: null, id: String(i), timeMs: 0, values: fields }));
  const amounts = events([1n, 2n, null, -2n, 2n, 500n].map((amount) => ({ amount })));
  const of = (measure: Parameters<typeof measureOf>[0]) => measureOf(measure, amounts, { amount: 2 });

  it('are exact', () => {
    expect(of('count').value).toBe('6');
    expect(of({ count: 'amount' }).value).toBe('5');
    expect(of({ sum: 'amount' }).value).toBe('5.03');
    expect(of({ min: 'amount' }).value).toBe('-0.02');
    expect(of({ max: 'amount' }).value).toBe('5.00');
    expect(of({ avg: 'amount' }).value).toBe('1.006000');
    expect(of({ topK: 'amount', k: 2 }).value).toEqual([
      { value: '0.02', count: '2' },
      { value: '-0.02', count: '1' },
    ]);
    expect(of({ quantile: 'amount', at: 0.5 })).toMatchObject({ value: 2n, tolerance: 0n });
    expect(of({ quantile: 'amount', at: 1 })).toMatchObject({ value: 500n, tolerance: 5n });
    expect(of({ distinct: 'amount' })).toMatchObject({ value: 4n });
    expect(measureOf({ sum: 'amount' }, events([{ amount: null }]), {}).value).toBeNull();
  });

  it('round averages half to even, below zero too', () => {
    const avg = (...values: bigint[]) =>
      measureOf({ avg: 'x' }, events(values.map((x) => ({ x }))), {}).value;
    // 1/32 = 0.03125 and 3/32 = 0.09375: a five behind the fourth digit.
    expect(avg(1n, ...new Array<bigint>(31).fill(0n))).toBe('0.0312');
    expect(avg(3n, ...new Array<bigint>(31).fill(0n))).toBe('0.0938');
    expect(avg(-1n, ...new Array<bigint>(31).fill(0n))).toBe('-0.0312');
    expect(avg(-3n, ...new Array<bigint>(31).fill(0n))).toBe('-0.0938');
    expect(avg(-1n, 0n, 0n)).toBe('-0.3333');
  });
});

describe('the comparison', () => {
  const { windows } = recompute(rules, log);
  const row = (startMs: number, endMs: number, events: string) => ({
    startMs,
    endMs,
    group: '[]',
    results: { events },
    status: 'closed' as const,
    revision: 1,
  });
  const rows = [row(50, 150, '2'), row(100, 200, '4'), row(150, 250, '2'), row(200, 300, '1')];
  const hops = new Map([...windows].filter(([place]) => place.startsWith('hop')));
  const compare = (list: typeof rows) => compareWindows(hops, new Map([['hop', list]]));

  it('finds nothing where there is nothing', () => {
    expect(compare(rows)).toEqual({ windows: 4, groups: 4, values: 4, differences: [] });
  });

  it('finds a wrong value, a missing window and one too many', () => {
    expect(compare([row(50, 150, '3'), ...rows.slice(2), row(900, 1_000, '1')]).differences).toEqual([
      { place: 'hop|100|200|[]', what: 'events', expected: '"4"', found: 'no such window or group' },
      { place: 'hop|50|150|[]', what: 'events', expected: '"2"', found: '"3"' },
      {
        place: 'hop|900|1000|[]',
        what: 'the whole group',
        expected: 'no such window or group',
        found: '{"events":"1"}',
      },
    ]);
  });

  it('finds a dead letter that is missing, one with another reason, and one too many', () => {
    const whole = recompute(rules, log);
    const letter = (offset: number, reason: string) => ({
      partition: 0,
      offset: 0,
      timestampMs: 0,
      value: null,
      headers: {
        '__streams.errors.partition': '0',
        '__streams.errors.offset': String(offset),
        'reckon.reason': reason,
        'reckon.late.aggregates': '["tumble","hop","visit"]',
      },
    });
    const [json, future] = [letter(3, 'invalid-json'), letter(11, 'time-in-future')];
    const lateOne = letter(8, '');
    expect(compareSideTopics(whole, whole, [json, future, json], [lateOne])).toEqual([]);
    const wrong = compareSideTopics(whole, whole, [letter(3, 'too-deep'), letter(5, 'too-deep')], []);
    expect(wrong.map(({ place, what, expected, found }) => [place, what, expected, found])).toEqual([
      ['dead-letter topic', 'record 0:3', 'invalid-json', 'too-deep'],
      ['dead-letter topic', 'record 0:11', 'time-in-future', 'absent'],
      ['dead-letter topic', 'record 0:5', 'absent', 'too-deep'],
      ['late topic', 'record 0:8', '["tumble","hop","visit"]', 'absent'],
    ]);
    // What was refused beyond the committed offsets may be there already.
    const prefix = recompute(rules, log, new Map([[0, 5]]));
    expect(compareSideTopics(prefix, whole, [json, future], [])).toEqual([]);
    expect(compareSideTopics(prefix, prefix, [json, future], [])).toHaveLength(1);
  });
});
