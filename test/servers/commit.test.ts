/** The commit script in a real Redis: fenced, exact, all or nothing. */
import { metaKey, paneIndexKey, paneKey, rulesKey, sketchKey } from '../../stream/keys.ts';
import type { Changes } from '../../stream/fold.ts';
import { StateStore } from '../../stream/state-store.ts';
import { PaneDeltas } from '../../stream/pane-deltas.ts';
import { estimateDistinct } from '../../domain/distinct.ts';
import { noEventTime } from '../../domain/watermark.ts';
import { pipeline } from '../support/odd-pipeline.ts';
import { startRedis } from '../support/redis-server.ts';
import type { RedisServer } from '../support/redis-server.ts';

const largest = Number.MAX_SAFE_INTEGER;
const aggregateOf = (name: string) => {
  const found = pipeline.aggregates.find((aggregate) => aggregate.name === name);
  if (found === undefined) throw new Error(`no aggregate ${name}`);
  return found;
};
const [byShop, total] = [aggregateOf('by_shop'), aggregateOf('total')];
const at = (name: string) => pipeline.fields.findIndex((field) => field.name === name);
const position = (nextOffset: number) => ({ nextOffset, maxEventTimeMs: 5, logTimeMs: 6 });
const start = { nextOffset: 0, maxEventTimeMs: noEventTime, logTimeMs: noEventTime };

let server: RedisServer;
let store: StateStore;

beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());
beforeEach(async () => {
  await server.redis.flushall();
  store = new StateStore(server.redis, pipeline);
  await store.acquire(0, 'me', 0, null);
});

/** A commit from one offset to another: prices of one shop in one window, and counters. */
function changes(
  from: number,
  to: number,
  prices: number[],
  counters: Record<string, number> = { consumed: to - from },
): Changes {
  const deltas = new PaneDeltas(pipeline.aggregates, pipeline.fields);
  for (const price of prices) {
    const values = pipeline.fields.map(() => null as number | string | null);
    values[at('price')] = price;
    deltas.add(byShop, 0, 5_000, { id: 'x', timeMs: 1, values });
    deltas.add(total, 0, 86_400_000, { id: 'x', timeMs: 1, values });
  }
  return {
    from: from === 0 ? start : position(from),
    to: position(to),
    deltas,
    counters: new Map(Object.entries(counters)),
    sideOutputs: [],
  };
}

/** Everything in Redis, as bytes. */
async function everything(): Promise<Record<string, string>> {
  const keys = (await server.redis.keys('*')).sort();
  const entries = await Promise.all(
    keys.map(async (key) => {
      const type = await server.redis.type(key);
      const content =
        type === 'hash'
          ? await server.redis.hgetall(key)
          : type === 'zset'
            ? await server.redis.zrange(key, 0, '-1', 'WITHSCORES')
            : await server.redis.get(key);
      return [key, JSON.stringify(content)] as const;
    }),
  );
  return Object.fromEntries(entries);
}

const totalKey = paneKey(pipeline.name, 0, 'total|0|86400000');
const shopKey = paneKey(pipeline.name, 0, 'by_shop|0|5000');
const cell = (field: string) => server.redis.hget(totalKey, `${field}|[]`);

it('moves windows, counters and offset together', async () => {
  expect(await store.commit(0, 'me', changes(0, 3, [5, -7, 2]))).toEqual({ kind: 'committed' });
  expect(await store.commit(0, 'me', changes(3, 4, [-1]))).toEqual({ kind: 'committed' });
  expect(await server.redis.hgetall(totalKey)).toEqual({
    'rows|[]': '4',
    'sum:price|[]': '-1',
    'count:price|[]': '4',
    'min:price|[]': '-7',
    'max:price|[]': '5',
    revision: '2',
    owner: 'me',
  });
  const state = await store.read(0);
  expect(state).toMatchObject({ baseOffset: 0, position: position(4) });
  expect(Object.fromEntries(state?.counters ?? [])).toEqual({ consumed: 4n });
  expect(await server.redis.zrange(paneIndexKey(pipeline.name, 0), 0, '-1', 'WITHSCORES')).toEqual([
    'by_shop|0|5000',
    '5000',
    'total|0|86400000',
    '86400000',
  ]);
});

