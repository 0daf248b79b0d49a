/**
 * The Redis of a round: a single server behind Toxiproxy, or a Redis Cluster. Guarantee: always started here, in the round's own
 * folder; never one that is configured.
 */
import { cp, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { connectRedis, connectRedisNode } from '../clients/redis.ts';
import type { Redis, RedisNode } from '../clients/redis.ts';
import type { Control } from '../scripts/stack/control.ts';
import { startRedisCluster } from '../scripts/stack/redis-cluster.ts';
import type { RedisCluster } from '../scripts/stack/redis-cluster.ts';
import { startStack } from '../scripts/stack/stack.ts';
import type { Proxy, ToxiproxyClient } from '../scripts/stack/toxiproxy-client.ts';

const quiet = (): void => undefined;

export interface SingleRedis {
  readonly kind: 'single';
  /** What the streams connect to: through the proxy. */
  readonly url: string;
  /** Past the proxy. */
  readonly redis: Redis;
  readonly node: RedisNode;
  readonly address: string;
  readonly proxy: Proxy;
  readonly control: Control;
  /** Where the server keeps its files. */
  readonly dataDir: string;
  /** For further servers. */
  readonly folder: string;
  stop(): Promise<void>;
}

export interface ClusteredRedis {
  readonly kind: 'cluster';
  readonly url: string;
  readonly redis: Redis;
  readonly cluster: RedisCluster;
  /** A connection to each node by itself. */
  readonly nodes: readonly RedisNode[];
  stop(): Promise<void>;
}

export type RedisUnderTest = SingleRedis | ClusteredRedis;

export async function startSingleRedis(folder: string, toxiproxy: ToxiproxyClient): Promise<SingleRedis> {
  const dir = join(folder, 'redis');
  const stack = await startStack({ dir, only: ['redis'], ports: 'free', progress: quiet });
  const { redisUrl } = stack.endpoints;
  const proxy = await toxiproxy.proxy(new URL(redisUrl).host);
  const redis = await connectRedis(redisUrl);
  const node = await connectRedisNode(redisUrl);
  return {
    kind: 'single',
    url: `redis://${proxy.address}`,
    redis,
    node,
    address: redisUrl,
    proxy,
    control: stack,
    dataDir: join(dir, 'redis'),
    folder,
    stop: async () => {
      redis.disconnect();
      node.disconnect();
      await proxy.remove().catch(quiet);
      await stack.stop();
    },
  };
}

/** Three masters, each with a replica. */
export async function startClusteredRedis(folder: string): Promise<ClusteredRedis> {
  const cluster = await startRedisCluster({ dir: folder, progress: quiet, replicas: 3 });
  const redis = await connectRedis(cluster.url);
  const nodes = await Promise.all(cluster.nodes.map(({ url }) => connectRedisNode(url)));
  return {
    kind: 'cluster',
    url: cluster.url,
    redis,
    cluster,
    nodes,
    stop: async () => {
      redis.disconnect();
      for (const node of nodes) node.disconnect();
      await cluster.stop();
    },
  };
}

/** A field of INFO. */
export async function infoOf(node: Redis | RedisNode, section: string, field: string): Promise<string> {
  const text = await node.info(section);
  return new RegExp(`^${field}:(.*?)\\r?$`, 'm').exec(text)?.[1] ?? '';
}

/** The keys of all masters that begin with the prefix. */
export async function keysOf({ redis }: RedisUnderTest, prefix: string): Promise<string[]> {
  const masters = 'nodes' in redis ? redis.nodes('master') : [redis];
  const keys = new Set<string>();
  for (const master of masters)
    for (let cursor: string | null = '0'; cursor !== null;) {
      const [next, found]: [string, string[]] = await master.scan(
        cursor,
        'MATCH',
        `${prefix.replaceAll(/[[\]*?\\]/g, '\\$&')}*`,
        'COUNT',
        5_000,
      );
      for (const key of found) keys.add(key);
      cursor = next === '0' ? null : next;
    }
  return [...keys];
}

/** Puts the data of one stopped server in the place of another's, whatever this version of Redis calls its files. */
export async function replaceData(from: string, to: string): Promise<void> {
  const isData = (name: string) => /\.(aof|rdb)$/.test(name) || name === 'appendonlydir';
  await mkdir(to, { recursive: true });
  for (const name of (await readdir(to)).filter(isData)) await rm(join(to, name), { recursive: true });
  for (const name of (await readdir(from)).filter(isData))
    await cp(join(from, name), join(to, name), { recursive: true });
}

/** The append-only file that grows now. */
export async function appendOnlyFile(dataDir: string): Promise<string> {
  const names = await readdir(dataDir, { recursive: true });
  const newest = names
    .filter((name) => name.endsWith('.aof'))
    .sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
  const file = newest.findLast((name) => name.includes('.incr.')) ?? newest.at(-1);
  if (file === undefined) throw new Error(`no append-only file in ${dataDir}`);
  return join(dataDir, file);
}
