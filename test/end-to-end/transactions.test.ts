/**
 * Topics of transactional producers: their control records take offsets and are no events. Both layers step over them, also where
 * they are the last of the log, and records of aborted transactions count nowhere.
 */
import { eventually } from '../support/eventually.ts';
import { counter, kafka, topicSpans, withRedis } from '../support/independent.ts';
import { World, lastJson } from '../support/world.ts';

let world: World;
beforeAll(() => {
  world = new World();
});
afterAll(() => world.close());

test('a log that ends with control records is taken to its end, and reconciled exactly', async () => {
  const name = world.name('txn');
  const env = {
    RECKON_PIPELINE: world.define(
      name,
      `{ name: '${name}', partitions: 1,
         event: { schema: { type: 'object', properties: { id: { type: 'string' }, at: { type: 'integer' } } }, id: 'id', time: { field: 'at', format: 'epoch-ms' } },
         aggregates: { all: { window: { tumbling: '1m' }, measures: { events: 'count' } } } }`,
    ),
  };
  let stream = await world.start('stream', env);
  let archive = await world.start('archive', { ...env, ARCHIVE_ROLL_MS: '100' });
  const worker = await world.start('worker', env);
  const producer = kafka(world.endpoints.kafkaBrokers).producer({
    transactionalId: name,
    idempotent: true,
    maxInFlightRequests: 1,
  });
  await producer.connect();
  const send = async (from: number, outcome: 'commit' | 'abort'): Promise<void> => {
    const transaction = await producer.transaction();
    const messages = Array.from({ length: 10 }, (_, i) => ({
      key: 'k',
      value: JSON.stringify({ id: String(from + i), at: Date.now() }),
    }));
    await transaction.send({ topic: name, messages });
    await transaction[outcome]();
  };
  await send(0, 'commit');
  await send(100, 'abort');
  await send(10, 'commit');
  await send(200, 'abort');
  const isExact = async (end: number, records: number): Promise<void> => {
    expect(Number((await topicSpans(world.endpoints.kafkaBrokers, name))[0]?.next)).toBe(end);
    await withRedis(world.endpoints.redisUrl, async (redis) => {
      await eventually(async () => expect(await counter(redis, name, 'offset')).toBe(end), 30_000);
      expect([await counter(redis, name, 'consumed'), await counter(redis, name, 'gaps')]).toEqual([
        records,
        end - records,
      ]);
    });
    const verdict = await world.run('reconcile', ['--scope', 'all', '--json'], env);
    expect(lastJson(verdict)).toMatchObject({ records, counted: records, unexplained: 0, lag: 0 });
  };
  await isExact(44, 20);
  // Begun again, both look at what the log holds below their offset: records that nobody reads, younger than all that was read.
  for (const process of [stream, archive]) expect((await process.end('SIGTERM')).code).toBe(0);
  stream = await world.start('stream', env);
  archive = await world.start('archive', { ...env, ARCHIVE_ROLL_MS: '100' });
  await send(20, 'commit');
  await producer.disconnect();
  await isExact(55, 30);
  for (const process of [stream, archive, worker]) expect((await process.end('SIGTERM')).code).toBe(0);
}, 120_000);
