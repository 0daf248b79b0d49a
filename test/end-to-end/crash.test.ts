/**
 * `kill -9` in the middle of the work, again and again: after the restart nothing is lost and nothing is doubled, in Redis
 * as in the lake. Each round kills the process while a slice of the flights arrives; the last slice comes after the last
 * kill, so that no round can find the work done.
 */
import { join } from 'node:path';
import { eventually } from '../support/eventually.ts';
import { consumed, expectSame, flightCells } from '../support/flights-check.ts';
import { counter, duck, lakeFrom, lakeRows, topicSpans, withRedis } from '../support/independent.ts';
import { World, lastJson, sampleFile } from '../support/world.ts';

const sliceRows = 40_000;
const kills = 3;
const records = sliceRows * (kills + 1);
const source = `(SELECT file_row_number AS n, date AS t, delay, distance, origin, destination
  FROM read_parquet('${sampleFile('flights-3m.parquet')}', file_row_number = true) WHERE file_row_number < ${records})`;
/** How much of a slice a process has done when it is killed. */
const killedAfter = 2_000;
let world: World;
let slices: string[];

beforeAll(async () => {
  world = new World();
  slices = Array.from({ length: kills + 1 }, (_, i) => join(world.dir, `slice-${i}.ndjson`));
  for (const [i, slice] of slices.entries())
    await duck(`COPY (SELECT 'flight ' || n AS id, strftime(t, '%Y/%m/%d %H:%M') AS date, delay, distance, origin, destination
      FROM ${source} WHERE n // ${sliceRows} = ${i} ORDER BY n) TO '${slice}' (FORMAT json)`);
});
afterAll(() => world.close());

/**
 * @param done how many records the process has done, as its store tells
 * @returns what it had done at each kill
 */
async function killAgainAndAgain(
  command: string,
  env: Readonly<Record<string, string>>,
  done: () => Promise<number> | number,
): Promise<number[]> {
  const seen: number[] = [];
  for (const [i, slice] of slices.entries()) {
    if (i === kills) {
      expect(lastJson(await replay(slice, env))).toMatchObject({ records: sliceRows });
      break;
    }
    const running = await world.start(command, env);
    const replaying = replay(slice, env);
    await eventually(
      async () => expect(await done()).toBeGreaterThan(i * sliceRows + killedAfter),
      60_000,
      5,
    );
    expect((await running.end('SIGKILL')).code).toBeNull();
    seen.push(await done());
    expect(lastJson(await replaying)).toMatchObject({ records: sliceRows });
  }
  return seen;
}

function replay(file: string, env: Readonly<Record<string, string>>) {
  return world.run('replay', ['--file', file, '--json'], env);
}

function expectInTheMiddle(seen: readonly number[]): void {
  expect(seen).toHaveLength(kills);
  seen.forEach((count, i) => {
    expect(count).toBeGreaterThan(i * sliceRows);
    expect(count).toBeLessThanOrEqual((i + 1) * sliceRows);
  });
}

test('the stream process, killed three times while events arrive', async () => {
  const name = world.name('killed-stream');
  const env = { RECKON_PIPELINE: world.flights(name), FLUSH_MS: '20' };
  const seen = await withRedis(world.endpoints.redisUrl, (redis) =>
    killAgainAndAgain('stream', env, () => counter(redis, name, 'consumed')),
  );
  expectInTheMiddle(seen);
  await world.start('stream', env);
  await consumed(world, name, records);
  await expectSame(world, name, await flightCells(source));
});

test('the archiver, killed three times: every offset is in the lake exactly once', async () => {
  const name = world.name('killed-archive');
  const env = { RECKON_PIPELINE: world.flights(name), ARCHIVE_ROLL_MS: '50' };
  const table = join(world.lake, name, 'events');
  expectInTheMiddle(await killAgainAndAgain('archive', env, () => lakeRows(table)));
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
