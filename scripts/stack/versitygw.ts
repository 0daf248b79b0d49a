/**
 * An S3-compatible server (versitygw) as a process of ours, for tests and whoever wants to try a lake in a bucket. Guarantee: it
 * listens on 127.0.0.1; started on demand, never by `npm start`; what an earlier run left in the same folder is ended first, and
 * only a process that is recorded as ours, by pid and start time, is ever signalled.
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

export interface S3Server {
  readonly endpoint: string;
  readonly region: string;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
  /** The same as variables, for other processes. */
  readonly env: Readonly<Record<string, string>>;
  /** A bucket is a folder here, and an object a file in it. @returns its URL */
  createBucket(name: string): Promise<string>;
  stop(): Promise<void>;
}

const region = 'us-east-1';
/** For a server on loopback that ends with its test. */
const credentials = { accessKeyId: 'reckon', secretAccessKey: 'reckon-secret' };
const readyMs = 15_000;
const stopMs = 5_000;
const recordSchema = z.object({ pid: z.number().int().positive(), startedAt: z.string() });

/** @param dir the server keeps its data, its log and its record in `versitygw` of this folder */
export async function startS3Server(
  dir: string,
  progress: Progress,
  env: NodeJS.ProcessEnv = process.env,
): Promise<S3Server> {
  const program = await findProgram(env, progress);
  await stopS3Server(dir);
  const paths = layoutOf(dir);
  await mkdir(paths.data, { recursive: true });
  const port = await chooseOwnPort();
  const endpoint = `http://127.0.0.1:${port}`;
  const options = ['--port', `127.0.0.1:${port}`, '--region', region, '--health', '/health'];
  // Not with --keep-alive: of some thousand streamed puts, the end of one is then taken for the next request (400 BadRequest).
  const args = [...options, '--quiet', 'posix', paths.data];
  const keys = {
    ROOT_ACCESS_KEY: credentials.accessKeyId,
    ROOT_SECRET_KEY: credentials.secretAccessKey,
  };
  const started = await startDetached({ program, args, env: keys, cwd: paths.folder }, paths.logFile);
  await writeFile(paths.record, JSON.stringify(started.identity satisfies ProcessIdentity));
  const deadlineMs = Date.now() + readyMs;
  while (!(await answers(endpoint))) {
    if (started.exited() || Date.now() > deadlineMs) {
      await stopS3Server(dir);
      throw new ReckonError(
        'unreachable',
        `The S3 server does not answer: ${await lastLineOf(paths.logFile)}.`,
        `Its log: ${paths.logFile}`,
      );
    }
    await sleep(20);
  }
  return {
    endpoint,
    region,
    credentials,
    env: {
      AWS_ENDPOINT_URL_S3: endpoint,
      AWS_REGION: region,
      AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    },
    createBucket: async (name) => {
      await mkdir(join(paths.data, name), { recursive: true });
      return `s3://${name}`;
    },
    stop: async () => {
      // Also where the folder with the record is gone already.
      await terminate(started.identity, stopMs);
      await stopS3Server(dir);
    },
  };
}

/** Ends the server that is recorded in the folder, if it still runs; its data stays. */
export async function stopS3Server(dir: string): Promise<void> {
  const { record } = layoutOf(dir);
  const text = await readFile(record, 'utf8').catch(() => null);
  if (text === null) return;
  await terminate(recordSchema.parse(JSON.parse(text)), stopMs);
  await rm(record, { force: true });
}

function layoutOf(dir: string) {
  const folder = join(dir, 'versitygw');
  return {
    folder,
    data: join(folder, 'data'),
    record: join(folder, 'process.json'),
    logFile: join(folder, 'versitygw.log'),
  };
}

async function answers(endpoint: string): Promise<boolean> {
  try {
    return (await fetch(`${endpoint}/health`, { signal: AbortSignal.timeout(1_000) })).ok;
  } catch {
    return false; // Not yet; the caller's deadline tells.
  }
}

/** On PATH, else in the cache, else built into it. */
async function findProgram(env: NodeJS.ProcessEnv, progress: Progress): Promise<string> {
  const onPath = await findOnPath('versitygw', env.PATH);
  if (onPath !== null) return onPath;
  if (!isProvisioned('versitygw', cacheDir(env)) && (await findOnPath('go', env.PATH)) === null)
    throw new ReckonError(
      'missing-program',
      'An S3 server needs versitygw on PATH, or Go to build it; neither was found.',
      `Install one (with Go: github.com/versity/versitygw/cmd/versitygw@v${versions.versitygw}).`,
    );
  return join(await provision('versitygw', env, progress), 'versitygw');
}
