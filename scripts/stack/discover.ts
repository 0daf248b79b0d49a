/**
 * Looks at this machine for what the plan needs to know. Guarantee: starts nothing that stays and changes nothing; what is
 * only half there (a Docker client without an engine, a Java too old to say its version) counts as not there.
 */
import { join } from 'node:path';
import { execute, findOnPath } from './execute.ts';
import type { Found } from './plan.ts';
import { cacheDir, isProvisioned } from './provision.ts';

export interface DiscoverOptions {
  /** Asking a Docker engine takes a moment; it is left out where containers are not wanted. */
  askDocker: boolean;
}

export async function discover(env: NodeJS.ProcessEnv, options: DiscoverOptions): Promise<Found> {
  const path = env.PATH;
  const cache = cacheDir(env);
  const [engineAnswers, java, redisServer, temporal, kafkaServerStart, maven, go] = await Promise.all([
    options.askDocker ? dockerEngineAnswers(path) : false,
    findJava(env),
    findRedis(path),
    findOnPath('temporal', path),
    findFirstOnPath(['kafka-server-start.sh', 'kafka-server-start'], path),
    findOnPath('mvn', path),
    findOnPath('go', path),
  ]);
  return {
    engineAnswers,
    java,
    redisServer,
    temporal,
    kafkaServerStart,
    maven,
    go,
    cached: {
      kafka: isProvisioned('kafka', cache),
      redis: isProvisioned('redis', cache),
      temporal: isProvisioned('temporal', cache),
    },
    platform: { os: process.platform, arch: process.arch },
  };
}

/** An installed client proves nothing: the engine behind it must answer, and have Compose 2.1 or newer (`--wait`). */
async function dockerEngineAnswers(path: string | undefined): Promise<boolean> {
  const docker = await findOnPath('docker', path);
  if (docker === null) return false;
  const info = await execute(docker, ['info', '--format', '{{.ServerVersion}}'], { timeoutMs: 10_000 });
  // An old client exits 0 and prints an empty version when the daemon is away.
  if (info.code !== 0 || !/^\d/.test(info.stdout.trim())) return false;
  const compose = await execute(docker, ['compose', 'version', '--short'], { timeoutMs: 10_000 });
  return compose.code === 0;
}

/** The Java of JAVA_HOME, else of PATH: `openjdk version "17.0.15"`, or `"1.8.0_392"` for the old ones. */
async function findJava(env: NodeJS.ProcessEnv): Promise<Found['java']> {
  const home = env.JAVA_HOME;
  const inHome = home === undefined || home === '' ? null : await findOnPath('java', join(home, 'bin'));
  const path = inHome ?? (await findOnPath('java', env.PATH));
  if (path === null) return null;
  const { code, stdout, stderr } = await execute(path, ['-version'], { timeoutMs: 10_000 });
  const [, first, second] = /version "(\d+)(?:\.(\d+))?/.exec(stderr + stdout) ?? [];
  if (code !== 0 || first === undefined) return null;
  return { path, major: first === '1' ? Number(second) : Number(first) };
}

/** `Redis server v=7.0.15 sha=...` */
async function findRedis(path: string | undefined): Promise<Found['redisServer']> {
  const server = await findOnPath('redis-server', path);
  if (server === null) return null;
  const { stdout } = await execute(server, ['--version'], { timeoutMs: 10_000 });
  const [, major, minor] = /v=(\d+)\.(\d+)/.exec(stdout) ?? [];
  return { path: server, version: major === undefined ? null : [Number(major), Number(minor)] };
}

async function findFirstOnPath(programs: string[], path: string | undefined): Promise<string | null> {
  for (const program of programs) {
    const found = await findOnPath(program, path);
    if (found !== null) return found;
  }
  return null;
}
