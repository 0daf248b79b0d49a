/** Processes that start at the same moment create the same topics: each of them goes on, and the topics are as defined. */
import { connectAdmin, readOffsets } from '../../clients/kafka.ts';
import { ensureTopics } from '../../clients/kafka-topics.ts';
import { definePipeline } from '../../domain/pipeline.ts';
import { World } from '../support/world.ts';

let world: World;
beforeAll(() => {
  world = new World();
});
afterAll(() => world.close());

test('six processes at once, ten times over', async () => {
  const admins = await Promise.all(
    Array.from({ length: 6 }, () => connectAdmin(world.endpoints.kafkaBrokers, 'end-to-end-test')),
  );
  try {
    for (let round = 0; round < 10; round++) {
      const pipeline = definePipeline({
        name: world.name(`topics-${round}`),
        partitions: 5,
        event: {
          schema: { type: 'object', properties: { id: { type: 'string' }, at: { type: 'string' } } },
          id: 'id',
          time: 'at',
        },
        aggregates: { daily: { window: { tumbling: '1d' }, measures: { events: 'count' } } },
      });
      // What each process does next is to ask for the offsets: that must work at once, too.
      const spans = await Promise.all(
        admins.map(async (admin) => {
          await ensureTopics(admin, pipeline);
          return readOffsets(admin, pipeline.topic);
        }),
      );
      const empty = [0, 1, 2, 3, 4].map((partition) => ({ partition, start: 0, end: 0 }));
      expect(spans).toEqual(admins.map(() => empty));
      for (const topic of [pipeline.deadLetterTopic, pipeline.lateTopic])
        expect(await readOffsets(admins[0] as (typeof admins)[0], topic)).toEqual([
          { partition: 0, start: 0, end: 0 },
        ]);
    }
  } finally {
    await Promise.all(admins.map((admin) => admin.disconnect()));
  }
});
