/**
 * Where everything is: read from the environment once, at the start of a process. Guarantee: an endpoint comes from its
 * environment variable, else from the local stack that runs (`.reckon/stack.json`), else from the usual port.
 */
import { dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { ReckonError } from '../domain/errors.ts';
import { readStackState } from '../scripts/stack/state.ts';

export const projectRoot = join(dirname(fileURLToPath(import.meta.url)), '..');

const port = z.coerce.number().int().min(0).max(65_535);
const environment = z.object({
  KAFKA_BROKERS: z
    .string()
    .regex(/^[^\s,:]+:\d+(,[^\s,:]+:\d+)*$/, 'must be host:port[,host:port]')
    .optional(),
  REDIS_URL: z
    .string()
    .refine((url) => redisNodes(url).every((node) => /^rediss?:\/\//.test(node) && URL.canParse(node)), {
      message: 'must be redis://host:port or rediss://host:port, for nodes of a cluster several with commas',
      abort: true,
    })
    .refine(
      (url) => new Set(redisNodes(url).map(accessOf)).size === 1,
      'names nodes with different passwords or schemes',
    )
    .optional(),
  TEMPORAL_ADDRESS: z
    .string()
    .regex(/^[^\s:]+:\d+$/, 'must be host:port')
    .optional(),
  TEMPORAL_UI_URL: z.string().optional(),
  TEMPORAL_NAMESPACE: z.string().default('default'),
  TEMPORAL_TASK_QUEUE: z.string().default('reckon'),
  LAKE_URL: z
    .string()
    .refine(
      (url) => lakeOf(url) !== null,
      'must be s3://bucket[/prefix], file:///folder, or the path of a folder',
    )
    .optional(),
  LAKE_CACHE_BYTES: z.coerce
    .number()
    .int()
    .min(0)
    .default(10 * 2 ** 30),
  LAKE_COLD_DIR: z.string().optional(),
  LAKE_COLD_CLASS: z
    .string()
    .regex(/^[A-Z][A-Z0-9_]*$/, 'must be a storage class of the bucket, such as STANDARD_IA')
    .refine(
      (name) => name !== 'GLACIER' && name !== 'DEEP_ARCHIVE',
      'must be a class whose objects can be read at once, such as STANDARD_IA or GLACIER_IR',
    )
    .optional(),
  REPORTS_DIR: z.string().optional(),
  RECKON_HOME: z.string().optional(),
  RECKON_PIPELINE: z.string().optional(),
  API_HOST: z.string().default('127.0.0.1'),
  API_PORT: port.default(8080),
  FLUSH_MS: z.coerce.number().int().min(1).max(60_000).default(100),
  ARCHIVE_ROLL_MS: z.coerce.number().int().min(1).max(3_600_000).default(2_000),
  // Files may be made in two buffers of so much, whatever the size of the topic.
  ARCHIVE_ROLL_ROWS: z.coerce.number().int().min(1).max(2_000_000).default(400_000),
  ARCHIVE_ROLL_BYTES: z.coerce.number().int().min(1).max(268_435_456).default(67_108_864),
  LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
});

/** A bucket's URL, or an absolute path; null where it is neither. */
function lakeOf(url: string): string | null {
  if (!/^[a-z][a-z0-9+.-]+:/i.test(url)) return resolve(url);
  if (url.startsWith('file:///')) return URL.canParse(url) ? resolve(fileURLToPath(url)) : null;
  // Names of buckets as S3 allows them; of a prefix, every part has a name.
  const [, bucket, prefix = ''] =
    /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:\/[^/]+)*)\/?$/.exec(url) ?? [];
  return bucket === undefined ? null : `s3://${bucket}${prefix}`;
}

