/**
 * The local stack: Kafka, Redis and Temporal from one call. Guarantee: `startStack` returns when every wanted server
 * answers, or throws one clear error and leaves nothing running that it started; it is idempotent for a folder; a server
 * that we did not start is never used by chance, touched or killed.
 */
import { mkdir } from 'node:fs/promises';
import { ReckonError } from '../../domain/errors.ts';
import { composeUp } from './compose.ts';
import { controlServers, stopServers, type Control } from './control.ts';
import { discover } from './discover.ts';
import { launch, portsOf, type Launch } from './launch.ts';
import { withLock } from './lock.ts';
import { serverNames, type Ports, type Progress } from './model.ts';
import type { RecordedServer, ServerName, ServerState } from './model.ts';
import { endpointVariables, planStack, type Found, type Step } from './plan.ts';
import { choosePorts, demandedPorts, type PortWish } from './ports.ts';
import { terminate } from './process.ts';
import { isOwn, ownStep, programOf, refuseImpossible, type OwnStep } from './resolve.ts';
import { endpointOf, layout } from './settings.ts';
import { forgetServer, readStackState, recordServer } from './state.ts';
import { configuredServer, healthOf } from './status.ts';

export { provisionAll } from './resolve.ts';
export { readStackState } from './state.ts';
export { stackIsHealthy, stackStatus } from './status.ts';

export interface StackOptions {
  /** Where the servers keep data, logs and `stack.json`. */
  dir: string;
  only?: ServerName[];
  progress: Progress;
  /**
   * `usual` (default): configured endpoints, containers (unless RECKON_DOCKER=no) or own processes, on the usual ports
   * where they are free.
   * `free`: own processes on own ports, whatever the environment says; for tests, which kill and restart them.
   */
  ports?: 'usual' | 'free';
  /** False: what `stack.json` says is running is stopped and started anew (its data stays). Default true. */
  reuse?: boolean;
  env?: NodeJS.ProcessEnv;
}

export interface Endpoints {
  kafkaBrokers: string;
  redisUrl: string;
  temporalAddress: string;
  temporalUiUrl: string | null;
}

export interface Stack extends Control {
  endpoints: Endpoints;
  servers: ServerState[];
  /** Stops the servers that this call started; those it found running, or that were configured, go on. */
  stop(): Promise<void>;
}

/** What one call of `startStack` works with. */
interface Context {
  dir: string;
  progress: Progress;
  env: NodeJS.ProcessEnv;
  found: Found;
  wish: PortWish;
}

export async function startStack(options: StackOptions): Promise<Stack> {
  const { dir, progress, env = process.env } = options;
  const wanted = serverNames.filter((name) => options.only?.includes(name) ?? true);
  await mkdir(dir, { recursive: true });
  const waiting = (holder: string): void => progress(`${holder} is starting or stopping this stack; waiting`);
  const servers = await withLock(layout(dir).lockFile, waiting, () => bringUp(options, wanted, env));
  const startedHere = servers.filter((server) => server.startedHere).map(({ name }) => name);
  return {
    endpoints: endpointsOf(servers),
    servers,
    ...controlServers(dir, progress, env),
    stop: () => stopServers(dir, startedHere, progress, env),
  };
}

async function bringUp(
  options: StackOptions,
  wanted: ServerName[],
  env: NodeJS.ProcessEnv,
): Promise<ServerState[]> {
  const { dir, progress, ports = 'usual', reuse = true } = options;
  const previous = previousPorts(dir);
  const states: ServerState[] = [];
  const missing: ServerName[] = [];
  for (const name of wanted) {
    const configured = ports === 'usual' ? configuredServer(name, env) : null;
    const running = configured ?? (await settleRecorded(dir, name, reuse, progress));
    if (running === null) missing.push(name);
    else
      states.push({
        ...running,
        health: configured === null ? 'healthy' : await healthOf(running),
        startedHere: false,
      });
  }
  const unreachable = states.find(({ health }) => health !== 'healthy');
  if (unreachable !== undefined) {
    const variable = endpointVariables[unreachable.name];
    const hint = `Start that server, or unset ${variable} to let Reckon start its own.`;
    throw new ReckonError(
      'unreachable',
      `${variable}=${unreachable.endpoint} does not accept connections.`,
      hint,
    );
  }
  if (missing.length > 0) states.push(...(await startMissing(options, missing, previous, env)));
  return wanted.flatMap((name) => states.filter((state) => state.name === name));
}

/** The recorded server if it is up; else its remains are cleared away and the answer is null. */
async function settleRecorded(
  dir: string,
  name: ServerName,
  reuse: boolean,
  progress: Progress,
): Promise<RecordedServer | null> {
  const recorded = readStackState(dir)?.servers.find((server) => server.name === name);
  if (recorded === undefined) return null;
  const health = await healthOf(recorded);
  if (health === 'healthy' && reuse) return recorded;
  if (health !== 'healthy')
    progress(`${name}: was started before and is ${health}; starting it again with its data`);
  if (recorded.process !== null) await terminate(recorded.process, 30_000);
  forgetServer(dir, name);
  return null;
}

/**
 * The ports of the servers that are recorded, so that one that died comes back where its clients look for it. A stack
 * that was stopped has none: it takes the usual ports again when they are free.
 */
