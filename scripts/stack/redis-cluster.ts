/**
 * A real Redis Cluster on this machine, for tests and chaos: every node is a stack of its own, in a folder of its own, with
 * one Redis. Guarantee: returned only when every node sees all 16384 slots served; started again in the same folder it has
 * its ports and its data; only processes that were started here, known by pid and start time, are ever signalled.
 */
import { existsSync } from 'node:fs';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectRedisNode, type RedisNode } from '../../clients/redis.ts';
import { ReckonError } from '../../domain/errors.ts';
import { controlServers, stopServers } from './control.ts';
import { discover } from './discover.ts';
import { launch, type Launch } from './launch.ts';
import { withLock } from './lock.ts';
import type { Ports, Progress } from './model.ts';
import { chooseOwnPort, ownPortRange, portIsFree } from './ports.ts';
import { ownStep, programOf } from './resolve.ts';
import { endpointOf, layout, redisClusterConf } from './settings.ts';
import { readStackState } from './state.ts';
import { healthOf } from './status.ts';

export interface RedisClusterOptions {
  /** The nodes keep everything in `redis-cluster` of this folder. */
  dir: string;
  progress: Progress;
  /** Nodes beside the three masters: the first replicates the first master, and so on. Default 0. */
  replicas?: number;
  env?: NodeJS.ProcessEnv;
}

export interface RedisClusterNode {
  readonly url: string;
  /** Sends the signal; for SIGTERM and SIGKILL waits until the process is gone. */
  kill(signal: NodeJS.Signals): Promise<void>;
  /** Starts the node again, on its port, with its data. It joins its cluster by itself. */
  start(): Promise<void>;
}

export interface RedisCluster {
  /** All nodes, separated by commas: the REDIS_URL. */
  readonly url: string;
  /** The three masters as they are at the start, then the replicas. */
  readonly nodes: readonly RedisClusterNode[];
  /** Waits until every node sees all slots served, as after a restart or a failover. */
  settled(): Promise<void>;
  /** Stops the nodes that this call started; data stays. */
  stop(): Promise<void>;
}

const masters = 3;
const slots = 16_384;
/** A node talks to the others on its port + 10000, which only Redis 7 lets one choose otherwise. */
const busPortOffset = 10_000;
const settledMs = 60_000;

export async function startRedisCluster(options: RedisClusterOptions): Promise<RedisCluster> {
  const { dir, progress, env = process.env, replicas = 0 } = options;
  const paths = clusterLayout(dir);
  await mkdir(paths.folder, { recursive: true });
  const waiting = (holder: string): void => progress(`${holder} is starting this Redis Cluster; waiting`);
  const { urls, startedHere } = await withLock(paths.lockFile, waiting, async () => {
    const found = await discover(env, { askDocker: false });
    const step = ownStep('redis', found, progress);
    const program = await programOf(step, found, env, progress);
    const source = step.kind === 'path' ? 'path' : 'provisioned';
    if (!existsSync(paths.formed)) await clearUnformed(dir, progress, env);
    const started: string[] = [];
    const endpoints: string[] = [];
    try {
      for (let i = 0; i < masters + replicas; i++) {
        const nodeDir = paths.nodeDir(i);
        const running = await runningEndpoint(nodeDir);
        if (running === null) started.push(nodeDir);
        endpoints.push(running ?? (await startNode({ program, source, dir: nodeDir })));
      }
      await withNodes(endpoints, async (nodes) => {
        if (!existsSync(paths.formed)) await form(nodes, endpoints);
        await awaitSettled(nodes);
      });
      await writeFile(paths.formed, '');
    } catch (error) {
      await stopNodes(started, progress, env);
      throw error;
    }
    progress(`redis cluster: ${endpoints.length} nodes ready on ${endpoints.join(', ')}`);
    return { urls: endpoints, startedHere: started };
  });
  return {
    url: urls.join(','),
    nodes: urls.map((url, i) => {
      const control = controlServers(paths.nodeDir(i), progress, env);
      return { url, kill: (signal) => control.kill('redis', signal), start: () => control.start('redis') };
    }),
    settled: () => withNodes(urls, awaitSettled),
    stop: () => stopNodes(startedHere, progress, env),
  };
}

/** Stops every node of the folder that is recorded as ours, whichever process started it. Data stays. @returns how many */
export async function stopRedisCluster(
  dir: string,
  progress: Progress,
  env: NodeJS.ProcessEnv = process.env,
): Promise<number> {
  const recorded = (await nodeDirs(dir)).filter((nodeDir) => readStackState(nodeDir)?.servers.length);
  await stopNodes(recorded, progress, env);
  return recorded.length;
}

function clusterLayout(dir: string) {
  const folder = join(dir, 'redis-cluster');
  return {
    folder,
    lockFile: join(folder, 'cluster.lock'),
    /** Present once the nodes have been joined and all slots given out. */
    formed: join(folder, 'formed'),
    nodeDir: (i: number) => join(folder, `node-${i}`),
  };
}

async function nodeDirs(dir: string): Promise<string[]> {
  const { folder } = clusterLayout(dir);
  const names = await readdir(folder).catch(() => [] as string[]);
  return names.filter((name) => /^node-\d+$/.test(name)).map((name) => join(folder, name));
}

