/**
 * A real Redis Cluster under faults: partitions lie on different nodes, and commits that go on while a node is killed, slots
 * move or a replica takes over count every record once. Also how a wrong REDIS_URL is told.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectRedis, connectRedisNode } from '../../clients/redis.ts';
import type { Redis, RedisNode } from '../../clients/redis.ts';
import { startRedisCluster, stopRedisCluster } from '../../scripts/stack/redis-cluster.ts';
import type { RedisCluster } from '../../scripts/stack/redis-cluster.ts';
import { startStack, stopStack } from '../../scripts/stack/stack.ts';
import { metaKey } from '../../stream/keys.ts';
import { CommitWriter, clicks, commitUndisturbed, contentOf } from '../support/commit-writer.ts';
import { eventually } from '../support/eventually.ts';

const quiet = () => undefined;
const partitions = Array.from({ length: 12 }, (_, i) => i);
/** Added to a partition: where the same records are committed without faults. */
const undisturbed = 1_000;
let dir: string;
let cluster: RedisCluster;
let redis: Redis;
/** A connection to each node by itself. */
let nodes: RedisNode[];
let writers: CommitWriter[];

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'reckon-redis-cluster-'));
  cluster = await startRedisCluster({ dir, progress: quiet, replicas: 1 });
  nodes = await Promise.all(cluster.nodes.map(({ url }) => connectRedisNode(url)));
});
afterAll(async () => {
  for (const node of nodes) node.disconnect();
  await stopRedisCluster(dir, quiet);
  rmSync(dir, { recursive: true, force: true });
});

beforeEach(async () => {
  await cluster.settled();
  for (const node of nodes.slice(0, 3)) {
    await node.flushall();
    await node.config('RESETSTAT');
  }
  redis = await connectRedis(cluster.url);
  writers = partitions.map((partition) => new CommitWriter(redis, partition));
});
afterEach(async () => {
  await Promise.all(writers.map((writer) => writer.stop()));
  redis.disconnect();
});

/** The masters as they are now. */
const masters = () => ('nodes' in redis ? redis.nodes('master') : []);
const advance = (commits: number) => Promise.all(writers.map((writer) => writer.advance(commits)));
const stopAll = () => Promise.all(writers.map((writer) => writer.stop()));

/**
 * Every record counted once, in every partition: what Redis holds is what the same records make without any fault.
 * @returns the next offsets
 */
async function expectOnce(): Promise<number[]> {
  const counts = await Promise.all(writers.map((writer) => writer.counts()));
  for (const [partition, { nextOffset, consumed, counted }] of counts.entries()) {
    expect({ consumed, counted }).toEqual({ consumed: nextOffset, counted: nextOffset });
    await commitUndisturbed(redis, undisturbed + partition, nextOffset);
    expect(await contentOf(masters(), partition)).toEqual(
      await contentOf(masters(), undisturbed + partition),
    );
  }
  return counts.map(({ nextOffset }) => nextOffset);
}

/** The errors that the masters have answered with since the test began. */
async function errorsSeen(): Promise<Set<string>> {
  const stats = await Promise.all(nodes.slice(0, 3).map((node) => node.info('errorstats')));
  return new Set(
    stats.flatMap((text) => [...text.matchAll(/^errorstat_(\w+):/gm)].map(([, name]) => name ?? '')),
  );
}

/** Which of the three masters holds the keys of each partition. */
async function homes(): Promise<number[]> {
  const held = await Promise.all(nodes.slice(0, 3).map((node) => node.keys('*')));
  return partitions.map((partition) => {
    const mine = held.map(
      (keys) => keys.filter((key) => key.includes(`{${clicks.name}:${partition}}`)).length,
    );
    expect(mine.filter((count) => count > 0)).toHaveLength(1);
    return mine.findIndex((count) => count > 0);
  });
}

test('the keys of a partition lie on one node, those of the partitions on all of them', async () => {
  for (const writer of writers) writer.start();
  await advance(2);
  await stopAll();
  expect(new Set(await homes())).toEqual(new Set([0, 1, 2]));
  await expectOnce();
});

