/**
 * The stack as containers, through `docker compose`. Guarantee: our project name holds the folder of the stack, so that
 * neither a stack that a person started by hand from the same file nor that of another checkout is ever touched.
 */
import { createHash } from 'node:crypto';
import { join, resolve } from 'node:path';
import { execute, findOnPath } from './execute.ts';
import { portNames, portTable, type Ports, type Progress, type ServerName } from './model.ts';

/** The services that make up one server; the first is the one that `kill` and `restart` mean. */
export const composeServices: Record<ServerName, string[]> = {
  kafka: ['kafka'],
  redis: ['redis'],
  temporal: ['temporal', 'temporal-ui', 'postgres'],
};

const composeFile = join(import.meta.dirname, '..', '..', 'docker-compose.yml');

export function composeProject(dir: string): string {
  return `reckon-${createHash('sha256').update(resolve(dir)).digest('hex').slice(0, 8)}`;
}

export type ComposeResult = { kind: 'done' } | { kind: 'failed'; reason: string };

/** The stack of a folder, as `docker compose` has to be told of it. */
export interface ComposeStack {
  dir: string;
  ports: Ports;
  env: NodeJS.ProcessEnv;
}

/** Starts the servers' containers and waits until their health checks pass. */
export async function composeUp(
  stack: ComposeStack,
  names: ServerName[],
  progress: Progress,
): Promise<ComposeResult> {
  const services = names.flatMap((name) => composeServices[name]);
  progress(
    `starting ${services.join(', ')} with Docker Compose (the first time it fetches images, about 1.5 GB)`,
  );
  return compose(stack, ['up', '-d', '--wait', ...services], progress);
}

/** Removes the containers and their network; the volumes, and with them the data, stay. */
export async function composeDown(stack: ComposeStack, progress: Progress): Promise<ComposeResult> {
  return compose(stack, ['down'], progress);
}

export async function composeKill(
  stack: ComposeStack,
  name: ServerName,
  signal: NodeJS.Signals,
): Promise<ComposeResult> {
  return compose(stack, ['kill', '-s', signal, ...composeServices[name].slice(0, 1)], () => undefined);
}

async function compose(stack: ComposeStack, args: string[], progress: Progress): Promise<ComposeResult> {
  const env = { ...stack.env };
  for (const name of portNames) env[portTable[name].variable] = String(stack.ports[name]);
  const startedMs = Date.now();
  const seconds = (): number => Math.round((Date.now() - startedMs) / 1_000);
  let last = 'it said nothing';
  const onLine = (line: string): void => {
    if (line.trim() !== '') last = line.trim();
  };
  const ticks = setInterval(() => progress(`docker compose: ${last} (${seconds()} s)`), 5_000);
  try {
    const docker = (await findOnPath('docker', env.PATH)) ?? 'docker';
    const project = ['compose', '-p', composeProject(stack.dir), '-f', composeFile];
    const done = await execute(docker, [...project, ...args], { env, onLine });
    return done.code === 0 ? { kind: 'done' } : { kind: 'failed', reason: last };
  } finally {
    clearInterval(ticks);
  }
}
