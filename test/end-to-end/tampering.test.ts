/**
 * One changed cell in Redis: the reconciliation ends with exit code 2 and names the cell; the API serves its report as a page
 * and as JSON; after the cell is put right, the next reconciliation is exact again.
 */
import type { Report } from '../../domain/report.ts';
import { consumed } from '../support/flights-check.ts';
import { withRedis } from '../support/independent.ts';
import { World, lastJson, sampleFile } from '../support/world.ts';
import type { Ended } from '../support/world.ts';

let world: World;
let name: string;
let url: string;
let before: Ended;

beforeAll(async () => {
  world = new World();
  name = world.name('tampered');
  const env = { RECKON_PIPELINE: world.flights(name) };
  const [, , , serve] = await Promise.all(
    ['stream', 'archive', 'worker', 'serve'].map((process) => world.start(process, env)),
  );
  url = serve?.ready['url'] ?? '';
  const replay = await world.run('replay', ['--file', sampleFile('flights-2k.json'), '--json'], env);
  expect(lastJson(replay)).toMatchObject({ records: 2_000 });
  await consumed(world, name, 2_000);
  before = await reconcile();
});
afterAll(() => world.close());

function reconcile(): Promise<Ended> {
  return world.run('reconcile', ['--scope', 'all', '--json']);
}

/** Adds to one cell of the first window of Redis. */
async function change(by: number): Promise<{ startMs: number; group: string }> {
  return withRedis(world.endpoints.redisUrl, async (redis) => {
    const keys = (await redis.keys(`reckon:{${name}:*}:pane:daily_by_origin|*`)).sort();
    const key = keys[0] ?? '';
    const field =
      Object.keys(await redis.hgetall(key))
        .filter((one) => one.startsWith('rows|'))
        .sort()[0] ?? '';
    await redis.hincrby(key, field, by);
    return { startMs: Number(key.split('|')[1]), group: field.slice('rows|'.length) };
  });
}

async function get(path: string): Promise<{ status: number; type: string; text: string }> {
  const response = await fetch(`${url}${path}`);
  return {
    status: response.status,
    type: response.headers.get('content-type') ?? '',
    text: await response.text(),
  };
}

test('what nobody touched is exact', () => {
  expect(before.code).toBe(0);
  expect(lastJson(before)).toMatchObject({ records: 2_000, counted: 2_000, unexplained: 0 });
});

test('a changed cell is reported, on the terminal and by the API, until it is put right', async () => {
  const { startMs, group } = await change(1);
  const ended = await reconcile();
  expect(ended.code).toBe(2);
  expect(ended.stdout).toMatch(/^NOT EXACT: 1 unexplained\n/);
  const verdict = lastJson(ended);
  expect(verdict).toMatchObject({ unexplained: 1, verdict: 'unexplained' });

  const listed = JSON.parse((await get('/v1/reports')).text) as {
    reports: { id: string; json: string; page: string }[];
  };
  const entry = listed.reports.find(({ id }) => id === verdict['reportId']);
  expect(entry).toBeDefined();
  const id = String(verdict['reportId']);
  const asJson = await get(entry?.json ?? '');
  expect(asJson).toMatchObject({ status: 200, type: 'application/json; charset=utf-8' });
  const report = JSON.parse(asJson.text) as Report;
  const [difference, ...others] = report.differences;
  expect(others).toEqual([]);
  expect(difference).toMatchObject({
    aggregate: 'daily_by_origin',
    windowStart: new Date(startMs).toISOString(),
    group,
    slot: 'rows',
    class: 'overcounted-in-speed',
  });
  expect(Number(difference?.speed)).toBe(Number(difference?.batch) + 1);

  const page = await get(entry?.page ?? '');
  expect(page).toMatchObject({ status: 200, type: 'text/html; charset=utf-8' });
  expect(page.text).toContain('overcounted-in-speed');
  const home = await get('/');
  expect(home.status).toBe(200);
  expect(home.text).toContain(id);

  await change(-1);
  const repaired = await reconcile();
  expect(repaired.code).toBe(0);
  expect(lastJson(repaired)).toMatchObject({ unexplained: 0, verdict: 'exact' });
});

test('a wholly missing window is reported, too', async () => {
  const [key, cells] = await withRedis(world.endpoints.redisUrl, async (redis) => {
    const found = (await redis.keys(`reckon:{${name}:*}:pane:hourly_delayed|*`)).sort()[0] ?? '';
    const held = await redis.hgetall(found);
    await redis.del(found);
    return [found, held] as const;
  });
  const ended = await reconcile();
  expect(ended.code).toBe(2);
  // All of the hash but its revision and owner.
  expect(Number(lastJson(ended)['unexplained'])).toBe(Object.keys(cells).length - 2);
  await withRedis(world.endpoints.redisUrl, (redis) => redis.hset(key, cells));
  expect((await reconcile()).code).toBe(0);
});