it('fences an owner whose partition was taken over, and writes nothing', async () => {
  await store.commit(0, 'me', changes(0, 1, [1]));
  const acquired = await store.acquire(0, 'other', 0, null);
  expect(acquired.position.nextOffset).toBe(1);
  const before = await everything();
  expect(await store.commit(0, 'me', changes(1, 2, [1]))).toEqual({ kind: 'fenced' });
  expect(await everything()).toEqual(before);
  expect(await store.commit(0, 'other', changes(1, 2, [1]))).toEqual({ kind: 'committed' });
});

it('refuses a commit that does not begin where the state ends', async () => {
  await store.commit(0, 'me', changes(0, 5, [1]));
  const before = await everything();
  expect(await store.commit(0, 'me', changes(4, 9, [1]))).toEqual({ kind: 'moved', offset: 5 });
  expect(await store.commit(0, 'me', changes(6, 9, [1]))).toEqual({ kind: 'moved', offset: 5 });
  expect(await everything()).toEqual(before);
});

it('applies a commit whose reply was lost once: sent again, it is committed already', async () => {
  await store.commit(0, 'me', changes(0, 5, [1]));
  const before = await everything();
  expect(await store.commit(0, 'me', changes(0, 5, [1]))).toEqual({ kind: 'committed' });
  expect(await everything()).toEqual(before);
});

it('is fenced by a flushed Redis', async () => {
  await server.redis.flushall();
  expect(await store.commit(0, 'me', changes(0, 1, [1]))).toEqual({ kind: 'fenced' });
  expect(await everything()).toEqual({});
});

it('refuses a state that was counted by other rules, and changes nothing', async () => {
  const before = await everything();
  const other = new StateStore(server.redis, { ...pipeline, outOfOrderMs: 1 });
  await expect(other.acquire(0, 'other', 0, null)).rejects.toMatchObject({ code: 'invalid-definition' });
  expect(await everything()).toEqual(before);
});

it.each<[string, number[][]]>([
  ['up', [[largest], [largest, largest], [1]]],
  ['up and down again', [[largest, 2], [-10], [-largest]]],
  ['down and up again', [[-largest, -2], [10], [largest]]],
  ['by odd steps around 2^53', [[largest], [2], [-1], [-1], [3], [-largest]]],
  ['far beyond', [new Array<number>(900).fill(largest), [-1], [1, 1]]],
])('sums beyond 2^53 are exact: %s', async (_name, commits) => {
  let offset = 0;
  let expected = 0n;
  for (const prices of commits) {
    expect(await store.commit(0, 'me', changes(offset, offset + 1, prices))).toEqual({ kind: 'committed' });
    offset++;
    expected += prices.reduce((sum, price) => sum + BigInt(price), 0n);
    expect(await cell('sum:price')).toBe(String(expected));
  }
});

it('stops at the end of 64 bits, with nothing written', async () => {
  await store.commit(0, 'me', changes(0, 1, new Array<number>(1_023).fill(largest)));
  const before = await everything();
  await expect(store.commit(0, 'me', changes(1, 2, [largest, largest]))).rejects.toMatchObject({
    code: 'overflow',
    retryable: false,
  });
  expect(await everything()).toEqual(before);
  await store.commit(0, 'me', changes(1, 2, new Array<number>(1_023).fill(-largest)));
  expect(await cell('sum:price')).toBe('0');
});

