/** Faults of Redis that keep, set back or lose its data. */
import { stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { connectRedisNode } from '../../clients/redis.ts';
import type { RedisNode } from '../../clients/redis.ts';
import { startStack } from '../../scripts/stack/stack.ts';
import { metaKey } from '../../stream/keys.ts';
import { appendOnlyFile, infoOf, replaceData } from '../redis-under-test.ts';
import type { SingleRedis } from '../redis-under-test.ts';
import { committed, progress } from '../system.ts';
import type { Fault, System } from '../system.ts';
import { NotReached, until } from '../wait.ts';

function single({ redis }: System): SingleRedis {
  if (redis.kind !== 'single') throw new Error('this fault needs a single Redis');
  return redis;
}

/** `kill -9` of the server (of one master), started again with its data. */
export const redisKilled: Fault = async (system, random) => {
  await progress(system, 50);
  const { redis } = system;
  const i = redis.kind === 'single' ? 0 : random.integer(0, 2);
  const node = redis.kind === 'single' ? redis.node : (redis.nodes[i] as RedisNode);
  const before = await infoOf(node, 'server', 'run_id');
  if (redis.kind === 'single') await redis.control.restart('redis', 'SIGKILL');
  else {
    await redis.cluster.nodes[i]?.kill('SIGKILL');
    await redis.cluster.nodes[i]?.start();
    await redis.cluster.settled();
  }
  const after = await infoOf(node, 'server', 'run_id');
  if (after === before) throw new NotReached('Redis was not restarted');
  return `${redis.kind === 'single' ? 'server' : `master ${i}`} killed: run_id ${short(before)} → ${short(after)}`;
};

export const redisFlushed: Fault = async (system) => {
  await progress(system, 50);
  const { redis } = system;
  const masters = 'nodes' in redis.redis ? redis.redis.nodes('master') : [redis.redis];
  let [before, after] = [0, 0];
  for (const master of masters) {
    const replies = await master.multi().dbsize().flushall().dbsize().exec();
    before += Number(replies?.[0]?.[1]);
    after += Number(replies?.[2]?.[1]);
  }
  if (before === 0 || after !== 0) throw new NotReached(`${before} keys became ${after}`);
  return `FLUSHALL: ${before} keys → ${after}`;
};

/** Killed, and its append-only file cut back to what it was some commits before. */
export const redisLostTail: Fault = async (system) => {
  const redis = single(system);
  await progress(system, 50);
  const file = await appendOnlyFile(redis.dataDir);
  const { size } = await stat(file);
  await progress(system, 200);
  return setBack(system, redis, async () => {
    await redis.control.kill('redis', 'SIGKILL');
    const lostBytes = (await stat(file)).size - size;
    await truncate(file, size);
    await redis.control.start('redis');
    return `${lostBytes} bytes of the append-only file lost`;
  });
};

/** A replica that was cut off some commits ago is what answers on the master's address. */
export const redisStaleReplica: Fault = async (system) => {
  const redis = single(system);
  const dir = join(redis.folder, 'replica');
  const stack = await startStack({ dir, only: ['redis'], ports: 'free', progress: () => undefined });
  const replica = await connectRedisNode(stack.endpoints.redisUrl);
  try {
    const { hostname, port } = new URL(redis.address);
    await replica.replicaof(hostname, Number(port));
    await until('the replica has caught up', async () => {
      const link = await infoOf(replica, 'replication', 'master_link_status');
      const rewriting = await infoOf(replica, 'persistence', 'aof_rewrite_in_progress');
      return link === 'up' && rewriting === '0';
    });
    await progress(system, 50);
    await replica.replicaof('NO', 'ONE');
    const runId = await infoOf(replica, 'server', 'run_id');
    await progress(system, 200);
    return await setBack(system, redis, async () => {
      replica.disconnect();
      await stack.stop();
      await redis.control.kill('redis', 'SIGKILL');
      await replaceData(join(dir, 'redis'), redis.dataDir);
      await redis.control.start('redis');
      return `the state of replica ${short(runId)} answers on ${redis.address}`;
    });
  } finally {
    replica.disconnect();
    await stack.stop();
  }
};

/** Does it while no stream reaches Redis, and looks whether the offsets really fell back. */
async function setBack(system: System, redis: SingleRedis, work: () => Promise<string>): Promise<string> {
  await redis.proxy.disable();
  try {
    const before = await committed(system);
    const done = await work();
    const after = await committed(system);
    if (!before.some((offset, i) => (after[i] ?? 0) < (offset ?? 0)))
      throw new NotReached(`the offsets did not fall back: [${before.join(' ')}] → [${after.join(' ')}]`);
    return `${done}; offsets [${before.join(' ')}] → [${after.map((offset) => offset ?? 'none').join(' ')}]`;
  } finally {
    await redis.proxy.enable();
  }
}

/** In a cluster: a master is killed, and its replica, which lacks the last commits, takes over. */
export const redisClusterFailover: Fault = async (system, random) => {
  const { redis, pipeline, plan, streams } = system;
  if (redis.kind !== 'cluster') throw new Error('this fault needs a cluster');
  await progress(system, 50);
  const partition = random.integer(0, plan.partitions - 1);
  const key = metaKey(pipeline.name, partition);
  const [master, replica] = await nodesOf(system, key);
  if (master === undefined || replica === undefined) throw new NotReached('the slot has no replica');
  const replicaNode = redis.nodes[replica] as RedisNode;
  const nodeOf = (i: number) => redis.cluster.nodes[i];
  // Stopped, it cannot connect again; what was on the way to it until now it still gets.
  await nodeOf(replica)?.kill('SIGSTOP');
  await redis.nodes[master]?.call('CLIENT', 'KILL', 'TYPE', 'replica');
  const cutOffAt = Number(await redis.redis.hget(key, 'offset'));
  await until(
    'commits that the replica does not get',
    async () => Number(await redis.redis.hget(key, 'offset')) >= cutOffAt + 50,
  );
  const asleep = streams.wanted;
  for (const process of asleep) process.kill('SIGSTOP');
  try {
    const before = Number(await redis.redis.hget(key, 'offset'));
    await nodeOf(master)?.kill('SIGKILL');
    await nodeOf(replica)?.kill('SIGCONT');
    await until(
      'the replica takes over',
      async () => (await infoOf(replicaNode, 'replication', 'role')) === 'master',
    );
    const after = Number(await replicaNode.hget(key, 'offset'));
    if (after >= before) throw new NotReached(`the offset did not fall back: ${before} → ${after}`);
    await nodeOf(master)?.start();
    return `replica ${replica} took over from master ${master}; offset of partition ${partition}: ${before} → ${after}`;
  } finally {
    for (const process of asleep) process.kill('SIGCONT');
  }
};

/** Which of our nodes are master and replica of the key. */
async function nodesOf({ redis }: System, key: string): Promise<(number | undefined)[]> {
  if (redis.kind !== 'cluster') return [];
  const [first] = redis.nodes;
  const slot = Number(await first?.cluster('KEYSLOT', key));
  const ranges = (await first?.cluster('SLOTS')) ?? [];
  const [, , ...nodes] = ranges.find(([from, to]) => from <= slot && slot <= to) ?? [];
  return (nodes as [string, number][]).map(([, port]) =>
    redis.cluster.nodes.findIndex(({ url }) => url.endsWith(`:${port}`)),
  );
}

function short(id: string): string {
  return id.slice(0, 8);
}
