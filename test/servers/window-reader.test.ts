/**
 * Windows as they are read while events are counted: in any range they are those of the naive model, also when closed ones come
 * from the reader's memory; labels follow the watermark, and the last window closes without new traffic.
 */
import * as fc from 'fast-check';
import { readUtf8 } from '../../clients/kafka.ts';
import { createDecoder } from '../../domain/decode.ts';
import { PartitionFold } from '../../stream/fold.ts';
import { StateStore } from '../../stream/state-store.ts';
import { WindowReader } from '../../stream/window-reader.ts';
import type { WindowRow } from '../../stream/window-rows.ts';
import { naiveOutcome } from '../support/naive-model.ts';
import { pipeline, rules } from '../support/odd-pipeline.ts';
import { anyLog } from '../support/random-log.ts';
import type { Entry } from '../support/random-log.ts';
import { startRedis } from '../support/redis-server.ts';
import type { RedisServer } from '../support/redis-server.ts';

const seed = Number(process.env['RECKON_SEED'] ?? Date.now() % 2 ** 31);
const decode = createDecoder(pipeline, readUtf8);
const everything = { fromMs: Number.NEGATIVE_INFINITY, toMs: Number.POSITIVE_INFINITY };
/** Wall clocks: of the year 2100, long after every event; the owner looked just now. */
const nowMs = 4_102_444_800_000;
const caughtUp = { lag: 0, idleSinceMs: nowMs - 60_000, seenAtMs: nowMs - 1_000 };

let server: RedisServer;
let store: StateStore;

beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());
beforeEach(async () => {
  await server.redis.flushall();
  store = new StateStore(server.redis, pipeline);
});

async function begin(partition: number, log: readonly Entry[]): Promise<PartitionFold> {
  const first = log[0]?.plain.offset ?? 0;
  const { position } = await store.acquire(partition, 'me', first, null);
  return new PartitionFold(pipeline, decode, position, first);
}

async function commit(partition: number, fold: PartitionFold): Promise<void> {
  if (fold.dirty)
    expect(await store.commit(partition, 'me', fold.takeChanges())).toEqual({ kind: 'committed' });
}

/** Window and group → rows of the naive model, for one aggregate. */
function expectedRows(aggregate: string, logs: readonly (readonly Entry[])[]): Map<string, bigint> {
  const rows = new Map<string, bigint>();
  for (const log of logs) {
    const { windows } = naiveOutcome(
      rules,
      log.map(({ plain }) => plain),
    );
    for (const [key, result] of Object.entries(windows))
      if (key.startsWith(`${aggregate}|`)) rows.set(key, (rows.get(key) ?? 0n) + result.rows);
  }
  return rows;
}

const keyOf = (aggregate: string, row: WindowRow) => `${aggregate}|${row.startMs}|${row.endMs}|${row.group}`;

it('in any range, at any time, are those of the naive model', async () => {
  const aggregates = ['by_shop', 'hops', 'long_hops', 'sessions'];
  let fromMemory = 0;
  await fc.assert(
    fc.asyncProperty(
      anyLog(60),
      fc.array(fc.tuple(fc.nat(59), fc.nat(40_000)), { maxLength: 4 }),
      async (log, looks) => {
        await server.redis.flushall();
        const fold = await begin(0, log);
        const reader = new WindowReader(store, pipeline, [0]);
        for (const [i, { record }] of log.entries()) {
          fold.take(record);
          const look = looks.find(([at]) => at === i);
          if (look === undefined && i < log.length - 1) continue;
          await commit(0, fold);
          const times = log.filter(({ plain }) => plain.dead === null).map(({ plain }) => plain.timeMs);
          const middleMs = times[look?.[1] ?? 0] ?? times[0] ?? 0;
          const widthMs = look?.[1] ?? Number.POSITIVE_INFINITY;
          const range = { fromMs: middleMs - widthMs, toMs: middleMs + widthMs };
          for (const aggregate of aggregates) {
            const expected = [...expectedRows(aggregate, [log.slice(0, i + 1)])].filter(([key]) => {
              const startMs = Number(key.split('|')[1]);
              return startMs >= range.fromMs && startMs < range.toMs;
            });
            for (let again = 0; again < 2; again++) {
              const { rows } = await reader.read(aggregate, range, nowMs);
              const found = new Map(
                rows.map((row) => [keyOf(aggregate, row), BigInt(row.results['n'] as string)]),
              );
              expect(found).toEqual(new Map(expected));
              fromMemory += again * rows.filter(({ status }) => status === 'closed').length;
            }
            const group = expected[0]?.[0].split('|').slice(3).join('|');
            if (group === undefined) continue;
            const { rows } = await reader.read(aggregate, { ...range, group }, nowMs);
            expect(
              new Map(rows.map((row) => [keyOf(aggregate, row), BigInt(row.results['n'] as string)])),
            ).toEqual(new Map(expected.filter(([key]) => key.split('|').slice(3).join('|') === group)));
          }
        }
      },
    ),
    { numRuns: 25, seed },
  );
  expect(fromMemory).toBeGreaterThan(0);
}, 120_000);