function previousPorts(dir: string): Partial<Ports> {
  const state = readStackState(dir);
  if (state === null) return {};
  const names = state.servers.flatMap(({ name }) => portsOf(name));
  return Object.fromEntries(names.map((name) => [name, state.ports[name]]));
}

/** Starts what is not there yet, side by side; when one fails, the others are stopped again. */
async function startMissing(
  options: StackOptions,
  missing: ServerName[],
  previous: Partial<Ports>,
  env: NodeJS.ProcessEnv,
): Promise<ServerState[]> {
  const { dir, progress, ports = 'usual' } = options;
  const ownOnly = ports === 'free';
  const found = await discover(env, { askDocker: !ownOnly && env.RECKON_DOCKER !== 'no' });
  const wish: PortWish = {
    mode: ports,
    previous,
    demanded: ownOnly ? {} : demandedPorts(env),
  };
  const context: Context = { dir, progress, env, found, wish };
  const steps = planStack(env, found, missing, { ownProcessesOnly: ownOnly });
  refuseImpossible(steps, progress);

  try {
    const inContainers = await startContainers(context, steps);
    const left = steps.filter(({ name }) => !inContainers.some((server) => server.name === name));
    const own = left.map((step) => (isOwn(step) ? step : ownStep(step.name, found, progress)));
    const started = [...inContainers, ...(await startProcesses(context, own))];
    return started.map((server) => ({ ...server, health: 'healthy', startedHere: true }));
  } catch (error) {
    await stopServers(dir, missing, progress, env, 'locked already');
    throw error;
  }
}

/** The servers that now run as containers; none when Compose fails, which is told and not fatal. */
async function startContainers(context: Context, steps: Step[]): Promise<RecordedServer[]> {
  const { dir, progress, wish } = context;
  const names = steps.filter((step) => step.kind === 'compose').map(({ name }) => name);
  if (names.length === 0) return [];
  const chosen = await choosePorts(names.flatMap(portsOf), wish);
  const ports = { ...wish.previous, ...chosen } as Ports;
  const servers = names.map((name): RecordedServer => {
    const uiUrl = name === 'temporal' ? `http://127.0.0.1:${ports.temporalUi}` : null;
    return {
      name,
      source: 'compose',
      endpoint: endpointOf(name, ports),
      uiUrl,
      process: null,
      logFile: null,
    };
  });
  for (const server of servers) recordServer(dir, server, chosen);
  const result = await composeUp({ dir, ports, env: context.env }, names, progress);
  if (result.kind === 'done') return servers;
  progress(`Docker Compose failed (${result.reason}); going on without it`);
  await stopServers(dir, names, progress, context.env, 'locked already');
  return [];
}

/**
 * Everything is fetched and built before anything is started, so that a failure is not told minutes late. The ports are
 * chosen first of all (a taken one is told at once), and for all servers together, so that no two get the same.
 */
async function startProcesses(context: Context, steps: OwnStep[]): Promise<RecordedServer[]> {
  const { env, found, progress, wish } = context;
  const ports = await choosePorts(
    steps.flatMap(({ name }) => portsOf(name)),
    wish,
  );
  const programs = await allSettled(steps.map((step) => programOf(step, found, env, progress)));
  return allSettled(
    programs.map((program, index) => {
      const source = steps[index]?.kind === 'path' ? 'path' : 'provisioned';
      return startProcess(context, { program, source, dir: context.dir, ports: ports as Ports });
    }),
  );
}

/** Waits for all, then throws the first failure: nothing goes on in the background after this has ended. */
async function allSettled<T>(promises: Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(promises);
  return Promise.all(promises);
}

async function startProcess({ progress, wish }: Context, launchOf: Launch): Promise<RecordedServer> {
  const { name } = launchOf.program;
  const startedMs = Date.now();
  let { ports } = launchOf;
  for (let attempt = 1; ; attempt += 1) {
    const launched = await launch({ ...launchOf, ports });
    if (launched.kind === 'ready') {
      const seconds = ((Date.now() - startedMs) / 1_000).toFixed(1);
      progress(`${name}: ready on ${launched.server.endpoint} after ${seconds} s`);
      return launched.server;
    }
    if (attempt === 3) throw new ReckonError('port-taken', `${name} could not listen: ${launched.message}`);
    progress(`${name}: a port was taken in the meantime; choosing another`);
    ports = {
      ...ports,
      ...(await choosePorts(portsOf(name), { ...wish, mode: 'free', previous: undefined })),
    };
  }
}

function endpointsOf(servers: ServerState[]): Endpoints {
  const of = (name: ServerName): string => servers.find((server) => server.name === name)?.endpoint ?? '';
  const temporalUiUrl = servers.find(({ name }) => name === 'temporal')?.uiUrl ?? null;
  return { kafkaBrokers: of('kafka'), redisUrl: of('redis'), temporalAddress: of('temporal'), temporalUiUrl };
}

/** Stops everything that `stack.json` says we started, whichever process started it. Returns what was stopped. */
export async function stopStack(
  dir: string,
  progress: Progress,
  env: NodeJS.ProcessEnv = process.env,
): Promise<ServerName[]> {
  const names = (readStackState(dir)?.servers ?? []).map(({ name }) => name);
  await stopServers(dir, names, progress, env);
  return names;
}
