/**
 * The state of each server of a stack. Guarantee: reads and asks only; nothing is started, stopped or written.
 */
import { accepting, answers } from './health.ts';
import { serverNames, type Health, type RecordedServer, type ServerName, type ServerState } from './model.ts';
import { endpointVariables } from './plan.ts';
import { isAlive } from './process.ts';
import { readStackState } from './state.ts';

/** The server that the environment names, or null. */
export function configuredServer(name: ServerName, env: NodeJS.ProcessEnv): RecordedServer | null {
  const endpoint = env[endpointVariables[name]]?.trim() ?? '';
  if (endpoint === '') return null;
  return { name, source: 'configured', endpoint, uiUrl: null, process: null, logFile: null };
}

/** Asks the server now. A configured one may want TLS or a password, so only a connection is asked of it. */
export async function healthOf(server: RecordedServer): Promise<Health> {
  if (server.source === 'configured') {
    return (await accepting(server.name, server.endpoint)) ? 'healthy' : 'not answering';
  }
  if (server.process !== null && !(await isAlive(server.process))) return 'dead';
  return (await answers(server.name, server.endpoint)) ? 'healthy' : 'not answering';
}

/** Each server's state now: configured ones by their variable, ours by `stack.json`, the rest as stopped. */
export async function stackStatus(dir: string, env: NodeJS.ProcessEnv = process.env): Promise<ServerState[]> {
  const recorded = readStackState(dir)?.servers ?? [];
  return Promise.all(
    serverNames.map(async (name): Promise<ServerState> => {
      const server = configuredServer(name, env) ?? recorded.find((candidate) => candidate.name === name);
      if (server !== undefined) return { ...server, health: await healthOf(server), startedHere: false };
      const stopped = {
        source: 'provisioned',
        endpoint: '',
        uiUrl: null,
        process: null,
        logFile: null,
      } as const;
      return { name, ...stopped, health: 'stopped', startedHere: false };
    }),
  );
}

/** True when all three servers are healthy. */
export async function stackIsHealthy(dir: string, env: NodeJS.ProcessEnv = process.env): Promise<boolean> {
  return (await stackStatus(dir, env)).every(({ health }) => health === 'healthy');
}
