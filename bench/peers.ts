/**
 * The peers, Flink and Kafka Streams, on the same job (`bench/peers`, Java 17): built with Maven into the per-user cache,
 * once for each version of their sources, and run as processes. Guarantee: a half-made build is never seen; a run ends with
 * its own measurements or one clear line.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { cp, mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { ReckonError } from '../domain/errors.ts';
import { discover } from '../scripts/stack/discover.ts';
import { execute } from '../scripts/stack/execute.ts';
import { withLock } from '../scripts/stack/lock.ts';
import { versions } from '../scripts/stack/model.ts';
import { cacheDir } from '../scripts/stack/provision.ts';
import type { Say } from './servers.ts';

export type PeerName = 'flink' | 'kafka-streams';

/** The line that a peer prints. */
export interface PeerRun {
  readonly wallSeconds: number;
  readonly cpuSeconds: number;
  readonly counted: number;
}

export interface Peers {
  readonly java: string;
  /** Folder of each peer's classes and jars. */
  readonly folders: Readonly<Record<PeerName, string>>;
}

const javaNeeded = 17;

/** @throws ReckonError `missing-program` without JDK 17 or Maven, or when Maven fails */
export async function buildPeers(env: NodeJS.ProcessEnv, say: Say): Promise<Peers> {
  const { java, maven } = await discover(env, { askDocker: false });
  if (java === null || java.major < javaNeeded)
    throw new ReckonError('missing-program', `The peers need a JDK ${javaNeeded}.`, 'Install one, on PATH.');
  if (maven === null)
    throw new ReckonError('missing-program', 'The peers are built with Maven.', 'Install mvn, on PATH.');
  // One after the other: two Mavens must not write to one local repository.
  const flink = await build('flink', env, say);
  const kafkaStreams = await build('kafka-streams', env, say);
  return { java: java.path, folders: { flink, 'kafka-streams': kafkaStreams } };
}

async function build(name: PeerName, env: NodeJS.ProcessEnv, say: Say): Promise<string> {
  const source = join(import.meta.dirname, 'peers', name);
  const cache = cacheDir(env);
  const target = join(cache, `peer-${name}-${digestOf(source)}`);
  if (existsSync(target)) return target;
  await mkdir(cache, { recursive: true });
  return withLock(
    join(cache, 'maven.lock'),
    () => say(`${name}: another process uses Maven; waiting`),
    async () => {
      if (existsSync(target)) return target;
      say(`${name}: building with Maven (a minute, once)`);
      const draft = await mkdtemp(`${target}.draft-`);
      try {
        await cp(source, draft, { recursive: true });
        const plugin = `org.apache.maven.plugins:maven-dependency-plugin:${versions.mavenDependencyPlugin}`;
        const goals = ['package', `${plugin}:copy-dependencies`, '-DoutputDirectory=target/libs'];
        const { code, stdout } = await execute('mvn', ['-B', ...goals], { cwd: draft, env });
        if (code !== 0) {
          const reason = /\[ERROR\] (.*)/.exec(stdout)?.[1] ?? `exit code ${code}`;
          throw new ReckonError('missing-program', `Maven could not build ${name}: ${reason}`);
        }
        await rename(draft, target);
      } finally {
        await rm(draft, { recursive: true, force: true });
      }
      return target;
    },
  );
}

/** Of the names and contents of all source files: another source is another build. */
function digestOf(folder: string): string {
  const hash = createHash('sha256');
  const names = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name))
    .sort();
  for (const file of names) hash.update(file.slice(folder.length)).update(readFileSync(file));
  return hash.digest('hex').slice(0, 12);
}

export interface PeerTask {
  readonly kafkaBrokers: string;
  readonly redisUrl: string;
  readonly topic: string;
  readonly records: number;
  /** For checkpoints and state. */
  readonly scratch: string;
  readonly signal: AbortSignal;
}

/** As `../shared/peers/README.md` runs them: two threads each, exactly-once, and a day of grace so that none is dropped. */
const commands: Record<
  PeerName,
  { readonly options: readonly string[]; readonly args: (records: number) => string[] }
> = {
  flink: {
    options: [
      ...['java.util', 'java.lang', 'java.time'].map((name) => `--add-opens=java.base/${name}=ALL-UNNAMED`),
      '-Xmx3g',
    ],
    args: () => ['2'],
  },
  'kafka-streams': {
    options: ['-Xmx2g'],
    args: (records) => [String(records), 'exactly_once_v2', '2', 'redis'],
  },
};

export async function runPeer(name: PeerName, { java, folders }: Peers, task: PeerTask): Promise<PeerRun> {
  const { options, args } = commands[name];
  const classPath = [join(folders[name], 'target', 'classes'), join(folders[name], 'target', 'libs', '*')];
  await mkdir(task.scratch, { recursive: true });
  const child = spawn(
    java,
    [
      ...options,
      `-Djava.io.tmpdir=${task.scratch}`,
      ...['-cp', classPath.join(delimiter), 'peer.Main'],
      ...args(task.records),
    ],
    {
      env: {
        ...process.env,
        KAFKA_BROKERS: task.kafkaBrokers,
        REDIS_URL: task.redisUrl,
        TOPIC: task.topic,
        GRACE_MIN: '1440',
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  const kill = (): void => void child.kill('SIGKILL');
  task.signal.addEventListener('abort', kill);
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr = (stderr + text).slice(-20_000)));
  const code = await new Promise<number | null>((resolve) => {
    child.once('error', () => resolve(null)).once('close', resolve);
  });
  task.signal.removeEventListener('abort', kill);
  task.signal.throwIfAborted();
  const line = stdout.split('\n').find((text) => text.startsWith('{"peer"'));
  if (code !== 0 || line === undefined) {
    const telling = /^(?:Caused by: |Exception in thread).*$/m.exec(stderr)?.[0] ?? `exit code ${code}`;
    throw new ReckonError('unreachable', `${name} did not finish: ${telling}`);
  }
  return JSON.parse(line) as PeerRun;
}
