/**
 * The exit code of `npm start -- --once` is its verdict: 0 when the reconciliation is exact, 1 when it is not. On servers
 * that are configured, which keep what is tampered with between two runs.
 */
import { withRedis } from '../support/independent.ts';
import { World, lastJson } from '../support/world.ts';

let world: World;
beforeAll(() => {
  world = new World();
});
afterAll(() => world.close());

test('a changed count in Redis: the same command that ended with 0 ends with 1, and says how many', async () => {
  const name = world.name('verdict');
  const env = { RECKON_PIPELINE: world.flights(name) };
  const exact = await world.run('start', ['--once', '--limit', '200', '--json'], env);
  expect({ code: exact.code, ...lastJson(exact) }).toMatchObject({ code: 0, records: 200, unexplained: 0 });
  expect(exact.stderr).toContain('verdict: exact. 200 records');

  await withRedis(world.endpoints.redisUrl, async (redis) => {
    const [meta = ''] = await redis.keys(`reckon:{${name}:*}:meta`);
    expect(await redis.hincrby(meta, 'counted:daily_by_origin', 1)).toBeGreaterThan(1);
  });
  const tampered = await world.run('start', ['--once', '--no-replay', '--json'], env);
  expect({ code: tampered.code, ...lastJson(tampered) }).toMatchObject({ code: 1, unexplained: 1 });
  expect(tampered.stderr).toMatch(/^verdict: 1 UNEXPLAINED differences/m);
});
