/**
 * `kill -9` in the middle of the work, again and again: after the restart nothing is lost and nothing is doubled, in Redis
 * as in the lake.
 */
import { join } from 'node:path';
import { eventually } from '../support/eventually.ts';
import { consumed, expectSame, flightCells } from '../support/flights-check.ts';
import { counter, duck, lakeFrom, lakeRows, topicSpans, withRedis } from '../support/independent.ts';
import { World, lastJson, sampleFile } from '../support/world.ts';

const records = 200_000;
const file = sampleFile('flights-3m.parquet');
const source = `(SELECT date AS t, delay, distance, origin FROM read_parquet('${file}', file_row_number = true)
  WHERE file_row_number < ${records})`;
/** Where the process is killed, as a part of all records. */
const kills = [0.15, 0.35, 0.6];
let world: World;

beforeAll(() => {
  world = new World();
});
afterAll(() => world.close());

async function replayAll(env: Readonly<Record<string, string>>): Promise<void> {
  const replay = await world.run('replay', ['--file', file, '--limit', String(records), '--json'], env);
  expect(lastJson(replay)).toMatchObject({ records });
}

test('the stream process, killed three times while it catches up and while events arrive', async () => {
  const name = world.name('killed-stream');
  const env = { RECKON_PIPELINE: world.flights(name), FLUSH_MS: '20' };
  const replay = replayAll(env);
  const seen: number[] = [];
  await withRedis(world.endpoints.redisUrl, async (redis) => {
    for (const part of kills) {
      const stream = await world.start('stream', env);
      await eventually(
        async () => expect(await counter(redis, name, 'consumed')).toBeGreaterThan(part * records),
        60_000,
        5,
      );
      expect((await stream.end('SIGKILL')).code).toBeNull();
      seen.push(await counter(redis, name, 'consumed'));
    }
  });
  await replay;
  // Each time it died in the middle of the work.
  for (const count of seen) expect(count).toBeLessThan(records);
  await world.start('stream', env);
  await consumed(world, name, records);
  await expectSame(world, name, await flightCells(source));
});

test('the archiver, killed three times: every offset is in the lake exactly once', async () => {
  const name = world.name('killed-archive');
  const env = { RECKON_PIPELINE: world.flights(name), ARCHIVE_ROLL_MS: '50' };
  const table = join(world.lake, name, 'events');
  const replay = replayAll(env);
  const seen: number[] = [];
  for (const part of kills) {
    const archive = await world.start('archive', env);
    await eventually(() => expect(lakeRows(table)).toBeGreaterThan(part * records), 60_000, 5);
    expect((await archive.end('SIGKILL')).code).toBeNull();
    seen.push(lakeRows(table));
  }
  await replay;
  for (const count of seen) expect(count).toBeLessThan(records);
  await world.start('archive', env);
  await eventually(() => expect(lakeRows(table)).toBeGreaterThanOrEqual(records), 60_000);

  const spans = await topicSpans(world.endpoints.kafkaBrokers, name);
  const partitions =
    await duck(`SELECT _partition AS p, count(*)::INTEGER AS n, count(DISTINCT _offset)::INTEGER AS d,
    min(_offset)::INTEGER AS lo, max(_offset)::INTEGER AS hi FROM ${lakeFrom(table)} GROUP BY ALL ORDER BY p`);
  expect(partitions).toEqual(
    spans
      .filter(({ first, next }) => next > first)
      .map(({ partition, first, next }) => ({
        p: partition,
        n: next - first,
        d: next - first,
        lo: first,
        hi: next - 1,
      })),
  );
  const facts =
    'origin, count(*)::INTEGER AS n, sum(delay)::BIGINT AS delay, sum(distance)::BIGINT AS distance';
  const [lake, wanted] = await Promise.all([
    duck(`SELECT ${facts} FROM ${lakeFrom(table)} GROUP BY ALL ORDER BY origin`),
    duck(`SELECT ${facts} FROM ${source} GROUP BY ALL ORDER BY origin`),
  ]);
  expect(wanted.length).toBeGreaterThan(100);
  expect(lake).toEqual(wanted);
});