/** @returns whether an absolute path is that of the folder, or of something in it; a bucket's URL is no path */
function isWithin(path: string, folder: string): boolean {
  if (!isAbsolute(path) || !isAbsolute(folder)) return false;
  const way = relative(folder, path);
  return way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

/** The URLs of REDIS_URL: a comma in a password has to be written as %2C. */
function redisNodes(url: string): string[] {
  return url.split(',').map((node) => node.trim());
}

/** Nodes of a cluster tell each other's addresses, and no more: what else a URL says has to hold for all of them. */
function accessOf(node: string): string {
  const { protocol, username, password } = new URL(node);
  return JSON.stringify([protocol, username, password]);
}

export interface Config {
  readonly kafkaBrokers: string;
  /** One server, or nodes of a Redis Cluster, separated by commas. */
  readonly redisUrl: string;
  readonly temporalAddress: string;
  readonly temporalUiUrl: string | null;
  readonly temporalNamespace: string;
  readonly temporalTaskQueue: string;
  /** Where the Delta tables are: `s3://bucket[/prefix]`, or the absolute path of a folder. */
  readonly lakeUrl: string;
  /** What local copies of a lake in a bucket may take. */
  readonly lakeCacheBytes: number;
  /** Folder on another disk for the cold files of a local lake; null: they stay below the lake. */
  readonly lakeColdDir: string | null;
  /** Storage class of the cold files of a lake in a bucket; null: the bucket's own. */
  readonly lakeColdClass: string | null;
  readonly reportsDir: string;
  /** Folder of the local stack's data, logs and state. */
  readonly home: string;
  /** Absolute paths of the pipelines' definitions. */
  readonly pipelineFiles: readonly string[];
  readonly apiHost: string;
  readonly apiPort: number;
  readonly flushMs: number;
  /** When the archiver writes what it has read. */
  readonly archiveRolling: { readonly rollMs: number; readonly rollRows: number; readonly rollBytes: number };
  readonly logLevel: string;
}

/** @throws ReckonError `invalid-config`, naming the variable. */
export function readConfig(env: NodeJS.ProcessEnv = process.env): Config {
  const set = Object.fromEntries(
    Object.entries(env).filter(([, value]) => value !== undefined && value !== ''),
  );
  const parsed = environment.safeParse(set);
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
    throw new ReckonError('invalid-config', `The environment is wrong: ${problems.join('; ')}.`);
  }
  const values = parsed.data;
  const home = resolve(values.RECKON_HOME ?? join(projectRoot, '.reckon'));
  const stack = readStackEndpoints(home);
  const lakeUrl = (values.LAKE_URL === undefined ? null : lakeOf(values.LAKE_URL)) ?? join(home, 'lake');
  const lakeColdDir = values.LAKE_COLD_DIR === undefined ? null : resolve(values.LAKE_COLD_DIR);
  if (lakeColdDir !== null && (isWithin(lakeUrl, lakeColdDir) || isWithin(lakeColdDir, lakeUrl)))
    throw new ReckonError(
      'invalid-config',
      `LAKE_COLD_DIR (${lakeColdDir}) must be apart from the lake's folder (LAKE_URL: ${lakeUrl}), neither inside it nor around it.`,
      'Name a folder on another disk.',
    );
  return {
    kafkaBrokers: values.KAFKA_BROKERS ?? stack.kafkaBrokers ?? '127.0.0.1:9092',
    redisUrl: values.REDIS_URL ?? stack.redisUrl ?? 'redis://127.0.0.1:6379',
    temporalAddress: values.TEMPORAL_ADDRESS ?? stack.temporalAddress ?? '127.0.0.1:7233',
    temporalUiUrl: values.TEMPORAL_UI_URL ?? stack.temporalUiUrl ?? null,
    temporalNamespace: values.TEMPORAL_NAMESPACE,
    temporalTaskQueue: values.TEMPORAL_TASK_QUEUE,
    lakeUrl,
    lakeCacheBytes: values.LAKE_CACHE_BYTES,
    lakeColdClass: values.LAKE_COLD_CLASS ?? null,
    lakeColdDir,
    reportsDir: resolve(values.REPORTS_DIR ?? join(home, 'reports')),
    home,
    pipelineFiles: (values.RECKON_PIPELINE ?? join(projectRoot, 'pipelines', 'flights.ts'))
      .split(',')
      .map((file) => resolve(file.trim())),
    apiHost: values.API_HOST,
    apiPort: values.API_PORT,
    flushMs: values.FLUSH_MS,
    archiveRolling: {
      rollMs: values.ARCHIVE_ROLL_MS,
      rollRows: values.ARCHIVE_ROLL_ROWS,
      rollBytes: values.ARCHIVE_ROLL_BYTES,
    },
    logLevel: values.LOG_LEVEL,
  };
}

/** The variables that make another process see the same configuration. */
export function toEnvironment(config: Config): Record<string, string> {
  return {
    KAFKA_BROKERS: config.kafkaBrokers,
    REDIS_URL: config.redisUrl,
    TEMPORAL_ADDRESS: config.temporalAddress,
    ...(config.temporalUiUrl === null ? {} : { TEMPORAL_UI_URL: config.temporalUiUrl }),
    TEMPORAL_NAMESPACE: config.temporalNamespace,
    TEMPORAL_TASK_QUEUE: config.temporalTaskQueue,
    LAKE_URL: config.lakeUrl,
    LAKE_CACHE_BYTES: String(config.lakeCacheBytes),
    ...(config.lakeColdClass === null ? {} : { LAKE_COLD_CLASS: config.lakeColdClass }),
    ...(config.lakeColdDir === null ? {} : { LAKE_COLD_DIR: config.lakeColdDir }),
    REPORTS_DIR: config.reportsDir,
    RECKON_HOME: config.home,
    RECKON_PIPELINE: config.pipelineFiles.join(','),
    API_HOST: config.apiHost,
    API_PORT: String(config.apiPort),
    FLUSH_MS: String(config.flushMs),
    ARCHIVE_ROLL_MS: String(config.archiveRolling.rollMs),
    ARCHIVE_ROLL_ROWS: String(config.archiveRolling.rollRows),
    ARCHIVE_ROLL_BYTES: String(config.archiveRolling.rollBytes),
    LOG_LEVEL: config.logLevel,
  };
}

/** Endpoints of the stack that `npm run stack -- up` started, as far as there are any. */
function readStackEndpoints(home: string) {
  const servers = readStackState(home)?.servers ?? [];
  const server = (name: string) => servers.find((candidate) => candidate.name === name);
  return {
    kafkaBrokers: server('kafka')?.endpoint,
    redisUrl: server('redis')?.endpoint,
    temporalAddress: server('temporal')?.endpoint,
    temporalUiUrl: server('temporal')?.uiUrl,
  };
}