test('a node that is killed and started again: commits wait for it, none is lost, none counts twice', async () => {
  for (const writer of writers) writer.start();
  await advance(50);
  const [, second] = cluster.nodes;
  await second?.kill('SIGKILL');
  // The others notice, and refuse to serve a cluster that lacks slots.
  await eventually(async () =>
    expect(String(await nodes[0]?.cluster('INFO'))).toContain('cluster_state:fail'),
  );
  const before = writers.map(({ committed }) => committed);
  await second?.start();
  await advance(50);
  await stopAll();
  const offsets = await expectOnce();
  // A killed process loses nothing that it has answered: the system still has what it wrote.
  expect(writers.map(({ committed }) => committed)).toEqual(offsets);
  expect(writers.map(({ refused }) => refused)).toEqual(partitions.map(() => 0));
  expect(before.every((count, i) => count < (offsets[i] ?? 0))).toBe(true);
}, 60_000);

test('slots that move to another node while commits go on: ASK, TRYAGAIN and MOVED lose nothing and double nothing', async () => {
  for (const writer of writers) writer.start();
  await advance(20);
  const ids = await Promise.all(nodes.map((node) => node.cluster('MYID')));
  for (const partition of partitions) {
    const slot = await nodes[0]?.cluster('KEYSLOT', metaKey(clicks.name, partition));
    const from = await ownerOf(Number(slot));
    await moveSlot(Number(slot), from, (from + 1) % 3, ids.map(String));
  }
  await advance(20);
  await stopAll();
  const offsets = await expectOnce();
  expect(writers.map(({ committed }) => committed)).toEqual(offsets);
  await homes();
  // It really happened, while commits went on.
  expect([...(await errorsSeen())]).toEqual(expect.arrayContaining(['MOVED', 'ASK', 'TRYAGAIN']));
}, 120_000);

test('a replica that takes over, without the last commits: they are read from the log again', async () => {
  const [master, replica] = [nodes[0], nodes[3]];
  for (const writer of writers) writer.start();
  await advance(20);
  await cluster.nodes[0]?.kill('SIGKILL');
  await eventually(async () => expect(await replica?.info('replication')).toContain('role:master'), 30_000);
  await advance(50);
  await stopAll();
  const offsets = await expectOnce();
  // What the old master had answered and not yet passed on is counted again, so never less than what was said.
  for (const [i, writer] of writers.entries()) {
    expect(writer.committed).toBeGreaterThanOrEqual(offsets[i] ?? 0);
    if (writer.refused === 0) expect(writer.committed).toBe(offsets[i]);
  }
  // Back to the beginning: the old master returns as a replica, and takes over again.
  await cluster.nodes[0]?.start();
  await cluster.settled();
  await eventually(async () => {
    await master?.cluster('FAILOVER').catch(() => undefined);
    expect(await master?.info('replication')).toContain('role:master');
  });
}, 120_000);

test('stopped and started in the same folder, it has its ports and its data', async () => {
  for (const writer of writers) writer.start();
  await advance(5);
  await stopAll();
  const before = await expectOnce();
  await cluster.stop();
  const again = await startRedisCluster({ dir, progress: quiet, replicas: 1 });
  expect(again.url).toBe(cluster.url);
  cluster = again;
  expect(await expectOnce()).toEqual(before);
}, 60_000);