/** Each breaks something that only a write at the end of the script would notice. */
it.each<[string, () => Promise<unknown>]>([
  ['a text in a cell', () => server.redis.hset(totalKey, 'sum:price|[]', 'three')],
  ['a fraction in a cell', () => server.redis.hset(totalKey, 'sum:price|[]', '1.5')],
  [
    'a number that HINCRBY does not take',
    () => server.redis.hset(totalKey, 'sum:price|[]', '0009007199254740993'),
  ],
  ['an empty text in a cell', () => server.redis.hset(totalKey, 'rows|[]', '')],
  ['a number beyond 64 bits', () => server.redis.hset(totalKey, 'sum:price|[]', '99999999999999999999')],
  ['a string where a window is', () => server.redis.set(totalKey, 'x')],
  ['a list where a window is', () => server.redis.rpush(totalKey, 'x')],
  ['a text in a revision', () => server.redis.hset(totalKey, 'revision', 'x')],
  ['a string where the index is', () => server.redis.set(paneIndexKey(pipeline.name, 0), 'x')],
  ['a text in a counter', () => server.redis.hset(metaKey(pipeline.name, 0), 'consumed', 'many')],
  [
    'a counter at the end of 64 bits',
    () => server.redis.hset(metaKey(pipeline.name, 0), 'consumed', '9223372036854775807'),
  ],
])('%s is refused, with nothing written', async (_name, breakIt) => {
  await breakIt();
  const before = await everything().catch(() => null);
  await expect(store.commit(0, 'me', changes(0, 1, [1]))).rejects.toMatchObject({ retryable: false });
  if (before !== null) expect(await everything()).toEqual(before);
  expect([
    await server.redis.exists(shopKey),
    await server.redis.hget(metaKey(pipeline.name, 0), 'offset'),
  ]).toEqual([0, '0']);
});

describe('a sketch', () => {
  const values = aggregateOf('values');
  const field = 'distinct:shop|[]';
  const key = sketchKey(pipeline.name, 0, 'values|0|13000', field);
  /** Commits the texts, one commit for each list. */
  const add = async (...commits: string[][]) => {
    for (const shops of commits) {
      const { nextOffset } = (await store.read(0))?.position ?? start;
      const deltas = new PaneDeltas(pipeline.aggregates, pipeline.fields);
      for (const shop of shops) {
        const event = pipeline.fields.map((_, i) => (i === at('shop') ? shop : null));
        deltas.add(values, 0, 13_000, { id: 'x', timeMs: 1, values: event });
      }
      const commit = { ...changes(nextOffset, nextOffset + 1, []), deltas };
      expect(await store.commit(0, 'me', commit)).toEqual({ kind: 'committed' });
    }
  };
  const texts = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => `shop ${from + i}`);
  const sketch = async () => (await store.panes.read(0, ['values|0|13000']))[0]?.sketches[field] ?? null;

  it('is the same however the values are cut into commits, and small until it is large', async () => {
    await add(texts(0, 50), texts(30, 90));
    expect(await server.redis.type(key)).toBe('hash');
    await add(texts(80, 300), texts(250, 6_000), texts(0, 10), texts(5_990, 9_000));
    expect([await server.redis.type(key), await server.redis.strlen(key)]).toEqual(['string', 16_384]);
    const cut = await sketch();
    await server.redis.flushall();
    await store.acquire(0, 'me', 0, null);
    await add(texts(0, 9_000));
    expect(await sketch()).toEqual(cut);
    expect(Math.abs(estimateDistinct(cut ?? new Uint8Array()) / 9_000 - 1)).toBeLessThan(0.03);
  });

  it('goes away with its pane when the offset is lost', async () => {
    await add(texts(0, 10), texts(0, 1_000));
    await server.redis.del(metaKey(pipeline.name, 0));
    await store.acquire(0, 'me', 0, null);
    expect((await server.redis.keys('*')).sort()).toEqual([
      metaKey(pipeline.name, 0),
      rulesKey(pipeline.name, 0),
    ]);
  });

  it.each<[string, () => Promise<unknown>]>([
    ['a list', () => server.redis.rpush(key, 'x')],
    ['a string of another length', () => server.redis.set(key, 'x')],
  ])('that is %s is refused, with nothing written', async (_name, breakIt) => {
    await breakIt();
    await expect(add(['a'])).rejects.toMatchObject({ retryable: false });
    expect((await server.redis.keys('*')).sort()).toEqual(
      [metaKey(pipeline.name, 0), rulesKey(pipeline.name, 0), key].sort(),
    );
    expect((await store.read(0))?.position.nextOffset).toBe(0);
  });
});

