/** When an owner asks whether the log is still the one that it has read: at a gap, and after every pause. */
import { definePipeline } from '../../domain/pipeline.ts';
import { Partition } from '../../stream/partition.ts';
import type { PartitionDeps } from '../../stream/partition.ts';

const pipeline = definePipeline({
  name: 'continuity',
  event: {
    schema: { type: 'object', properties: { id: { type: 'string' }, at: { type: 'string' } } },
    id: 'id',
    time: 'at',
  },
  aggregates: { all: { window: { tumbling: '1m' }, measures: { events: 'count' } } },
});

async function acquire() {
  let nowMs = 0;
  const asked: (number | null)[] = [];
  const position = { nextOffset: 0, maxEventTimeMs: -Infinity, logTimeMs: -Infinity };
  const deps = {
    pipeline,
    history: null,
    flushMs: 100,
    nowMs: () => nowMs,
    wallMs: () => nowMs,
    decode: () => ({ ok: true, event: { id: String(nowMs), timeMs: nowMs, values: ['', ''] } }),
    store: {
      read: async () => null,
      acquire: async () => ({ position, baseOffset: 0, counters: new Map() }),
      commit: async () => ({ kind: 'committed' }),
    },
    sideOutputs: { send: async () => undefined },
    rememberedBase: async () => null,
    offsetAtTime: async () => null,
    requireOffset: async (_: number, read: { nextOffset: number } | null) => {
      asked.push(read?.nextOffset ?? null);
      return { partition: 0, start: 0, end: 1_000 };
    },
  } as unknown as PartitionDeps;
  const owned = await Partition.acquire(0, deps, () => true);
  asked.length = 0;
  const take = (offset: number, atMs: number) => {
    nowMs = atMs;
    const record = { partition: 0, offset, timestampMs: atMs, key: null, value: null };
    return owned.take([record], () => true);
  };
  return { take, asked };
}

it('not while one batch follows another', async () => {
  const { take, asked } = await acquire();
  for (let offset = 0; offset < 50; offset++) await take(offset, 20 * offset);
  expect(asked).toEqual([]);
});

it('at a gap', async () => {
  const { take, asked } = await acquire();
  await take(0, 0);
  await take(3, 20);
  expect(asked).toEqual([1]);
});

it('after a pause, in which the topic may have been recreated and filled as far as before', async () => {
  const { take, asked } = await acquire();
  await take(0, 0);
  await take(1, 249);
  expect(asked).toEqual([]);
  await take(2, 499);
  expect(asked).toEqual([2]);
});