describe('REDIS_URL', () => {
  const refusal = (url: string) =>
    connectRedis(url).then(
      (connected) => {
        connected.disconnect();
        return null;
      },
      (error: unknown) => error,
    );

  test('of one node stands for its cluster', async () => {
    const connected = await connectRedis(cluster.nodes[2]?.url ?? '');
    for (const partition of partitions) await connected.hset(metaKey('any', partition), 'a', '1');
    connected.disconnect();
    expect(
      (await Promise.all(nodes.slice(0, 3).map((node) => node.keys('reckon:{any:*')))).flat(),
    ).toHaveLength(partitions.length);
  });

  test('of a cluster in which one master may evict is refused', async () => {
    await nodes[1]?.config('SET', 'maxmemory-policy', 'allkeys-lru');
    expect(await refusal(cluster.url)).toMatchObject({
      code: 'unsafe-server',
      line: 'Redis may evict counts: its maxmemory-policy is allkeys-lru. Set it to noeviction.',
    });
    await nodes[1]?.config('SET', 'maxmemory-policy', 'noeviction');
    expect(await refusal(cluster.url)).toBeNull();
  });

  test('whose nodes are all away is one line, without the password', async () => {
    expect(await refusal('redis://:secret@127.0.0.1:1,redis://:secret@127.0.0.1:2')).toMatchObject({
      code: 'unreachable',
      line: 'Redis does not answer at redis://***@127.0.0.1:1,redis://***@127.0.0.1:2. Start it (npm run stack -- up) or set REDIS_URL.',
    });
  });

  test('of which one node is away is enough', async () => {
    expect(await refusal(`redis://127.0.0.1:1,${cluster.nodes[0]?.url}`)).toBeNull();
  });

  test('with several servers that are no cluster is refused', async () => {
    const { endpoints } = await startStack({ dir, only: ['redis'], ports: 'free', progress: quiet });
    expect(await refusal(`${endpoints.redisUrl},${endpoints.redisUrl}`)).toMatchObject({
      code: 'invalid-config',
      line: expect.stringContaining(
        'are no Redis Cluster. Give one server, or nodes of one cluster.',
      ) as string,
    });
    await stopStack(dir, quiet);
  });

  test('with a password: right, wrong and missing', async () => {
    for (const node of nodes) await node.config('SET', 'requirepass', 'a,b@c');
    try {
      const withPassword = (word: string) =>
        cluster.url.replaceAll('redis://', `redis://:${encodeURIComponent(word)}@`);
      expect(await refusal(withPassword('a,b@c'))).toBeNull();
      expect(await refusal(withPassword('a,b@c').split(',')[0] ?? '')).toBeNull();
      for (const wrong of [withPassword('x'), cluster.url, cluster.nodes[0]?.url ?? ''])
        expect(await refusal(wrong)).toMatchObject({
          code: 'invalid-config',
          line: expect.stringMatching(/^Redis at \S+ refuses the password\. Set it in REDIS_URL/) as string,
        });
    } finally {
      for (const node of nodes) await node.config('SET', 'requirepass', '');
    }
  });
});

/** Which master has a slot now, as the first one sees it. */
async function ownerOf(slot: number): Promise<number> {
  const ranges = (await nodes[0]?.cluster('SLOTS')) ?? [];
  const port = ranges.find(([from, to]) => from <= slot && slot <= to)?.[2]?.[1];
  return cluster.nodes.findIndex(({ url }) => url.endsWith(`:${port}`));
}

/** Moves a slot key by key, as `redis-cli --cluster reshard` does; commits run into each step of it. */
async function moveSlot(slot: number, from: number, to: number, ids: string[]) {
  const [source, target] = [nodes[from], nodes[to]];
  const [fromId, toId] = [ids[from] ?? '', ids[to] ?? ''];
  await target?.cluster('SETSLOT', slot, 'IMPORTING', fromId);
  await source?.cluster('SETSLOT', slot, 'MIGRATING', toId);
  const { port } = new URL(cluster.nodes[to]?.url ?? '');
  for (;;) {
    const keys = (await source?.cluster('GETKEYSINSLOT', slot, 1)) as string[];
    if (keys[0] === undefined) break;
    await source?.migrate('127.0.0.1', Number(port), keys[0], 0, 5_000);
    // While keys of the slot are on both nodes, what needs both has to wait.
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  for (const [node, id] of [
    [target, toId],
    [source, toId],
    [nodes[3 - from - to], toId],
  ] as const)
    await node?.cluster('SETSLOT', slot, 'NODE', id);
}