it('takes 20,000 windows of one cell, and 20,000 cells of one window, in one commit', async () => {
  const many = (place: (deltas: PaneDeltas, i: number) => void): Changes => {
    const deltas = new PaneDeltas(pipeline.aggregates, pipeline.fields);
    for (let i = 0; i < 20_000; i++) place(deltas, i);
    return { ...changes(0, 20_000, []), deltas };
  };
  const nulls = pipeline.fields.map(() => null);
  const event = (values: readonly (string | null)[]) => ({ id: 'x', timeMs: 1, values });
  const inWindows = many((deltas, i) => deltas.add(byShop, i * 5_000, (i + 1) * 5_000, event(nulls)));
  expect(await store.commit(0, 'me', inWindows)).toEqual({ kind: 'committed' });
  expect(await store.panes.count(0, 0)).toMatchObject({ all: 20_000 });
  await server.redis.flushall();
  await store.acquire(0, 'me', 0, null);
  const inOne = many((deltas, i) =>
    deltas.add(byShop, 0, 5_000, event(nulls.map((_, field) => (field === at('shop') ? `shop ${i}` : null)))),
  );
  expect(await store.commit(0, 'me', inOne)).toEqual({ kind: 'committed' });
  const cells = await server.redis.hgetall(shopKey);
  expect(Object.keys(cells)).toHaveLength(20_002);
  expect(new Set(Object.values(cells))).toEqual(new Set(['1', 'me']));
}, 60_000);

it('is atomic: whoever reads while it runs sees all of a commit or nothing', async () => {
  const reader = await server.connect();
  let done = false;
  const seen = new Set<string>();
  const reading = (async () => {
    while (!done) {
      const reply = await reader
        .multi()
        .hget(totalKey, 'rows|[]')
        .hget(shopKey, 'rows|[null]')
        .hget(metaKey(pipeline.name, 0), 'offset')
        .exec();
      seen.add((reply ?? []).map(([, value]) => (typeof value === 'string' ? value : '0')).join(' '));
    }
  })();
  for (let i = 0; i < 200; i++) await store.commit(0, 'me', changes(i, i + 1, [1]));
  done = true;
  await reading;
  reader.disconnect();
  for (const state of seen) expect(new Set(state.split(' ')).size).toBe(1);
  expect(seen.size).toBeGreaterThan(3);
});

it('of two owners that commit at once, one wins each offset and nothing is counted twice', async () => {
  const attempts = Array.from({ length: 50 }, async (_, i) => {
    const owner = `owner ${i}`;
    const { position: held } = await store.acquire(0, owner, 0, null);
    return store.commit(0, owner, { ...changes(held.nextOffset, held.nextOffset + 1, [1]), from: held });
  });
  const committed = (await Promise.all(attempts)).filter(({ kind }) => kind === 'committed').length;
  expect(committed).toBeGreaterThan(0);
  expect(await cell('rows')).toBe(String(committed));
  expect((await store.read(0))?.position.nextOffset).toBe(committed);
});

test('windows that lost their offset are dropped on acquisition, so that counting anew does not double them', async () => {
  await store.commit(0, 'me', changes(0, 10, [100, 200]));
  await server.redis.del(metaKey(pipeline.name, 0));
  expect(await store.commit(0, 'me', changes(10, 11, [1]))).toEqual({ kind: 'fenced' });
  const { position: held } = await store.acquire(0, 'me', 3, null);
  expect(held.nextOffset).toBe(3);
  expect((await server.redis.keys('*')).sort()).toEqual([
    metaKey(pipeline.name, 0),
    rulesKey(pipeline.name, 0),
  ]);
});