it('of several partitions are merged, and tell the offsets that they include', async () => {
  const [a, b] = fc.sample(anyLog(60), { seed, numRuns: 2 }) as [Entry[], Entry[]];
  for (const [partition, log] of [a, b].entries()) {
    const fold = await begin(partition, log);
    for (const { record } of log) fold.take({ ...record, partition });
    await commit(partition, fold);
  }
  const { rows, offsets } = await new WindowReader(store, pipeline, [0, 1]).read(
    'by_shop',
    everything,
    nowMs,
  );
  expect(new Map(rows.map((row) => [keyOf('by_shop', row), BigInt(row.results['n'] as string)]))).toEqual(
    expectedRows('by_shop', [a, b]),
  );
  const next = (log: readonly Entry[]) => (log.at(-1)?.plain.offset ?? 0) + 1;
  expect(offsets).toEqual({ 0: next(a), 1: next(b) });
});

describe('labels', () => {
  const record = (partition: number, offset: number, at: number) => ({
    partition,
    offset,
    timestampMs: at,
    key: null,
    value: Buffer.from(JSON.stringify({ id: `${partition}:${offset}`, at, shop: 'a' })),
  });
  const folds: PartitionFold[] = [];
  const reader = () => new WindowReader(store, pipeline, [0, 1]);
  const take = async (partition: number, offset: number, at: number) => {
    const fold = folds[partition];
    fold?.take(record(partition, offset, at));
    if (fold !== undefined) await commit(partition, fold);
  };
  const labels = async () =>
    (await reader().read('by_shop', everything, nowMs)).rows.map(({ startMs, status, revision }) => [
      startMs,
      status,
      revision,
    ]);

  beforeEach(async () => {
    for (const partition of [0, 1]) folds[partition] = await begin(partition, []);
    await take(0, 0, 1_000_000);
    await take(1, 0, 1_000_000);
  });

  it('follow the slowest partition that is not idle', async () => {
    await take(0, 1, 2_000_000);
    expect(await labels()).toEqual([
      [1_000_000, 'open', 2],
      [2_000_000, 'open', 1],
    ]);
    await store.report(1, 'me', caughtUp);
    expect(await labels()).toEqual([
      [1_000_000, 'closed', 2],
      [2_000_000, 'open', 1],
    ]);
  });

  it('close the last window without new traffic, once every partition is caught up and idle', async () => {
    await store.report(0, 'me', caughtUp);
    expect(await labels()).toEqual([[1_000_000, 'open', 2]]);
    await store.report(1, 'me', caughtUp);
    expect(await labels()).toEqual([[1_000_000, 'closed', 2]]);
  });

  it.each([
    ['has a lag', { ...caughtUp, lag: 5, idleSinceMs: null }],
    ['took a record a moment ago', { ...caughtUp, idleSinceMs: nowMs - 1_000 }],
    ['has not looked for a while', { ...caughtUp, seenAtMs: nowMs - 60_000 }],
  ])('do not take a partition as idle whose owner %s', async (_name, report) => {
    await store.report(0, 'me', caughtUp);
    await store.report(1, 'me', report);
    expect(await labels()).toEqual([[1_000_000, 'open', 2]]);
  });

  it('a closed window that changes all the same has a higher revision', async () => {
    await store.report(0, 'me', caughtUp);
    await store.report(1, 'me', caughtUp);
    const same = reader();
    const read = async () => (await same.read('by_shop', everything, nowMs)).rows[0];
    expect(await read()).toMatchObject({ status: 'closed', revision: 2, results: { n: '2' } });
    await take(1, 1, 1_000_500);
    expect(await read()).toMatchObject({ status: 'closed', revision: 3, results: { n: '3' } });
  });

  it('say what a reconciliation found exact, once it did so in every partition', async () => {
    await take(0, 1, 2_000_000);
    await take(1, 1, 2_000_000);
    await store.noteReconciled(0, 2_000_000);
    expect((await labels()).map(([, status]) => status)).toEqual(['closed', 'open']);
    await store.noteReconciled(1, 1_500_000);
    // An earlier reconciliation that ends later changes nothing.
    await store.noteReconciled(0, 1_000_000);
    expect((await labels()).map(([, status]) => status)).toEqual(['reconciled', 'open']);
    expect((await store.read(2))?.reconciledUpToMs).toBeUndefined();
    await store.noteReconciled(2, 5);
    expect(await store.read(2)).toBeNull();
  });

  it('of an earlier owner are not believed', async () => {
    await store.acquire(1, 'other', 0, null);
    await store.report(1, 'me', caughtUp);
    expect((await store.read(1))?.report).toBeNull();
  });
});

it('an unknown aggregate is named, with those that there are', async () => {
  await expect(new WindowReader(store, pipeline, [0]).read('nope', everything, nowMs)).rejects.toMatchObject({
    code: 'invalid-input',
    message: expect.stringContaining('has no aggregate nope') as string,
  });
});
