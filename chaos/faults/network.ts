/** Faults between the stream and Redis: slow answers, and commits whose replies are lost. */
import { setTimeout as sleep } from 'node:timers/promises';
import { connectRedisNode } from '../../clients/redis.ts';
import type { RedisNode } from '../../clients/redis.ts';
import { infoOf } from '../redis-under-test.ts';
import { committed, progress } from '../system.ts';
import type { Fault } from '../system.ts';
import { NotReached, until } from '../wait.ts';

/** Latency on the way back; in a cluster, all commands of a node paused. */
export const redisSlow: Fault = async (system, random) => {
  await progress(system, 50);
  const { redis } = system;
  if (redis.kind === 'cluster') {
    const pauseMs = random.integer(1_000, 2_500);
    const took = await Promise.all(
      redis.nodes.slice(0, 3).map(async (node) => {
        await node.client('PAUSE', pauseMs, 'ALL');
        return pingMs(node);
      }),
    );
    if (took.some((ms) => ms < pauseMs / 2)) throw new NotReached(`PING took ${took.join(', ')} ms`);
    return `CLIENT PAUSE ${pauseMs} on every master: PING took ${took.map(Math.round).join(', ')} ms`;
  }
  const latencyMs = random.pick([100, 250, 500]);
  const probe = await connectRedisNode(redis.url);
  try {
    const before = await pingMs(probe);
    const takeBack = await redis.proxy.add({
      type: 'latency',
      stream: 'downstream',
      latencyMs,
      jitterMs: 50,
    });
    try {
      const after = await pingMs(probe);
      if (after < latencyMs - 50) throw new NotReached(`PING took ${after} ms`);
      await progress(system, 20);
      await sleep(2_500);
      return `PING took ${before.toFixed(1)} ms, then ${after.toFixed(0)} ms, for 3 s`;
    } finally {
      await takeBack();
    }
  } finally {
    probe.disconnect();
  }
};

async function pingMs(node: RedisNode): Promise<number> {
  const startMs = performance.now();
  await node.ping();
  return performance.now() - startMs;
}

const cuts = 3;
const attemptsMax = 20;
const attemptMs = 1_000;

/** Connections are cut when a reply comes: the commits were applied, and nobody heard of it. */
export const redisReplyLost: Fault = async (system) => {
  const { redis } = system;
  if (redis.kind !== 'single') throw new Error('this fault needs a single Redis');
  const connections = async () => Number(await infoOf(redis.node, 'stats', 'total_connections_received'));
  const before = await connections();
  const lost: string[] = [];
  for (let attempt = 1; lost.length < cuts && attempt <= attemptsMax; attempt++) {
    await progress(system, 20);
    const takeBack = await redis.proxy.add({ type: 'reset_peer', stream: 'downstream', timeoutMs: 0 });
    try {
      // Whatever is applied from here on has its reply ahead of it.
      const held = await committed(system);
      const moved = async () => {
        const now = await committed(system);
        return now.flatMap((offset, i) => ((offset ?? 0) > (held[i] ?? 0) ? [[held[i], offset]] : []))[0];
      };
      const applied = await until('a commit is applied', moved, attemptMs, 5).catch(() => null);
      // Else the reply of something else was cut off first, and no commit reaches Redis meanwhile.
      if (applied !== null) lost.push(applied.join(' → '));
    } finally {
      await takeBack();
    }
  }
  if (lost.length < cuts) throw new NotReached(`only ${lost.length} commits were applied without a reply`);
  await progress(system, 20);
  const again = (await connections()) - before;
  if (again < cuts) throw new NotReached(`only ${again} connections were made anew`);
  return `${lost.length} commits applied without a reply (offsets ${lost.join(', ')}); ${again} connections made anew`;
};
