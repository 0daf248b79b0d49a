/**
 * Faults of the network between Reckon and Redis, made by Toxiproxy: that they really happen, and that a commit whose reply
 * was lost on the way counts once.
 */
import { connectRedis, connectRedisNode } from '../../clients/redis.ts';
import type { Redis, RedisNode } from '../../clients/redis.ts';
import type { Proxy } from '../../scripts/stack/toxiproxy-client.ts';
import { startToxiproxy } from '../../scripts/stack/toxiproxy.ts';
import type { Toxiproxy } from '../../scripts/stack/toxiproxy.ts';
import { PartitionFold } from '../../stream/fold.ts';
import { CommitWriter, click, clicks, decode } from '../support/commit-writer.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis } from '../support/redis-server.ts';
import type { RedisServer } from '../support/redis-server.ts';

let server: RedisServer;
let toxiproxy: Toxiproxy;
let proxy: Proxy;
/** A connection through the proxy, and one past it. */
let redis: Redis;
let direct: RedisNode;

beforeAll(async () => {
  server = await startRedis();
  toxiproxy = await startToxiproxy(server.folder, () => undefined);
  direct = await connectRedisNode(server.url);
}, 900_000);
afterAll(async () => {
  direct.disconnect();
  await toxiproxy.stop();
  await server.stop();
});

beforeEach(async () => {
  await server.redis.flushall();
  await direct.config('RESETSTAT');
  proxy = await toxiproxy.client.proxy(new URL(server.url).host);
  redis = await connectRedis(`redis://${proxy.address}`);
});
afterEach(async () => {
  redis.disconnect();
  await proxy.remove();
});

async function pingMs(): Promise<number> {
  const startMs = performance.now();
  await redis.ping();
  return performance.now() - startMs;
}

/** How often Redis has run a script. */
async function scriptsRun(): Promise<number> {
  const calls = (await direct.info('commandstats')).matchAll(/^cmdstat_eval(?:sha)?:calls=(\d+)/gm);
  return [...calls].reduce((sum, [, count]) => sum + Number(count), 0);
}

/** One commit of one record, under way. */
async function beginCommit(writer: CommitWriter) {
  const { position } = await writer.store.acquire(0, 'me', 0, null);
  const fold = new PartitionFold(clicks, decode, position, position.nextOffset);
  fold.take(click(0, fold.nextOffset));
  return () => writer.store.commit(0, 'me', fold.takeChanges());
}

test('latency: every reply is late by so much, until it is taken back', async () => {
  expect(await pingMs()).toBeLessThan(100);
  const takeBack = await proxy.add({ type: 'latency', stream: 'downstream', latencyMs: 200 });
  expect(await pingMs()).toBeGreaterThanOrEqual(195);
  await takeBack();
  expect(await pingMs()).toBeLessThan(100);
});

test('a cut connection: commands wait until the server can be reached again', async () => {
  const closed = new Promise((resolve) => redis.once('close', resolve));
  await proxy.disable();
  await closed;
  const pong = redis.ping();
  const refused = connectRedis(`redis://${proxy.address}`);
  await expect(refused).rejects.toMatchObject({ code: 'unreachable' });
  await proxy.enable();
  expect(await pong).toBe('PONG');
});

test('a commit that ran and whose reply was cut off is sent again, and counts once', async () => {
  const writer = new CommitWriter(redis, 0);
  const commit = await beginCommit(writer);
  const before = await scriptsRun();
  let answered = false;
  const takeBack = await proxy.add({ type: 'reset_peer', stream: 'downstream', timeoutMs: 0 });
  const outcome = commit().finally(() => (answered = true));
  // The script has run; its reply is lost.
  const seen = new CommitWriter(direct, 0);
  await eventually(async () => expect((await seen.counts()).nextOffset).toBe(1));
  await eventually(() => expect(redis.status).not.toBe('ready'));
  expect(answered).toBe(false);
  await takeBack();
  expect(await outcome).toEqual({ kind: 'committed' });
  expect(await scriptsRun()).toBe(before + 2);
  expect(await writer.counts()).toEqual({ nextOffset: 1, consumed: 1, counted: 1 });
});

test('a connection that stays open in silence is given up; the commit on it counts once', async () => {
  const writer = new CommitWriter(redis, 0);
  const commit = await beginCommit(writer);
  const before = await scriptsRun();
  const closed = new Promise((resolve) => redis.once('close', resolve));
  const takeBack = await proxy.add({ type: 'timeout', stream: 'downstream', timeoutMs: 0 });
  const outcome = commit();
  // Nothing but its own patience tells the client: the fault is still in force.
  await closed;
  await takeBack();
  expect(await outcome).toEqual({ kind: 'committed' });
  expect(await scriptsRun()).toBe(before + 2);
  expect(await writer.counts()).toEqual({ nextOffset: 1, consumed: 1, counted: 1 });
}, 60_000);

test('commits that go on while connections are cut again and again, in both directions, count once each', async () => {
  const writer = new CommitWriter(redis, 0);
  writer.start();
  let cuts = 0;
  redis.on('close', () => cuts++);
  for (let round = 0; round < 10; round++) {
    await writer.advance(3);
    const stream = round % 2 === 0 ? 'downstream' : 'upstream';
    const takeBack = await proxy.add({ type: 'reset_peer', stream, timeoutMs: round });
    const seen = cuts;
    await eventually(() => expect(cuts).toBeGreaterThan(seen), 20_000, 5);
    await takeBack();
  }
  await writer.advance(3);
  await writer.stop();
  expect(cuts).toBeGreaterThanOrEqual(10);
  const { nextOffset, consumed, counted } = await writer.counts();
  expect([consumed, counted, writer.committed, writer.refused]).toEqual([
    nextOffset,
    nextOffset,
    nextOffset,
    0,
  ]);
  // Some were sent twice: more scripts ran than there were commits and the one acquisition.
  expect(await scriptsRun()).toBeGreaterThan(nextOffset + 1);
}, 60_000);
