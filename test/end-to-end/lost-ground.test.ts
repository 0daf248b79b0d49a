/**
 * What the counts stand on is taken away: Redis's state, the topic, the definition. Each ends in a loud, specific stop or a
 * difference, never in "exact"; and a record that no side topic takes stops nothing.
 */
import { join } from 'node:path';
import { CompressionTypes } from 'kafkajs';
import { eventually } from '../support/eventually.ts';
import { consumed } from '../support/flights-check.ts';
import { kafka, lakeRows, readTopic, withRedis } from '../support/independent.ts';
import { World, lastJson, sampleFile } from '../support/world.ts';

const sample = sampleFile('flights-20k.json');
let world: World;

beforeAll(() => {
  world = new World();
});
afterAll(() => world.close());

async function replay(name: string, rows: number): Promise<void> {
  const env = { RECKON_PIPELINE: world.flights(name) };
  const ended = await world.run('replay', ['--file', sample, '--limit', String(rows), '--json'], env);
  expect(lastJson(ended)).toMatchObject({ records: rows });
}

async function deleteTopic(topic: string): Promise<void> {
  const admin = kafka(world.endpoints.kafkaBrokers).admin();
  await admin.connect();
  try {
    await admin.deleteTopics({ topics: [topic] });
    await eventually(async () => expect(await admin.listTopics()).not.toContain(topic));
  } finally {
    await admin.disconnect();
  }
}

test('state that Redis has lost is missing, not "exact"', async () => {
  const name = world.name('lost');
  const env = { RECKON_PIPELINE: world.flights(name) };
  const stream = await world.start('stream', env);
  const archive = await world.start('archive', env);
  const worker = await world.start('worker', env);
  await replay(name, 2_000);
  await consumed(world, name, 2_000);
  expect(lastJson(await world.run('reconcile', ['--scope', 'all', '--json'], env))).toMatchObject({
    records: 2_000,
    unexplained: 0,
    lag: 0,
  });
  await stream.end('SIGTERM');
  await flushState(name);
  const verdict = await world.run('reconcile', ['--scope', 'all', '--json'], env);
  expect(verdict.code).toBe(2);
  expect(lastJson(verdict)).toMatchObject({ verdict: 'unexplained' });
  // Counted anew from the log, it is exact again.
  const again = await world.start('stream', env);
  await consumed(world, name, 2_000);
  expect(lastJson(await world.run('reconcile', ['--scope', 'all', '--json'], env))).toMatchObject({
    records: 2_000,
    unexplained: 0,
  });
  for (const process of [again, archive, worker]) await process.end('SIGTERM');
}, 180_000);

/** Deletes the records of every partition below the given share of its end. @returns how many went */
async function truncate(topic: string, share: number): Promise<number> {
  const admin = kafka(world.endpoints.kafkaBrokers).admin();
  await admin.connect();
  try {
    const offsets = await admin.fetchTopicOffsets(topic);
    const partitions = offsets.map(({ partition, high }) => ({
      partition,
      offset: String(Math.floor(Number(high) * share)),
    }));
    await admin.deleteTopicRecords({ topic, partitions });
    return partitions.reduce((sum, { offset }) => sum + Number(offset), 0);
  } finally {
    await admin.disconnect();
  }
}

async function flushState(name: string): Promise<void> {
  await withRedis(world.endpoints.redisUrl, async (redis) => {
    const keys = await redis.keys(`reckon:{${name}:*`);
    expect(keys.length).toBeGreaterThan(100);
    await redis.del(...keys);
  });
}

describe('what Kafka has deleted is read from the lake', () => {
  const reconcile = (env: Record<string, string>) =>
    world.run('reconcile', ['--scope', 'all', '--json'], env);

  test('when Redis lost its state, and when the speed layer was away; duplicates of deleted records are known', async () => {
    const name = world.name('rebuilt');
    const env = { RECKON_PIPELINE: world.flights(name) };
    const stream = await world.start('stream', env);
    const archive = await world.start('archive', { ...env, ARCHIVE_ROLL_MS: '100' });
    const worker = await world.start('worker', env);
    await replay(name, 2_000);
    await consumed(world, name, 2_000);
    expect(lastJson(await reconcile(env))).toMatchObject({ records: 2_000, unexplained: 0, lag: 0 });
    await stream.end('SIGTERM');
    // 1. The state is lost, and so is most of the topic.
    await flushState(name);
    expect(await truncate(name, 0.9)).toBeGreaterThan(1_700);
    let again = await world.start('stream', env);
    await consumed(world, name, 2_000);
    expect(lastJson(await reconcile(env))).toMatchObject({ records: 2_000, unexplained: 0, lag: 0 });
    // 2. The same rows again: the ids of the deleted ones are within the horizon, so all are duplicates.
    await replay(name, 2_000);
    await consumed(world, name, 4_000);
    expect(lastJson(await reconcile(env))).toMatchObject({
      counted: 2_000,
      duplicate: 2_000,
      unexplained: 0,
    });
    // 3. The same after a restart: the ids are in the lake only.
    await again.end('SIGTERM');
    await truncate(name, 1);
    again = await world.start('stream', env);
    await replay(name, 1_000);
    await consumed(world, name, 5_000);
    expect(lastJson(await reconcile(env))).toMatchObject({
      counted: 2_000,
      duplicate: 3_000,
      unexplained: 0,
    });
    // 4. Records that the speed layer never saw are archived, then deleted.
    await again.end('SIGKILL');
    await replay(name, 3_000);
    await eventually(() => expect(lakeRows(join(world.lake, name, 'events'))).toBe(8_000), 60_000);
    await truncate(name, 1);
    again = await world.start('stream', env);
    await consumed(world, name, 8_000);
    expect(lastJson(await reconcile(env))).toMatchObject({
      counted: 3_000,
      duplicate: 5_000,
      unexplained: 0,
    });
    for (const process of [again, archive, worker]) await process.end('SIGTERM');
  }, 240_000);

  test('and where the lake does not have it either, the stream stops and says so', async () => {
    const name = world.name('nowhere');
    const env = { RECKON_PIPELINE: world.flights(name) };
    const stream = await world.start('stream', env);
    await replay(name, 1_000);
    await consumed(world, name, 1_000);
    expect((await stream.end('SIGTERM')).code).toBe(0);
    await flushState(name);
    await truncate(name, 0.5);
    const { code, stderr } = await world.run('stream', [], env);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^reckon: Partition \d of topic \S+ begins at offset \d+ in Kafka, Redis has no counts of offset 0, and the lake does not have them: .*$/m,
    );
    expect(stderr).not.toMatch(/^\s+at /m);
  }, 120_000);
});

