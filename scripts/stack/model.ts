/**
 * The vocabulary of the local stack: its servers, where each may come from, what is recorded of it, and the pinned
 * versions. Guarantee: types and constants only; every version that the stack provisions is written here and nowhere else.
 */

export const serverNames = ['kafka', 'redis', 'temporal'] as const;
export type ServerName = (typeof serverNames)[number];

/** The versions that are provisioned; `docker-compose.yml` holds the same Kafka. */
export const versions = {
  kafka: '4.1.1',
  /** The logging binding of Kafka's own release; without it the broker logs nothing. */
  log4j: '2.24.3',
  /** The Maven artifact that carries Redis 6.2 server binaries. */
  embeddedRedis: '1.4.3',
  /** The newest Temporal CLI that `go install` can build (1.9.x has replace directives, which `go install` refuses). */
  temporalCli: '1.5.1',
  mavenDependencyPlugin: '3.6.1',
  /** Network faults for tests and chaos. */
  toxiproxy: '2.12.0',
  /** An S3-compatible server, for tests and whoever wants one; from 1.8 on, conditional puts are checked under a lock. */
  versitygw: '1.8.0',
  /** Other readers of the lake, for tests only. */
  deltalake: '1.6.6',
  duckdbPython: '1.5.5',
} as const;

/** What the broker, Redis and Temporal are told, here and in `docker-compose.yml`; a unit test holds them equal. */
export const settings = {
  /** Above the gateway's largest event, so that a batch of large events fits into one message set. */
  kafkaMessageBytesMax: 8 * 1024 * 1024,
  searchAttributes: { ReckonPipeline: 'Keyword', ReckonPhase: 'Keyword', ReckonVerdict: 'Keyword' },
  redis: { appendonly: 'yes', appendfsync: 'everysec', 'maxmemory-policy': 'noeviction', save: '' },
} as const;

/**
 * Every port that the stack may listen on: its usual number, its server, and the environment variable that demands
 * another. Kafka's controller listener is internal, so nobody needs to know its number.
 */
export const portTable = {
  kafka: { server: 'kafka', usual: 9092, variable: 'KAFKA_PORT' },
  kafkaController: { server: 'kafka', usual: 9093, variable: 'KAFKA_CONTROLLER_PORT' },
  redis: { server: 'redis', usual: 6379, variable: 'REDIS_PORT' },
  temporal: { server: 'temporal', usual: 7233, variable: 'TEMPORAL_PORT' },
  temporalUi: { server: 'temporal', usual: 8233, variable: 'TEMPORAL_UI_PORT' },
} as const satisfies Record<string, { server: ServerName; usual: number; variable: string }>;
export type PortName = keyof typeof portTable;
export type Ports = Record<PortName, number>;

export const portNames = Object.keys(portTable) as PortName[];

/** Where a running server came from. Only `path` and `provisioned` are processes of ours; `compose` are our containers. */
export type ServerSource = 'configured' | 'compose' | 'path' | 'provisioned';

/** A process that cannot be mistaken for a later one with the same pid. */
export interface ProcessIdentity {
  pid: number;
  /** When it started, in the system's own words; opaque, compared for equality only. */
  startedAt: string;
}

/** One server as `stack.json` records it. `process` is null for servers that are not processes of ours. */
export interface RecordedServer {
  name: ServerName;
  source: ServerSource;
  endpoint: string;
  uiUrl: string | null;
  process: ProcessIdentity | null;
  logFile: string | null;
}

/** `stack.json`: what this stack has started and where it listens. */
export interface StackState {
  version: 1;
  ports: Ports;
  servers: RecordedServer[];
}

export type Health = 'healthy' | 'not answering' | 'dead' | 'stopped';

/** One server as `status` shows it. */
export interface ServerState extends RecordedServer {
  health: Health;
  /** True when the call that returned this state started the server, rather than found it running. */
  startedHere: boolean;
}

export type Progress = (line: string) => void;