async function stopNodes(dirs: readonly string[], progress: Progress, env: NodeJS.ProcessEnv): Promise<void> {
  await Promise.all(dirs.map((nodeDir) => stopServers(nodeDir, ['redis'], progress, env)));
}

/** What a killed attempt left: nodes that were never joined to the end hold nothing. */
async function clearUnformed(dir: string, progress: Progress, env: NodeJS.ProcessEnv): Promise<void> {
  await stopRedisCluster(dir, progress, env);
  for (const nodeDir of await nodeDirs(dir)) await rm(nodeDir, { recursive: true });
}

/** The endpoint of a node that is up already, or null. */
async function runningEndpoint(nodeDir: string): Promise<string | null> {
  const recorded = readStackState(nodeDir)?.servers[0];
  return recorded !== undefined && (await healthOf(recorded)) === 'healthy' ? recorded.endpoint : null;
}

/** Starts one node; where it was before, since the others look for it there. */
async function startNode({ program, source, dir }: Omit<Launch, 'ports'>): Promise<string> {
  const { redisClusterConf: confFile } = layout(dir);
  await mkdir(dirname(confFile), { recursive: true });
  await writeFile(confFile, redisClusterConf);
  const previous = readStackState(dir)?.ports.redis;
  for (let attempt = 1; ; attempt += 1) {
    const ports = { redis: previous ?? (await chooseNodePort()) } as Ports;
    const launched = await launch({ program, source, dir, ports });
    if (launched.kind === 'ready') return endpointOf('redis', ports);
    if (previous !== undefined || attempt === 3)
      throw new ReckonError(
        'port-taken',
        `A node of the Redis Cluster could not listen: ${launched.message}`,
      );
  }
}

/** A port for clients with a port for the other nodes, both free; the latter, too, below those of outgoing connections. */
function chooseNodePort(): Promise<number> {
  return chooseOwnPort(
    ownPortRange.last - busPortOffset,
    async (port) => (await portIsFree(port)) && (await portIsFree(port + busPortOffset)),
  );
}

async function withNodes<T>(
  urls: readonly string[],
  work: (nodes: readonly RedisNode[]) => Promise<T>,
): Promise<T> {
  const nodes: RedisNode[] = [];
  try {
    for (const url of urls) nodes.push(await connectRedisNode(url));
    return await work(nodes);
  } finally {
    for (const node of nodes) node.disconnect();
  }
}

/** Gives out the slots, makes the nodes known to each other, and the replicas to their masters. */
async function form(nodes: readonly RedisNode[], urls: readonly string[]): Promise<void> {
  const ids = await Promise.all(nodes.map((node) => node.cluster('MYID')));
  const [first, ...others] = nodes;
  if (first === undefined) return;
  for (const [i, node] of nodes.slice(0, masters).entries()) {
    const [from, to] = [Math.floor((i * slots) / masters), Math.floor(((i + 1) * slots) / masters)];
    await node.cluster('ADDSLOTS', ...Array.from({ length: to - from }, (_, slot) => from + slot));
    // Nodes of one epoch each need not settle by chance who yields.
    await node.cluster('SET-CONFIG-EPOCH', i + 1);
  }
  for (const i of others.keys()) {
    const { hostname, port } = new URL(urls[i + 1] ?? '');
    await first.cluster('MEET', hostname, Number(port));
  }
  await until(async () => {
    const known = await Promise.all(nodes.map((node) => clusterInfo(node, 'cluster_known_nodes')));
    return known.every((count) => Number(count) === nodes.length);
  });
  for (const [i, replica] of nodes.slice(masters).entries()) {
    const master = String(ids[i % masters]);
    // A node may replicate only a node that it has learnt to be a master.
    await until(() =>
      replica.cluster('REPLICATE', master).then(
        () => true,
        () => false,
      ),
    );
  }
}

async function awaitSettled(nodes: readonly RedisNode[]): Promise<void> {
  await until(async () => (await Promise.all(nodes.map(isSettled))).every(Boolean));
}

async function isSettled(node: RedisNode): Promise<boolean> {
  const state = await clusterInfo(node, 'cluster_state');
  const served = await clusterInfo(node, 'cluster_slots_ok');
  const replication = await node.info('replication');
  return (
    state === 'ok' &&
    Number(served) === slots &&
    !/^master_(link_status:down|sync_in_progress:1)/m.test(replication)
  );
}

async function clusterInfo(node: RedisNode, field: string): Promise<string | undefined> {
  const lines = String(await node.cluster('INFO')).split(/\r?\n/);
  return lines.find((line) => line.startsWith(`${field}:`))?.slice(field.length + 1);
}

async function until(done: () => Promise<boolean>): Promise<void> {
  const deadlineMs = Date.now() + settledMs;
  while (!(await done())) {
    if (Date.now() > deadlineMs)
      throw new ReckonError(
        'unreachable',
        `The Redis Cluster did not settle within ${settledMs / 1_000} s.`,
        'See the logs of its nodes.',
      );
    await sleep(50);
  }
}
