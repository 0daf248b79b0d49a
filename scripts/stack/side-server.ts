/**
 * A server beside the stack, as a process of ours, for tests and chaos only: started on demand, never by `npm start`. Guarantee: what an
 * earlier run left in the same folder is ended first, and only a process that is recorded as ours, by pid and start time, is ever
 * signalled.
 */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { ReckonError } from '../../domain/errors.ts';
import { findOnPath } from './execute.ts';
import { type ProcessIdentity, type Progress } from './model.ts';
import { lastLineOf, startDetached, terminate } from './process.ts';
import { cacheDir, isProvisioned, provision, type ProvisionedName } from './provision.ts';

export interface SideServer {
  /** What can be provisioned; its folder, record and log have this name, too. */
  readonly name: ProvisionedName;
  /** In sentences: `The S3 server`. */
  readonly label: string;
  readonly program: string;
  /** What to say where neither the program nor Go is found. */
  readonly missing: { readonly message: string; readonly hint: string };
}

const readyMs = 15_000;
const stopMs = 5_000;
const recordSchema = z.object({ pid: z.number().int().positive(), startedAt: z.string() });

/** The folder of a server's own files. */
export function folderOf({ name }: SideServer, dir: string): string {
  return join(dir, name);
}

/**
 * Starts the server, and waits until it answers.
 * @returns what ends it
 */
export async function startSideServer(
  server: SideServer,
  dir: string,
  {
    args,
    env: own = {},
    answers,
  }: {
    readonly args: string[];
    readonly env?: Record<string, string>;
    readonly answers: () => Promise<boolean>;
  },
  progress: Progress,
  env: NodeJS.ProcessEnv,
): Promise<() => Promise<void>> {
  const program = await findProgram(server, env, progress);
  await stopSideServer(server, dir);
  const folder = folderOf(server, dir);
  await mkdir(folder, { recursive: true });
  const logFile = join(folder, `${server.name}.log`);
  const started = await startDetached({ program, args, env: own, cwd: folder }, logFile);
  await writeFile(recordOf(server, dir), JSON.stringify(started.identity satisfies ProcessIdentity));
  const deadlineMs = Date.now() + readyMs;
  while (!(await answers())) {
    if (started.exited() || Date.now() > deadlineMs) {
      await stopSideServer(server, dir);
      throw new ReckonError(
        'unreachable',
        `${server.label} does not answer: ${await lastLineOf(logFile)}.`,
        `Its log: ${logFile}`,
      );
    }
    await sleep(20);
  }
  return async () => {
    // Also where the folder with the record is gone already.
    await terminate(started.identity, stopMs);
    await stopSideServer(server, dir);
  };
}

/** Ends the server that is recorded in the folder, if it still runs; its data stays. */
export async function stopSideServer(server: SideServer, dir: string): Promise<void> {
  const record = recordOf(server, dir);
  const text = await readFile(record, 'utf8').catch(() => null);
  if (text === null) return;
  await terminate(recordSchema.parse(JSON.parse(text)), stopMs);
  await rm(record, { force: true });
}

function recordOf(server: SideServer, dir: string): string {
  return join(folderOf(server, dir), 'process.json');
}

/** On PATH, else in the cache, else built into it. */
async function findProgram(
  { name, program, missing }: SideServer,
  env: NodeJS.ProcessEnv,
  progress: Progress,
): Promise<string> {
  const onPath = await findOnPath(program, env.PATH);
  if (onPath !== null) return onPath;
  if (!isProvisioned(name, cacheDir(env)) && (await findOnPath('go', env.PATH)) === null)
    throw new ReckonError('missing-program', missing.message, missing.hint);
  return join(await provision(name, env, progress), program);
}
