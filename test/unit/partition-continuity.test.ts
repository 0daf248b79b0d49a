/** When an owner asks whether the log is still the one that it has read: at a gap the log, at every commit the topic. */
import { definePipeline } from '../../domain/pipeline.ts';
import { OwnershipLost, Partition } from '../../stream/partition.ts';
import type { PartitionDeps } from '../../stream/partition.ts';
import { TopicGuard } from '../../stream/topic-guard.ts';

const pipeline = definePipeline({
  name: 'continuity',
  event: {
    schema: { type: 'object', properties: { id: { type: 'string' }, at: { type: 'string' } } },
    id: 'id',
    time: 'at',
  },
  aggregates: { all: { window: { tumbling: '1m' }, measures: { events: 'count' } } },
});

async function acquire(stored: string | null, readId: () => Promise<string | null>) {
  const asked: (number | null)[] = [];
  const committed: number[] = [];
  const position = { nextOffset: 0, maxEventTimeMs: -Infinity, logTimeMs: -Infinity };
  const deps = {
    pipeline,
    history: null,
    flushMs: 100,
    nowMs: () => 0,
    wallMs: () => 0,
    decode: ({ offset }: { offset: number }) => ({
      ok: true,
      event: { id: String(offset), timeMs: offset, values: ['', ''] },
    }),
    store: {
      read: async () => null,
      acquire: async () => ({ position, baseOffset: 0, counters: new Map(), topicId: stored }),
      commit: async (_: number, __: string, { to }: { to: { nextOffset: number } }) => {
        committed.push(to.nextOffset);
        return { kind: 'committed' };
      },
    },
    sideOutputs: { send: async () => undefined },
    topic: new TopicGuard(pipeline.topic, readId),
    rememberedBase: async () => null,
    offsetAtTime: async () => null,
    requireOffset: async (_: number, read: { nextOffset: number } | null) => {
      asked.push(read?.nextOffset ?? null);
      return { partition: 0, start: 0, end: 1_000 };
    },
  } as unknown as PartitionDeps;
  const owned = await Partition.acquire(0, deps, () => true);
  asked.length = 0;
  const take = (...offsets: number[]) =>
    owned.take(
      offsets.map((offset) => ({ partition: 0, offset, timestampMs: offset, key: null, value: null })),
      () => true,
    );
  return { owned, take, asked, committed };
}

it('the log is not asked for while one batch follows another', async () => {
  const { take, asked } = await acquire('a', async () => 'a');
  for (let offset = 0; offset < 50; offset++) await take(offset);
  expect(asked).toEqual([]);
});

it('the log is asked for at a gap', async () => {
  const { take, asked } = await acquire('a', async () => 'a');
  await take(0);
  await take(3);
  expect(asked).toEqual([1]);
});

it('what was read of a recreated topic is never committed, however quickly it was filled', async () => {
  let id = 'a';
  const { owned, take, committed } = await acquire('a', async () => id);
  await take(0, 1);
  await owned.flush();
  expect(committed).toEqual([2]);
  await take(2, 3);
  id = 'b';
  await expect(owned.flush()).rejects.toMatchObject({
    code: 'log-truncated',
    message:
      'Topic continuity was recreated: the counts in Redis are of the topic with id a, and Kafka has b under its name.',
  });
  expect(committed).toEqual([2]);
});

it('Kafka that does not say which topic it has costs the ownership, and nothing is committed', async () => {
  let answers = true;
  const { owned, take, committed } = await acquire('a', async () => {
    if (answers) return 'a';
    throw Object.assign(new Error('Connection closed'), { name: 'KafkaJSConnectionClosedError' });
  });
  answers = false;
  await take(0);
  await expect(owned.flush()).rejects.toThrow(OwnershipLost);
  expect(committed).toEqual([]);
});

it('a broker without ids is not asked at commits', async () => {
  let asked = 0;
  const { owned, take, committed } = await acquire(null, async () => (asked++, null));
  const atAcquisition = asked;
  await take(0);
  await owned.flush();
  expect([committed, asked]).toEqual([[1], atAcquisition]);
});

it('an answer that was under way is not taken for one to a later question', async () => {
  const answers: ((id: string) => void)[] = [];
  const guard = new TopicGuard('t', () => new Promise((resolve) => answers.push(resolve)));
  const first = guard.require('a');
  const later = [guard.require('a'), guard.require('a')];
  const outcomes = Promise.allSettled(later);
  expect(answers).toHaveLength(1);
  answers[0]?.('a');
  await first;
  // One question for both of those that came meanwhile.
  await new Promise(setImmediate);
  expect(answers).toHaveLength(2);
  answers[1]?.('b');
  expect((await outcomes).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
});
