/**
 * Redis, by ioredis: the only file that imports it. Guarantee: a connection, to a single server or to a Redis Cluster, is
 * handed out only when every master answers and never evicts keys; a script that a restart, a failover or a moving slot
 * interrupts is sent again until it is answered.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Cluster, Redis as RedisNode } from 'ioredis';
import type { ChainableCommander, RedisOptions } from 'ioredis';
import { ReckonError } from '../domain/errors.ts';

/** A single server or a cluster: what both offer. Keys of one pipeline or script must share a hash slot. */
export type Redis = RedisNode | Cluster;
/** One server by itself, whatever cluster it may belong to. */
export type { ChainableCommander, RedisNode };

/** Runs a Lua script: its keys first, then its arguments. */
export type Script = (keys: readonly string[], args: readonly (string | number)[]) => Promise<unknown>;

/** What connecting to a cluster may take in all; a single server is known to be away as soon as it refuses. */
const clusterConnectMs = 10_000;
/** A connection that owes an answer for so long is cut: what is behind it may be gone without a word. */
const silenceMs = 15_000;
/** Pause before a script is sent again that a cluster could not place. */
const resendPauseMs = 200;

const retryStrategy = (times: number): number => Math.min(100 * times, 2_000);

const nodeOptions = {
  lazyConnect: true,
  connectTimeout: 3_000,
  socketTimeout: silenceMs,
  // ioredis waits so long at the end of a connection that was refused, too.
  disconnectTimeout: 500,
  maxRetriesPerRequest: null,
  // A command whose reply was lost is sent again; every script here checks the offset, so it is not applied twice.
  autoResendUnfulfilledCommands: true,
} as const satisfies RedisOptions;

/**
 * Connects and checks the server, or every master of the cluster.
 * @param url one URL (a node of a cluster stands for its cluster), or those of several nodes of a cluster, with commas
 * @throws ReckonError `unreachable`, or `unsafe-server` when its memory policy may evict state
 */
export async function connectRedis(url: string): Promise<Redis> {
  const nodes = url.split(',').map((node) => node.trim());
  if (nodes.length > 1) return connectCluster(url, nodes);
  const redis = await connectRedisNode(url);
  if (await isClusterNode(redis)) {
    redis.disconnect();
    return connectCluster(url, nodes);
  }
  await checkPolicy(redis, [redis]);
  return redis;
}

/** Connects to one server by itself. @throws ReckonError `unreachable` */
export async function connectRedisNode(url: string): Promise<RedisNode> {
  const redis = new RedisNode(url, {
    ...nodeOptions,
    retryStrategy,
    // A master that became a replica: behind the same name there may be another master by now.
    reconnectOnError: ({ message }) => (message.startsWith('READONLY') ? 2 : false),
  });
  // The state of the connection shows in the commands; without a listener ioredis would print every failed attempt.
  redis.on('error', () => undefined);
  try {
    await Promise.race([redis.connect(), once(redis, 'error')]);
  } catch (cause) {
    redis.disconnect();
    throw unreachable(url, cause);
  }
  return redis;
}

async function connectCluster(url: string, nodes: readonly string[]): Promise<Cluster> {
  const { username, password, protocol } = new URL(nodes[0] ?? '');
  const cluster = new Cluster([...nodes], {
    lazyConnect: true,
    // What one command may be sent on or again: at the pauses of ioredis (100 ms) for about ten seconds. No node is ever
    // reconnected to by itself (`clusterNodeRetryStrategy`): ioredis forgets the commands that wait for such a node when
    // it drops the node after a failover. Without it they fail, and are sent again.
    maxRedirections: 100,
    clusterRetryStrategy: retryStrategy,
    // Names go to the sockets as they are: TLS checks them.
    dnsLookup: (address, done) => done(null, address),
    redisOptions: {
      ...nodeOptions,
      ...(username === '' ? {} : { username: decodeURIComponent(username) }),
      ...(password === '' ? {} : { password: decodeURIComponent(password) }),
      ...(protocol === 'rediss:' ? { tls: {} } : {}),
    },
  });
  let nodeError: unknown = null;
  cluster.on('error', () => undefined);
  cluster.on('node error', (error: unknown) => (nodeError = error));
  const late = new AbortController();
  try {
    await Promise.race([
      cluster.connect(),
      sleep(clusterConnectMs, null, { signal: late.signal }).then(() =>
        Promise.reject(new Error('the cluster is not ready')),
      ),
    ]);
    await checkPolicy(cluster, cluster.nodes('master'));
  } catch (cause) {
    cluster.disconnect();
    throw cause instanceof ReckonError ? cause : unreachable(url, nodeError ?? cause);
  } finally {
    late.abort();
  }
  return cluster;
}

