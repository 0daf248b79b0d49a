/**
 * Reckon on a real Redis Cluster of three nodes, as `exactness` and `crash` are on a single server: nodes and the stream
 * process are killed while the flights arrive; what the nodes hold in the end equals a plain GROUP BY over the source file,
 * and a reconciliation finds the same.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startRedisCluster, stopRedisCluster } from '../../scripts/stack/redis-cluster.ts';
import type { RedisCluster } from '../../scripts/stack/redis-cluster.ts';
import { eventually } from '../support/eventually.ts';
import { consumed, expectSame, flightCells } from '../support/flights-check.ts';
import { counter, withRedis } from '../support/independent.ts';
import { World, lastJson, sampleFile } from '../support/world.ts';

const file = sampleFile('flights-20k.json');
const source = `(SELECT strptime(date, '%Y/%m/%d %H:%M') AS t, delay, distance, origin
  FROM read_json('${file}', columns = {date: 'VARCHAR', delay: 'INTEGER', distance: 'INTEGER', origin: 'VARCHAR'}))`;
const quiet = () => undefined;
let dir: string;
let cluster: RedisCluster;
let world: World;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'reckon-redis-cluster-'));
  cluster = await startRedisCluster({ dir, progress: quiet });
  world = new World(cluster.url);
});
afterAll(async () => {
  await world.close();
  await stopRedisCluster(dir, quiet);
  rmSync(dir, { recursive: true, force: true });
});

test('flights arrive while each node and the stream process are killed: exact, and spread over the nodes', async () => {
  const name = world.name('clustered');
  const env = { RECKON_PIPELINE: world.flights(name), FLUSH_MS: '20' };
  await world.start('archive', env);
  await world.start('worker', env);
  let stream = await world.start('stream', env);
  // At such a pace (25 years in about half a minute) it is under way during every kill.
  const replaying = world.run('replay', ['--file', file, '--speed', '250000', '--json'], env);
  await withRedis(world.endpoints.redisUrl, async (redis) => {
    const done = () => counter(redis, name, 'consumed');
    for (const node of cluster.nodes) {
      const before = await done();
      await eventually(async () => expect(await done()).toBeGreaterThan(before), 60_000);
      await node.kill('SIGKILL');
      expect((await stream.end('SIGKILL')).code).toBeNull();
      await node.start();
      await cluster.settled();
      stream = await world.start('stream', env);
    }
    expect(await done()).toBeLessThan(20_000);
  });
  expect(lastJson(await replaying)).toMatchObject({ records: 20_000 });
  await consumed(world, name, 20_000);
  await expectSame(world, name, await flightCells(source));

  const alone = await Promise.all(cluster.nodes.map(({ url }) => holds(url, name)));
  expect(alone.filter(Boolean).length).toBeGreaterThan(1);
  const verdict = await world.run('reconcile', ['--scope', 'all', '--json'], env);
  expect({ code: verdict.code, ...lastJson(verdict) }).toMatchObject({
    code: 0,
    records: 20_000,
    unexplained: 0,
  });
});

async function holds(url: string, name: string): Promise<boolean> {
  return withRedis(url, async (node) => (await node.keys(`reckon:{${name}:*`)).length > 0);
}
