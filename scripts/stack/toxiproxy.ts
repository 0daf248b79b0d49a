/**
 * Toxiproxy as a process of ours: network faults between clients and servers, for tests and chaos only. Guarantee: it
 * listens on 127.0.0.1; started on demand, never by `npm start`; what an earlier run left in the same folder is ended first,
 * and only a process that is recorded as ours, by pid and start time, is ever signalled.
 */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { ReckonError } from '../../domain/errors.ts';
import { findOnPath } from './execute.ts';
import { versions, type ProcessIdentity, type Progress } from './model.ts';
import { chooseOwnPort } from './ports.ts';
import { lastLineOf, startDetached, terminate } from './process.ts';
import { cacheDir, isProvisioned, provision } from './provision.ts';
import { ToxiproxyClient } from './toxiproxy-client.ts';

export interface Toxiproxy {
  readonly client: ToxiproxyClient;
  /** Ends the process, and with it all of its connections. */
  stop(): Promise<void>;
}

const readyMs = 15_000;
const stopMs = 5_000;
const recordSchema = z.object({ pid: z.number().int().positive(), startedAt: z.string() });

/** @param dir Toxiproxy keeps its log and its record in `toxiproxy` of this folder */
export async function startToxiproxy(
  dir: string,
  progress: Progress,
  env: NodeJS.ProcessEnv = process.env,
): Promise<Toxiproxy> {
  const program = await findProgram(env, progress);
  await stopToxiproxy(dir);
  const paths = layoutOf(dir);
  await mkdir(paths.folder, { recursive: true });
  const port = await chooseOwnPort();
  const args = ['-host', '127.0.0.1', '-port', String(port)];
  const started = await startDetached({ program, args, cwd: paths.folder }, paths.logFile);
  await writeFile(paths.record, JSON.stringify(started.identity satisfies ProcessIdentity));
  const client = new ToxiproxyClient(`http://127.0.0.1:${port}`);
  const deadlineMs = Date.now() + readyMs;
  while (!(await client.answers())) {
    if (started.exited() || Date.now() > deadlineMs) {
      await stopToxiproxy(dir);
      throw new ReckonError(
        'unreachable',
        `Toxiproxy does not answer: ${await lastLineOf(paths.logFile)}.`,
        `Its log: ${paths.logFile}`,
      );
    }
    await sleep(20);
  }
  return { client, stop: () => stopToxiproxy(dir) };
}

/** Ends the Toxiproxy that is recorded in the folder, if it still runs. */
export async function stopToxiproxy(dir: string): Promise<void> {
  const { record } = layoutOf(dir);
  const text = await readFile(record, 'utf8').catch(() => null);
  if (text === null) return;
  await terminate(recordSchema.parse(JSON.parse(text)), stopMs);
  await rm(record, { force: true });
}

function layoutOf(dir: string) {
  const folder = join(dir, 'toxiproxy');
  return { folder, record: join(folder, 'process.json'), logFile: join(folder, 'toxiproxy.log') };
}

/** On PATH, else in the cache, else built into it. */
async function findProgram(env: NodeJS.ProcessEnv, progress: Progress): Promise<string> {
  const onPath = await findOnPath('toxiproxy-server', env.PATH);
  if (onPath !== null) return onPath;
  if (!isProvisioned('toxiproxy', cacheDir(env)) && (await findOnPath('go', env.PATH)) === null)
    throw new ReckonError(
      'missing-program',
      'Network faults need toxiproxy-server on PATH, or Go to build it; neither was found.',
      `Install one (macOS: brew install toxiproxy; with Go: github.com/Shopify/toxiproxy/v2/cmd/server@v${versions.toxiproxy}).`,
    );
  return join(await provision('toxiproxy', env, progress), 'toxiproxy-server');
}
