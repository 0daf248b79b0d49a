/**
 * Stops, kills and restarts the servers of a stack. Guarantee: acts only on what `stack.json` records as ours, after
 * proving that the recorded process is still that process; data is never removed.
 */
import { ReckonError } from '../../domain/errors.ts';
import { composeDown, composeKill, composeUp } from './compose.ts';
import { discover } from './discover.ts';
import { launch, portsOf, stopMs } from './launch.ts';
import { withLock } from './lock.ts';
import type { Progress, RecordedServer, ServerName, StackState } from './model.ts';
import { choosePorts } from './ports.ts';
import { isAlive, signalGroup, terminate, waitUntilGone } from './process.ts';
import { ownStep, programOf } from './resolve.ts';
import { layout } from './settings.ts';
import { forgetServer, readStackState } from './state.ts';

export interface Control {
  /** Sends the signal; for SIGTERM and SIGKILL waits until the process is gone. */
  kill(name: ServerName, signal: NodeJS.Signals): Promise<void>;
  /** Starts a server of this stack that is down, on the same ports, with its data. */
  start(name: ServerName): Promise<void>;
  /** `kill` (SIGTERM unless told otherwise), then `start`. */
  restart(name: ServerName, signal?: 'SIGTERM' | 'SIGKILL'): Promise<void>;
}

/** Temporal first, as it is nobody's server; Redis last, as others write to it until they stop. */
const stopOrder = ['temporal', 'kafka', 'redis'] as const satisfies ServerName[];

export function controlServers(dir: string, progress: Progress, env: NodeJS.ProcessEnv): Control {
  const kill: Control['kill'] = async (name, signal) => {
    const { server, state } = recordedServer(dir, name);
    if (server.process === null) {
      const result = await composeKill({ dir, ports: state.ports, env }, name, signal);
      if (result.kind === 'failed')
        throw new ReckonError('unreachable', `docker compose could not kill ${name}: ${result.reason}`);
      return;
    }
    await signalGroup(server.process, signal);
    if (signal !== 'SIGTERM' && signal !== 'SIGKILL') return;
    if (await waitUntilGone(server.process, stopMs[name])) return;
    throw new ReckonError(
      'unreachable',
      `${name} (process ${server.process.pid}) did not stop within ${stopMs[name] / 1_000} s.`,
    );
  };
  const start: Control['start'] = (name) => {
    return withLock(
      layout(dir).lockFile,
      () => undefined,
      () => startAgain(dir, name, progress, env),
    );
  };
  return {
    kill,
    start,
    restart: async (name, signal = 'SIGTERM') => {
      await kill(name, signal);
      await start(name);
    },
  };
}

async function startAgain(
  dir: string,
  name: ServerName,
  progress: Progress,
  env: NodeJS.ProcessEnv,
): Promise<void> {
  const { server, state } = recordedServer(dir, name);
  if (server.source === 'compose') {
    const result = await composeUp({ dir, ports: state.ports, env }, [name], progress);
    if (result.kind === 'failed')
      throw new ReckonError('unreachable', `docker compose could not start ${name}: ${result.reason}`);
    return;
  }
  if (server.process !== null && (await isAlive(server.process))) return;
  // The clients hold the old endpoint, so another port would be no restart.
  await choosePorts(portsOf(name), { mode: 'free', demanded: state.ports });
  const found = await discover(env, { askDocker: false });
  const step = ownStep(name, found, progress);
  const program = await programOf(step, found, env, progress);
  const source = step.kind === 'path' ? 'path' : 'provisioned';
  const launched = await launch({ program, source, dir, ports: state.ports });
  if (launched.kind === 'port lost')
    throw new ReckonError('port-taken', `${name} could not listen again: ${launched.message}`);
}

/** Stops the named servers that are recorded as ours, one after the other, and forgets them. */
export async function stopServers(
  dir: string,
  names: readonly ServerName[],
  progress: Progress,
  env: NodeJS.ProcessEnv,
  lock: 'take the lock' | 'locked already' = 'take the lock',
): Promise<void> {
  if (names.length === 0) return;
  if (lock === 'locked already') return stopRecorded(dir, names, progress, env);
  const waiting = (holder: string): void => progress(`${holder} is starting or stopping this stack; waiting`);
  await withLock(layout(dir).lockFile, waiting, () => stopRecorded(dir, names, progress, env));
}

async function stopRecorded(
  dir: string,
  names: readonly ServerName[],
  progress: Progress,
  env: NodeJS.ProcessEnv,
): Promise<void> {
  const state = readStackState(dir);
  if (state === null) return;
  const ours = stopOrder.flatMap((name) =>
    state.servers.filter((server) => server.name === name && names.includes(name)),
  );
  for (const { name, process } of ours) {
    if (process === null) continue;
    if (await isAlive(process)) progress(`${name}: stopping`);
    await terminate(process, stopMs[name]);
    forgetServer(dir, name);
  }
  const inContainers = ours.filter(({ source }) => source === 'compose');
  if (inContainers.length === 0) return;
  const result = await composeDown({ dir, ports: state.ports, env }, progress);
  if (result.kind === 'failed')
    throw new ReckonError('unreachable', `docker compose down failed: ${result.reason}`);
  for (const { name } of inContainers) forgetServer(dir, name);
}

function recordedServer(dir: string, name: ServerName): { server: RecordedServer; state: StackState } {
  const state = readStackState(dir);
  const server = state?.servers.find((candidate) => candidate.name === name);
  if (state === null || server === undefined) {
    throw new ReckonError(
      'invalid-input',
      `${name} is not a server of the stack in ${dir}.`,
      'Only servers that Reckon started can be killed or restarted.',
    );
  }
  return { server, state };
}
