/**
 * An S3-compatible server (versitygw), for tests and whoever wants to try a lake in a bucket. Guarantee: it listens on 127.0.0.1.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { versions, type Progress } from './model.ts';
import { chooseOwnPort } from './ports.ts';
import { folderOf, startSideServer, type SideServer } from './side-server.ts';

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
const server: SideServer = {
  name: 'versitygw',
  label: 'The S3 server',
  program: 'versitygw',
  missing: {
    message: 'An S3 server needs versitygw on PATH, or Go to build it; neither was found.',
    hint: `Install one (with Go: github.com/versity/versitygw/cmd/versitygw@v${versions.versitygw}).`,
  },
};

/** @param dir the server keeps its data, its log and its record in `versitygw` of this folder */
export async function startS3Server(
  dir: string,
  progress: Progress,
  env: NodeJS.ProcessEnv = process.env,
): Promise<S3Server> {
  const data = join(folderOf(server, dir), 'data');
  await mkdir(data, { recursive: true });
  const port = await chooseOwnPort();
  const endpoint = `http://127.0.0.1:${port}`;
  const options = ['--port', `127.0.0.1:${port}`, '--region', region, '--health', '/health'];
  // Not with --keep-alive: of some thousand streamed puts, the end of one is then taken for the next request (400 BadRequest).
  const args = [...options, '--quiet', 'posix', data];
  const keys = {
    ROOT_ACCESS_KEY: credentials.accessKeyId,
    ROOT_SECRET_KEY: credentials.secretAccessKey,
  };
  const how = { args, env: keys, answers: () => answers(endpoint) };
  const stop = await startSideServer(server, dir, how, progress, env);
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
      await mkdir(join(data, name), { recursive: true });
      return `s3://${name}`;
    },
    stop,
  };
}

async function answers(endpoint: string): Promise<boolean> {
  try {
    return (await fetch(`${endpoint}/health`, { signal: AbortSignal.timeout(1_000) })).ok;
  } catch {
    return false; // Not yet; the caller's deadline tells.
  }
}