/**
 * Sends a script by name from then on: by its hash, once a server has it.
 * @param reply whether the strings of its reply arrive as text or as Buffers
 */
export function defineScript(
  redis: Redis,
  name: string,
  lua: string,
  reply: 'text' | 'bytes' = 'text',
): Script {
  redis.defineCommand(name, { lua });
  const commands = redis as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
  const command = commands[reply === 'bytes' ? `${name}Buffer` : name];
  if (command === undefined) throw new Error(`ioredis did not define ${name}`);
  return async (keys, args) => {
    for (;;) {
      try {
        // As two lists, which ioredis flattens: more than about 100,000 arguments of a call overflow JavaScript's stack.
        return await command.call(redis, keys.length, keys, args);
      } catch (error) {
        if (!heals(error) || isEnded(redis)) throw redisFailure(error);
      }
      await sleep(resendPauseMs);
    }
  };
}

/**
 * What a server says while it restarts or runs a long script, a replica takes over or a slot moves, once ioredis has given up. Whether the
 * script ran before is unknown then, so every script must bear to be sent again.
 */
function heals(error: unknown): boolean {
  const { message } = error as Error;
  return (
    /^(Too many Cluster redirections|Connection is closed|CLUSTERDOWN|TRYAGAIN|MASTERDOWN|LOADING|BUSY)/.test(
      message,
    ) ||
    // A key that the script named itself is on its way to another node.
    message.includes('attempted to access a non local key')
  );
}

/** Disconnected by ourselves: nothing will heal. */
function isEnded({ status }: Redis): boolean {
  return status === 'end' || status === 'disconnecting';
}

/** A refusal that the server's operator can mend as one clear line; anything else as it is. */
function redisFailure(error: unknown): unknown {
  const { message } = error as Error;
  const refusal = /\b(OOM|MISCONF|NOREPLICAS|NOPERM|NOAUTH|WRONGPASS)\b.*/.exec(message)?.[0];
  if (refusal === undefined) return error;
  return new ReckonError('unreachable', `Redis refuses to work: ${refusal}`, 'See the server.', {
    cause: error,
  });
}

function once(redis: RedisNode, event: 'error'): Promise<never> {
  return new Promise((_, reject) => redis.once(event, reject));
}

async function isClusterNode(redis: RedisNode): Promise<boolean> {
  try {
    return /^cluster_enabled:1/m.test(await redis.info('cluster'));
  } catch {
    return false; // Hosted servers may forbid INFO.
  }
}

async function checkPolicy(redis: Redis, masters: readonly RedisNode[]): Promise<void> {
  for (const master of masters) {
    let policy: string | undefined;
    try {
      const reply = await master.config('GET', 'maxmemory-policy');
      policy = reply[1];
    } catch {
      continue; // Hosted servers may forbid CONFIG; their own settings have to guard it there.
    }
    if (policy === undefined || policy === 'noeviction') continue;
    redis.disconnect();
    throw new ReckonError(
      'unsafe-server',
      `Redis may evict counts: its maxmemory-policy is ${policy}.`,
      'Set it to noeviction.',
    );
  }
}

function unreachable(url: string, cause: unknown): ReckonError {
  const shown = url.replaceAll(/\/\/[^@/]*@/g, '//***@');
  const reason = (cause as Error).message;
  if (/cluster support disabled/.test(reason))
    return new ReckonError(
      'invalid-config',
      `The servers at ${shown} are no Redis Cluster.`,
      'Give one server, or nodes of one cluster.',
      { cause },
    );
  if (/WRONGPASS|NOAUTH/.test(reason))
    return new ReckonError(
      'invalid-config',
      `Redis at ${shown} refuses the password.`,
      'Set it in REDIS_URL: redis://user:password@host:port.',
      { cause },
    );
  if (reason === 'the cluster is not ready')
    return new ReckonError(
      'unreachable',
      `The Redis Cluster at ${shown} does not serve: not all of its slots have a master.`,
      'See CLUSTER INFO on its nodes.',
      { cause },
    );
  return new ReckonError(
    'unreachable',
    `Redis does not answer at ${shown}.`,
    'Start it (npm run stack -- up) or set REDIS_URL.',
    { cause },
  );
}
