/**
 * Fetches or builds a server into the per-user cache: Kafka and Redis with Maven, Temporal, Toxiproxy and versitygw with Go; and
 * other readers of the lake with pip. Guarantee: each pinned version is made once; two processes that provision at the same moment do not disturb each other (one works, the
 * other waits and says so); a half-made server is never seen, because a finished one appears by one rename.
 */
import { existsSync } from 'node:fs';
import { chmod, cp, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { ReckonError } from '../../domain/errors.ts';
import { execute, type Executed } from './execute.ts';
import { withLock } from './lock.ts';
import { versions, type Progress, type ServerName } from './model.ts';
import { redisBinaryFor } from './plan.ts';

/** Modules and packages that one build of the Temporal CLI reads, measured; only for "how far". */
const temporalBuild = { modules: 160, packages: 1_300 };

/** What can be provisioned: the servers of the stack, and what only tests and chaos need. */
export type ProvisionedName = ServerName | 'toxiproxy' | 'versitygw' | 'lake-readers';

/** RECKON_CACHE, else $XDG_CACHE_HOME/reckon, else ~/.cache/reckon. */
export function cacheDir(env: NodeJS.ProcessEnv): string {
  if (env.RECKON_CACHE !== undefined && env.RECKON_CACHE !== '') return env.RECKON_CACHE;
  const { XDG_CACHE_HOME: xdg } = env;
  return join(xdg === undefined || xdg === '' ? join(homedir(), '.cache') : xdg, 'reckon');
}

/** The folder of a provisioned server; its name holds everything that decides its content. */
export function provisionedDir(name: ProvisionedName, cache: string): string {
  const folders: Record<ProvisionedName, string> = {
    kafka: `kafka-${versions.kafka}-log4j-${versions.log4j}`,
    redis: `redis-embedded-${versions.embeddedRedis}-${process.platform}-${process.arch}`,
    temporal: `temporal-${versions.temporalCli}-${process.platform}-${process.arch}`,
    toxiproxy: `toxiproxy-${versions.toxiproxy}-${process.platform}-${process.arch}`,
    versitygw: `versitygw-${versions.versitygw}-${process.platform}-${process.arch}`,
    'lake-readers': `lake-readers-${versions.deltalake}-${versions.duckdbPython}-s3-${process.platform}-${process.arch}`,
  };
  return join(cache, folders[name]);
}

export function isProvisioned(name: ProvisionedName, cache: string): boolean {
  return existsSync(provisionedDir(name, cache));
}

/** Makes sure that the server is in the cache and returns its folder. */
export async function provision(
  name: ProvisionedName,
  env: NodeJS.ProcessEnv,
  progress: Progress,
): Promise<string> {
  const cache = cacheDir(env);
  const target = provisionedDir(name, cache);
  if (existsSync(target)) return target;
  const onWait = (holder: string): void => progress(`${name}: ${holder} is provisioning it; waiting`);
  return withLock(`${target}.lock`, onWait, async () => {
    if (existsSync(target)) return target;
    await removeDrafts(target);
    const draft = await mkdtemp(`${target}.draft-`);
    const startedMs = Date.now();
    try {
      await make[name](draft, env, (line) => progress(`${name}: ${line}`));
      await rename(draft, target);
    } catch (error) {
      // A lock lost while the machine slept: somebody else has published the same thing.
      if (!existsSync(target)) throw error;
    } finally {
      await rm(draft, { recursive: true, force: true });
    }
    progress(`${name}: provisioned in ${seconds(startedMs)}`);
    return target;
  });
}

/** What a killed attempt left behind; nobody else is at work while we hold the lock. */
async function removeDrafts(target: string): Promise<void> {
  const siblings = await readdir(dirname(target));
  const drafts = siblings.filter((name) => name.startsWith(`${basename(target)}.draft-`));
  await Promise.all(drafts.map((name) => rm(join(dirname(target), name), { recursive: true, force: true })));
}

type Make = (dir: string, env: NodeJS.ProcessEnv, progress: Progress) => Promise<void>;

const make: Record<ProvisionedName, Make> = {
  kafka: makeKafka,
  redis: makeRedis,
  temporal: makeTemporal,
  toxiproxy: makeToxiproxy,
  versitygw: makeVersitygw,
  'lake-readers': makeLakeReaders,
};

/** All jars of the broker and its tools, as Maven resolves them, in `libs/`. */
async function makeKafka(dir: string, env: NodeJS.ProcessEnv, progress: Progress): Promise<void> {
  const dependency = (group: string, artifact: string, version: string): string =>
    `<dependency><groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${version}</version></dependency>`;
  const pom = [
    '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>',
    '<groupId>reckon</groupId><artifactId>kafka-libs</artifactId><version>1</version><dependencies>',
    dependency('org.apache.kafka', 'kafka_2.13', versions.kafka),
    dependency('org.apache.kafka', 'kafka-tools', versions.kafka),
    dependency('org.apache.logging.log4j', 'log4j-slf4j-impl', versions.log4j),
    '</dependencies></project>',
  ].join('\n');
  await writeFile(join(dir, 'pom.xml'), pom);
  progress(`fetching Kafka ${versions.kafka} with Maven (about 55 MB, half a minute, once)`);
  await maven(
    'copy-dependencies',
    ['-f', join(dir, 'pom.xml'), `-DoutputDirectory=${join(dir, 'libs')}`],
    dir,
    env,
    progress,
  );
}

/** The server's binary for this platform, unpacked from its jar by Maven itself, as `redis-server`. */
async function makeRedis(dir: string, env: NodeJS.ProcessEnv, progress: Progress): Promise<void> {
  const binary = redisBinaryFor({ os: process.platform, arch: process.arch });
  if (binary === null)
    throw new ReckonError('missing-program', `There is no Redis for ${process.platform} ${process.arch}.`);
  const unpacked = join(dir, 'unpacked');
  progress('fetching a Redis 6.2 server with Maven (about 10 MB, once)');
  const artifact = `com.github.codemonstur:embedded-redis:${versions.embeddedRedis}`;
  await maven(
    'unpack',
    [`-Dartifact=${artifact}`, `-DoutputDirectory=${unpacked}`, `-Dmdep.unpack.includes=${binary}`],
    dir,
    env,
    progress,
  );
  const server = join(dir, 'redis-server');
  await cp(join(unpacked, binary), server);
  await chmod(server, 0o755);
  await rm(unpacked, { recursive: true });
}

/** Runs one goal of Maven's dependency plugin, telling how many files have arrived. */
async function maven(
  goal: string,
  args: string[],
  cwd: string,
  env: NodeJS.ProcessEnv,
  progress: Progress,
): Promise<void> {
  const plugin = `org.apache.maven.plugins:maven-dependency-plugin:${versions.mavenDependencyPlugin}`;
  let files = 0;
  const onLine = (line: string): void => {
    if (line.includes('Downloaded from')) files += 1;
  };
  const describe = (): string => `${files} files downloaded`;
  // Two Mavens must not write to one local repository at the same time (its files are not locked before Maven 4).
  const done = await withLock(
    join(cacheDir(env), 'maven.lock'),
    () => undefined,
    () => {
      return withTicks(progress, describe, () =>
        execute('mvn', ['-B', `${plugin}:${goal}`, ...args], { cwd, env, onLine }),
      );
    },
  );
  if (done.code === 0) return;
  const reason = /\[ERROR\] (.*)/.exec(done.stdout)?.[1] ?? lastLine(done);
  throw new ReckonError(
    'missing-program',
    `Maven could not fetch it: ${reason}`,
    'Check the network and try again.',
  );
}

/** Builds the CLI, which holds the whole development server, from its module at the pinned version. */
async function makeTemporal(dir: string, env: NodeJS.ProcessEnv, progress: Progress): Promise<void> {
  progress(`building the Temporal CLI ${versions.temporalCli} with Go (5 minutes on two cores, once)`);
  let modules = 0;
  let packages = 0;
  const onLine = (line: string): void => {
    if (line.startsWith('go: downloading')) modules += 1;
    else if (/^[\w.-]+(\/[\w.@~-]+)*$/.test(line)) packages += 1;
  };
  const describe = (): string => {
    if (packages > 0)
      return `${modules} modules downloaded, ${packages} of at most ${temporalBuild.packages} packages compiled`;
    return modules > 0
      ? `${modules} of about ${temporalBuild.modules} modules downloaded`
      : 'go install is at work';
  };
  const source = `github.com/temporalio/cli/cmd/temporal@v${versions.temporalCli}`;
  const built = await withTicks(progress, describe, () => goInstall(source, dir, env, onLine));
  await requireBuilt('temporal', 'the Temporal CLI', dir, built);
}

/** A TCP proxy that delays and cuts connections on demand. Its module calls the program `server`. */
async function makeToxiproxy(dir: string, env: NodeJS.ProcessEnv, progress: Progress): Promise<void> {
  progress(`building Toxiproxy ${versions.toxiproxy} with Go (about 20 s, once)`);
  const source = `github.com/Shopify/toxiproxy/v2/cmd/server@v${versions.toxiproxy}`;
  const built = await withTicks(
    progress,
    () => 'go install is at work',
    () => goInstall(source, dir, env, () => undefined),
  );
  await requireBuilt('server', 'Toxiproxy', dir, built);
  await rename(join(dir, 'server'), join(dir, 'toxiproxy-server'));
}

/** An S3-compatible server on a folder. */
async function makeVersitygw(dir: string, env: NodeJS.ProcessEnv, progress: Progress): Promise<void> {
  progress(`building versitygw ${versions.versitygw} with Go (about a minute, once)`);
  const source = `github.com/versity/versitygw/cmd/versitygw@v${versions.versitygw}`;
  const built = await withTicks(
    progress,
    () => 'go install is at work',
    () => goInstall(source, dir, env, () => undefined),
  );
  await requireBuilt('versitygw', 'versitygw', dir, built);
}

/** delta-rs, and DuckDB with its extensions for Delta and S3, as Python packages in one folder (`PYTHONPATH`). */
async function makeLakeReaders(dir: string, env: NodeJS.ProcessEnv, progress: Progress): Promise<void> {
  progress('fetching delta-rs and DuckDB with its extensions with pip (about 100 MB, half a minute, once)');
  const packages = [
    `deltalake==${versions.deltalake}`,
    `duckdb==${versions.duckdbPython}`,
    `duckdb-extension-delta==${versions.duckdbPython}`,
    `duckdb-extension-httpfs==${versions.duckdbPython}`,
  ];
  const args = [
    '-m',
    'pip',
    'install',
    '--quiet',
    '--disable-pip-version-check',
    '--target',
    dir,
    ...packages,
  ];
  const done = await execute('python3', args, { cwd: dir, env, onLine: () => undefined });
  if (done.code !== 0)
    throw new ReckonError(
      'missing-program',
      `pip could not fetch the other readers of the lake: ${lastLine(done)}`,
      'They need python3 with pip, and the network.',
    );
}

function goInstall(
  source: string,
  dir: string,
  env: NodeJS.ProcessEnv,
  onLine: (line: string) => void,
): Promise<Executed> {
  // -v prints each package as it is compiled; what Go's build cache holds already is not compiled again.
  return execute('go', ['install', '-v', source], { cwd: dir, env: { ...env, GOBIN: dir }, onLine });
}

async function requireBuilt(program: string, label: string, dir: string, built: Executed): Promise<void> {
  if (built.code === 0 && (await readdir(dir)).includes(program)) return;
  throw new ReckonError(
    'missing-program',
    `Go could not build ${label}: ${lastLine(built)}`,
    'Check the network and try again.',
  );
}

/** Says how far the work is, every five seconds. */
async function withTicks<T>(progress: Progress, describe: () => string, work: () => Promise<T>): Promise<T> {
  const startedMs = Date.now();
  const ticks = setInterval(() => progress(`${describe()}, ${seconds(startedMs)}`), 5_000);
  try {
    return await work();
  } finally {
    clearInterval(ticks);
  }
}

function seconds(sinceMs: number): string {
  return `${Math.round((Date.now() - sinceMs) / 1_000)} s`;
}

function lastLine({ stdout, stderr }: Executed): string {
  return (stderr.trim() === '' ? stdout : stderr).trim().split('\n').at(-1)?.slice(0, 300) ?? '';
}
