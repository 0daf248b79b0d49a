/**
 * Redis, by ioredis: the only file that imports it. Guarantee: a connection is handed out only when the server answers and
 * never evicts keys; scripts are sent by their hash, once loaded.
 */
import { Redis } from 'ioredis';
import { ReckonError } from '../domain/errors.ts';

export type { Redis };

/** Runs a Lua script: its keys first, then its arguments. */
export type Script = (keys: readonly string[], args: readonly (string | number)[]) => Promise<unknown>;

/**
 * Connects and checks the server.
 * @throws ReckonError `unreachable`, or `unsafe-server` when its memory policy may evict state
 */
export async function connectRedis(url: string): Promise<Redis> {
  const redis = new Redis(url, {
    lazyConnect: true,
    connectTimeout: 3_000,
    maxRetriesPerRequest: null,
    // A command whose reply was lost is sent again; every script here checks the offset, so it is not applied twice.
    autoResendUnfulfilledCommands: true,
    retryStrategy: (times) => Math.min(100 * times, 2_000),
  });
  // The state of the connection shows in the commands; without a listener ioredis would print every failed attempt.
  redis.on('error', () => undefined);
  try {
    await Promise.race([redis.connect(), once(redis, 'error')]);
  } catch (cause) {
    redis.disconnect();
    throw unreachable(url, cause);
  }
  await checkPolicy(redis);
  return redis;
}

/** Sends a script by name from then on. */
export function defineScript(redis: Redis, name: string, lua: string): Script {
  redis.defineCommand(name, { lua });
  const command = (redis as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>)[name];
  if (command === undefined) throw new Error(`ioredis did not define ${name}`);
  // As two lists, which ioredis flattens: more than about 100,000 arguments of a call overflow JavaScript's stack.
  return (keys, args) => command.call(redis, keys.length, keys, args);
}

function once(redis: Redis, event: 'error'): Promise<never> {
  return new Promise((_, reject) => redis.once(event, reject));
}

async function checkPolicy(redis: Redis): Promise<void> {
  let policy: string | undefined;
  try {
    const reply = await redis.config('GET', 'maxmemory-policy');
    policy = reply[1];
  } catch {
    return; // Hosted servers may forbid CONFIG; their own settings have to guard it there.
  }
  if (policy !== undefined && policy !== 'noeviction') {
    redis.disconnect();
    throw new ReckonError(
      'unsafe-server',
      `Redis may evict counts: its maxmemory-policy is ${policy}.`,
      'Set it to noeviction.',
    );
  }
}

function unreachable(url: string, cause: unknown): ReckonError {
  const shown = url.replace(/\/\/[^@/]*@/, '//***@');
  return new ReckonError(
    'unreachable',
    `Redis does not answer at ${shown}.`,
    'Start it (npm run stack -- up) or set REDIS_URL.',
    { cause },
  );
}
