/** A Redis of its own for one test file, on a free port, in a folder that is gone afterwards. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectRedis } from '../../clients/redis.ts';
import type { Redis } from '../../clients/redis.ts';
import { startStack, stopStack } from '../../scripts/stack/stack.ts';

export interface RedisServer {
  readonly redis: Redis;
  /** For other files of the test; deleted by `stop`. */
  readonly folder: string;
  stop(): Promise<void>;
}

export async function startRedis(): Promise<RedisServer> {
  const folder = mkdtempSync(join(tmpdir(), 'reckon-redis-'));
  const quiet = () => undefined;
  const { endpoints } = await startStack({ dir: folder, only: ['redis'], ports: 'free', progress: quiet });
  const redis = await connectRedis(endpoints.redisUrl);
  return {
    redis,
    folder,
    stop: async () => {
      redis.disconnect();
      await stopStack(folder, quiet);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
