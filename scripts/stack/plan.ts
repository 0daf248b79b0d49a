/**
 * Where each server comes from. Guarantee: pure; the order is configured endpoint, Docker Compose where an engine
 * answers, a server on PATH, the per-user cache, provisioning; what cannot be had is a tagged outcome that names
 * what is missing and how to get it.
 */
import { versions, type ServerName } from './model.ts';

/** What was found on this machine. A null path means: not there. */
export interface Found {
  engineAnswers: boolean;
  redisServer: { path: string; version: [number, number] | null } | null;
  temporal: string | null;
  kafkaServerStart: string | null;
  /** The major version of the Java that would be used, and its path. */
  java: { path: string; major: number } | null;
  maven: string | null;
  go: string | null;
  cached: Record<ServerName, boolean>;
  platform: { os: string; arch: string };
}

export type Step =
  | { kind: 'configured'; name: ServerName; endpoint: string; variable: string }
  | { kind: 'compose'; name: ServerName }
  | { kind: 'path'; name: ServerName; program: string }
  | { kind: 'cached'; name: ServerName }
  | { kind: 'provision'; name: ServerName }
  | { kind: 'impossible'; name: ServerName; missing: string; hint: string };

export const endpointVariables: Record<ServerName, string> = {
  kafka: 'KAFKA_BROKERS',
  redis: 'REDIS_URL',
  temporal: 'TEMPORAL_ADDRESS',
};

export interface PlanOptions {
  /** Own processes only: neither configured endpoints nor containers. The tests kill and restart what they use. */
  ownProcessesOnly?: boolean;
}

/** The oldest Java that Kafka 4 runs on, and the oldest Redis whose commands the speed layer uses. */
export const javaMajorMin = 17;
export const redisVersionMin: [number, number] = [6, 2];

/** One step for each wanted server, in the order of `wanted`. */
export function planStack(
  env: Record<string, string | undefined>,
  found: Found,
  wanted: readonly ServerName[],
  options: PlanOptions = {},
): Step[] {
  return wanted.map((name) => {
    const variable = endpointVariables[name];
    const endpoint = env[variable]?.trim() ?? '';
    if (options.ownProcessesOnly !== true) {
      if (endpoint !== '') return { kind: 'configured', name, endpoint, variable };
      if (found.engineAnswers) return { kind: 'compose', name };
    }
    return planOwnProcess(name, found);
  });
}

/** The step for a server that is to be a process of ours. */
export function planOwnProcess(name: ServerName, found: Found): Step {
  switch (name) {
    case 'kafka':
      return planKafka(found);
    case 'redis':
      return planRedis(found);
    case 'temporal':
      return planTemporal(found);
  }
}

function planKafka(found: Found): Step {
  const name = 'kafka';
  if (found.java === null || found.java.major < javaMajorMin) {
    const has = found.java === null ? 'none was found' : `Java ${found.java.major} was found`;
    return impossible(
      name,
      `Kafka needs a JDK ${javaMajorMin} or newer; ${has}.`,
      `Install one (Debian, Ubuntu: apt-get install openjdk-17-jdk-headless; macOS: brew install openjdk@17)`,
    );
  }
  if (found.kafkaServerStart !== null) return { kind: 'path', name, program: found.kafkaServerStart };
  if (found.cached.kafka) return { kind: 'cached', name };
  if (found.maven === null) return missingMaven(name, 'Kafka');
  return { kind: 'provision', name };
}

function planRedis(found: Found): Step {
  const name = 'redis';
  if (found.redisServer !== null && !isOlder(found.redisServer.version)) {
    return { kind: 'path', name, program: found.redisServer.path };
  }
  const hint = 'Install Redis (Debian, Ubuntu: apt-get install redis-server; macOS: brew install redis)';
  if (redisBinaryFor(found.platform) === null) {
    const { os, arch } = found.platform;
    return impossible(name, `There is no Redis to provision for ${os} on ${arch}.`, hint);
  }
  if (found.cached.redis) return { kind: 'cached', name };
  if (found.maven === null) return missingMaven(name, 'Redis');
  return { kind: 'provision', name };
}

function isOlder(version: [number, number] | null): boolean {
  if (version === null) return true;
  const [major, minor] = redisVersionMin;
  return version[0] < major || (version[0] === major && version[1] < minor);
}

function planTemporal(found: Found): Step {
  const name = 'temporal';
  if (found.temporal !== null) return { kind: 'path', name, program: found.temporal };
  if (found.cached.temporal) return { kind: 'cached', name };
  if (found.go === null) {
    return impossible(
      name,
      'Temporal needs its CLI on PATH, or Go to build it; neither was found.',
      `Install one (macOS: brew install temporal; with Go: go install github.com/temporalio/cli/cmd/temporal@v${versions.temporalCli})`,
    );
  }
  return { kind: 'provision', name };
}

function missingMaven(name: ServerName, label: string): Step {
  return impossible(
    name,
    `${label} is neither on PATH nor provisioned yet, and provisioning it needs Maven (mvn), which was not found.`,
    'Install it (Debian, Ubuntu: apt-get install maven; macOS: brew install maven)',
  );
}

function impossible(name: ServerName, missing: string, install: string): Step {
  const hint = `${install}, or start Docker, or set ${endpointVariables[name]} to a server you have.`;
  return { kind: 'impossible', name, missing, hint };
}

/** The file inside the Maven artifact `embedded-redis` for a platform, or null where it has none. */
export function redisBinaryFor(platform: { os: string; arch: string }): string | null {
  const binaries: Record<string, string> = {
    'linux x64': 'redis-server-6.2.6-v5-linux-amd64',
    'linux arm64': 'redis-server-6.2.7-linux-arm64',
    'linux ia32': 'redis-server-6.2.7-linux-386',
    'darwin x64': 'redis-server-6.2.6-v5-darwin-amd64',
    'darwin arm64': 'redis-server-6.2.6-v5-darwin-arm64',
  };
  return binaries[`${platform.os} ${platform.arch}`] ?? null;
}