test('what comes next is deleted while stream and archive sleep: they wake, stop, and say so', async () => {
  const name = world.name('asleep');
  const env = { RECKON_PIPELINE: world.flights(name) };
  const stream = await world.start('stream', env);
  const archive = await world.start('archive', { ...env, ARCHIVE_ROLL_MS: '100' });
  await replay(name, 1_000);
  await consumed(world, name, 1_000);
  await eventually(() => expect(lakeRows(join(world.lake, name, 'events'))).toBe(1_000));
  for (const { pid } of [stream, archive]) process.kill(pid, 'SIGSTOP');
  // A fetch that was under way is answered with the first of these; what follows is gone.
  await replay(name, 3_000);
  await replay(name, 3_000);
  await truncate(name, 1);
  for (const { pid } of [stream, archive]) process.kill(pid, 'SIGCONT');
  for (const [{ ended }, words] of [
    [
      stream,
      'begins at offset \\d+ in Kafka, Redis has counted up to offset \\d+, and the lake has \\d+ to \\d+',
    ],
    [archive, 'holds offsets \\d+ to \\d+, and the lake reaches \\d+'],
  ] as const) {
    const { code, stderr } = await ended;
    expect(code).toBe(1);
    expect(stderr).toMatch(
      new RegExp(`^reckon: Partition \\d of topic \\S+ ${words}: records were deleted before`, 'm'),
    );
  }
}, 120_000);

test('a topic that was recreated, with more records than were counted, stops stream and archive', async () => {
  const name = world.name('recreated');
  const env = { RECKON_PIPELINE: world.flights(name) };
  const stream = await world.start('stream', env);
  const archive = await world.start('archive', { ...env, ARCHIVE_ROLL_MS: '100' });
  await replay(name, 1_000);
  await consumed(world, name, 1_000);
  for (const process of [stream, archive]) expect((await process.end('SIGTERM')).code).toBe(0);
  await deleteTopic(name);
  await replay(name, 5_000);
  for (const command of ['stream', 'archive']) {
    const { code, stderr } = await world.run(command, [], env);
    expect([command, code]).toEqual([command, 1]);
    expect(stderr).toMatch(
      /^reckon: Topic \S+ was recreated: the (counts in Redis|rows of the lake) are of the topic with id [\w-]{22}, and Kafka has [\w-]{22} under its name\. Give the pipeline a new name to count anew\.$/m,
    );
    expect(stderr).not.toMatch(/^\s+at /m);
  }
}, 180_000);

test('a definition that names another topic is refused by stream and archive', async () => {
  const name = world.name('moved');
  const definition = (topic: string): string => `{
    name: '${name}', topic: '${topic}',
    event: { schema: { type: 'object', properties: { id: { type: 'string' }, at: { type: 'string' } } }, id: 'id', time: 'at' },
    aggregates: { all: { window: { tumbling: '1m' }, measures: { events: 'count' } } },
  }`;
  const before = { RECKON_PIPELINE: world.define(`${name}-a`, definition(`${name}-a`)) };
  for (const command of ['stream', 'archive']) {
    const process = await world.start(command, before);
    if (command === 'stream')
      await eventually(async () =>
        expect(
          await withRedis(world.endpoints.redisUrl, (redis) => redis.keys(`reckon:{${name}:*}:meta`)),
        ).toHaveLength(4),
      );
    await process.end('SIGTERM');
  }
  const after = { RECKON_PIPELINE: world.define(`${name}-b`, definition(`${name}-b`)) };
  for (const command of ['stream', 'archive']) {
    const { code, stderr } = await world.run(command, [], after);
    expect([command, code]).toEqual([command, 1]);
    expect(stderr).toMatch(/^reckon: The (state|lake) of pipeline .*give the pipeline a new name\.$/m);
  }
}, 120_000);

test('a dead letter that is too large for its topic goes there without its value', async () => {
  const name = world.name('large');
  const env = { RECKON_PIPELINE: world.flights(name) };
  const stream = await world.start('stream', env);
  const producer = kafka(world.endpoints.kafkaBrokers).producer();
  await producer.connect();
  const value = JSON.stringify({ id: 'x', padding: 'y'.repeat(9 << 20) });
  await producer.send({ topic: name, compression: CompressionTypes.GZIP, messages: [{ key: 'k', value }] });
  await producer.disconnect();
  await replay(name, 100);
  await consumed(world, name, 101);
  const [dead] = await readTopic(world.endpoints.kafkaBrokers, `${name}.dead-letter`);
  expect(dead?.value).toBeNull();
  expect(dead?.headers?.['reckon.reason']?.toString()).toBe('too-large');
  expect(dead?.headers?.['reckon.value.omitted.bytes']?.toString()).toBe(String(value.length));
  await stream.end('SIGTERM');
}, 120_000);
