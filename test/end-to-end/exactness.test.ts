/**
 * The sample, 20,000 flights: what is in Redis equals a plain GROUP BY of DuckDB over the source file, to the last digit;
 * a second replay of the same file changes nothing.
 */
import { duck, redisCells, withRedis, counter } from '../support/independent.ts';
import { consumed, expectSame, flightCells } from '../support/flights-check.ts';
import { World, lastJson, sampleFile } from '../support/world.ts';

const file = sampleFile('flights-20k.json');
const source = `(SELECT strptime(date, '%Y/%m/%d %H:%M') AS t, delay, distance, origin
  FROM read_json('${file}', columns = {date: 'VARCHAR', delay: 'INTEGER', distance: 'INTEGER', origin: 'VARCHAR'}))`;
let world: World;
let name: string;

beforeAll(async () => {
  world = new World();
  name = world.name('exact');
  const env = { RECKON_PIPELINE: world.flights(name) };
  await world.start('stream', env);
  expect(lastJson(await world.run('replay', ['--file', file, '--json'], env))).toMatchObject({
    records: 20_000,
  });
  await consumed(world, name, 20_000);
});
afterAll(() => world.close());

test('count, sum, min and max per day and origin, and per hour where delay >= 15', async () => {
  const expected = await flightCells(source);
  expect(expected.size).toBeGreaterThan(20_000);
  await expectSame(world, name, expected);
});

test('the average, which Redis holds as sum and count', async () => {
  const cells = await redisCells(world.endpoints.redisUrl, name);
  const rows =
    await duck(`SELECT epoch_ms(date_trunc('day', t)) AS start_ms, to_json([origin])::VARCHAR AS grp,
    avg(delay) AS mean FROM ${source} GROUP BY ALL`);
  expect(rows.length).toBeGreaterThan(1_000);
  const wrong = rows.filter(({ start_ms: startMs, grp, mean }) => {
    const cell = (slot: string): number =>
      Number(cells.get(`daily_by_origin · ${String(startMs)} · ${String(grp)} · ${slot}`));
    return Math.abs(cell('sum:delay') / cell('count:delay') - Number(mean)) > 1e-9;
  });
  expect(wrong).toEqual([]);
});

test('the same file again: 20,000 duplicates, and no cell moves', async () => {
  const again = await world.run('replay', ['--file', file, '--json'], {
    RECKON_PIPELINE: world.flights(name),
  });
  expect(again).toMatchObject({ code: 0 });
  await consumed(world, name, 40_000);
  const duplicates = await withRedis(world.endpoints.redisUrl, (redis) => counter(redis, name, 'duplicate'));
  expect(duplicates).toBe(20_000);
  await expectSame(world, name, await flightCells(source));
});
