/**
 * Kafka and Redis for a benchmark: those of the environment, else own ones on free ports in a temporary folder. Guarantee:
 * `close` stops what was started here and removes the folder; of a server that was there before only what the benchmark
 * wrote is removed.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectAdmin } from '../clients/kafka.ts';
import type { Admin } from '../clients/kafka.ts';
import { connectRedisNode } from '../clients/redis.ts';
import type { RedisNode } from '../clients/redis.ts';
import { ReckonError } from '../domain/errors.ts';
import type { ServerName } from '../scripts/stack/model.ts';
import { startStack, stopStack } from '../scripts/stack/stack.ts';

export type Say = (line: string) => void;

export interface Servers {
  readonly kafkaBrokers: string;
  readonly redisUrl: string;
  /** For definitions, logs and the peers' scratch files; goes away with `close`. */
  readonly dir: string;
  readonly admin: Admin;
  readonly redis: RedisNode;
  /** Makes room for the next engine: everything of an own Redis, else the keys that match (none did at the start). */
  clear(patterns: readonly string[]): Promise<void>;
  close(): Promise<void>;
}

/** The keys that the peers write; fixed in their sources. */
export const peerKeys = ['f:*', 'w:*'];

/** @throws ReckonError `invalid-config` where the configured Redis cannot take the peers' results */
export async function openServers(env: NodeJS.ProcessEnv, say: Say): Promise<Servers> {
  const { KAFKA_BROKERS: kafka = '', REDIS_URL: redisUrl = '' } = env;
  if (redisUrl.includes(','))
    throw new ReckonError(
      'invalid-config',
      'REDIS_URL names a cluster, which the peers cannot use.',
      'Unset it, and the benchmark starts a Redis of its own.',
    );
  const dir = mkdtempSync(join(tmpdir(), 'reckon-bench-'));
  const only: ServerName[] = [
    ...(kafka === '' ? (['kafka'] as const) : []),
    ...(redisUrl === '' ? (['redis'] as const) : []),
  ];
  const closings: (() => Promise<unknown>)[] = [async () => rmSync(dir, { recursive: true, force: true })];
  const close = async (): Promise<void> => {
    for (const closing of closings.reverse()) await closing();
  };
  try {
    const stackDir = join(dir, 'stack');
    // Also where starting is cut short: what is recorded in the folder by then is stopped.
    if (only.length > 0) closings.push(() => stopStack(stackDir, say));
    const own =
      only.length > 0
        ? (await startStack({ dir: stackDir, only, ports: 'free', progress: say })).endpoints
        : null;
    const brokers = kafka === '' ? (own?.kafkaBrokers ?? '') : kafka;
    const url = redisUrl === '' ? (own?.redisUrl ?? '') : redisUrl;
    const admin = await connectAdmin(brokers, 'reckon-bench');
    closings.push(() => admin.disconnect());
    const redis = await connectRedisNode(url);
    closings.push(async () => redis.disconnect());
    if (redisUrl !== '') await refuseOthersKeys(redis);
    const topics = new Set(await admin.listTopics());
    if (kafka !== '') closings.push(() => deleteTopics(admin, topics));
    const clear = (patterns: readonly string[]) =>
      redisUrl === '' ? redis.flushall().then(() => undefined) : deleteKeys(redis, patterns);
    return { kafkaBrokers: brokers, redisUrl: url, dir, admin, redis, clear, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function refuseOthersKeys(redis: RedisNode): Promise<void> {
  for (const pattern of peerKeys)
    if ((await keysOf(redis, pattern)).length > 0)
      throw new ReckonError(
        'invalid-config',
        `The Redis of REDIS_URL holds keys ${pattern}, which the peers write.`,
        'Unset REDIS_URL, and the benchmark starts a Redis of its own.',
      );
}

/** All keys of a pattern. */
export async function keysOf(redis: RedisNode, pattern: string): Promise<string[]> {
  const keys = new Set<string>();
  let cursor = '0';
  do {
    const [next, found] = await redis.scan(cursor, 'MATCH', pattern, 'COUNT', 10_000);
    for (const key of found) keys.add(key);
    cursor = next;
  } while (cursor !== '0');
  return [...keys];
}

async function deleteKeys(redis: RedisNode, patterns: readonly string[]): Promise<void> {
  for (const pattern of patterns) {
    const keys = await keysOf(redis, pattern);
    for (let first = 0; first < keys.length; first += 1_000)
      await redis.unlink(...keys.slice(first, first + 1_000));
  }
}

/** The benchmark's topics, and those that Kafka Streams has made of them. */
async function deleteTopics(admin: Admin, before: ReadonlySet<string>): Promise<void> {
  const topics = (await admin.listTopics()).filter(
    (topic) => !before.has(topic) && /^(bench-|ks-\d+-)/.test(topic),
  );
  if (topics.length > 0) await admin.deleteTopics({ topics });
}
