/**
 * A Redis of its own for one test file, on free ports, in a folder that is gone afterwards: a single server, or a cluster of
 * three nodes where `on-redis-cluster.ts` was imported before, so that the same cases run on both.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectRedis } from '../../clients/redis.ts';
import type { Redis } from '../../clients/redis.ts';
import { startRedisCluster, stopRedisCluster } from '../../scripts/stack/redis-cluster.ts';
import { startStack, stopStack } from '../../scripts/stack/stack.ts';

/** `cluster` makes `startRedis` start one. */
export const redisKindVariable = 'RECKON_TEST_REDIS';

export interface RedisServer {
  readonly redis: Redis;
  /** The REDIS_URL. */
  readonly url: string;
  /** For other files of the test; deleted by `stop`. */
  readonly folder: string;
  /** A further connection, which the caller ends. */
  connect(): Promise<Redis>;
  stop(): Promise<void>;
}

const quiet = () => undefined;

export async function startRedis(): Promise<RedisServer> {
  const folder = mkdtempSync(join(tmpdir(), 'reckon-redis-'));
  const isCluster = process.env[redisKindVariable] === 'cluster';
  const url = isCluster
    ? (await startRedisCluster({ dir: folder, progress: quiet })).url
    : (await startStack({ dir: folder, only: ['redis'], ports: 'free', progress: quiet })).endpoints.redisUrl;
  const connect = async () => asOneServer(await connectRedis(url));
  const redis = await connect();
  return {
    redis,
    url,
    folder,
    connect,
    stop: async () => {
      redis.disconnect();
      await stopRedisCluster(folder, quiet);
      await stopStack(folder, quiet);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Of a cluster, FLUSHALL and KEYS reach one node by chance; here they mean all of them, as tests do. */
function asOneServer(redis: Redis): Redis {
  if (!('nodes' in redis)) return redis;
  const onAll = async <T>(work: (node: Redis) => Promise<T>): Promise<T[]> =>
    Promise.all(redis.nodes('master').map(work));
  return Object.assign(redis, {
    flushall: async () => {
      await onAll((node) => node.flushall());
      return 'OK' as const;
    },
    keys: async (pattern: string) => (await onAll((node) => node.keys(pattern))).flat(),
  });
}
