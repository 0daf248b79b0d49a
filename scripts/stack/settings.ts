/**
 * How each server is told to run: configuration texts and command lines. Guarantee: pure; every listener is on
 * 127.0.0.1; a restart with other ports keeps the data usable.
 */
import { join } from 'node:path';
import type { Command } from './process.ts';
import { settings, type Ports, type ServerName } from './model.ts';

/** Where the servers of one stack keep everything. */
export function layout(dir: string) {
  return {
    stateFile: join(dir, 'stack.json'),
    lockFile: join(dir, 'stack.lock'),
    logs: join(dir, 'logs'),
    logFile: (name: ServerName) => join(dir, 'logs', `${name}.log`),
    serverDir: (name: ServerName) => join(dir, name),
    kafkaData: join(dir, 'kafka', 'data'),
    /** Present once the broker's storage has been formatted to the end. */
    kafkaFormatted: join(dir, 'kafka', 'formatted'),
    kafkaProperties: join(dir, 'kafka', 'server.properties'),
    log4j: join(dir, 'kafka', 'log4j2.xml'),
    redisConf: join(dir, 'redis', 'redis.conf'),
    /** Present where the server is a node of a Redis Cluster. */
    redisClusterConf: join(dir, 'redis', 'cluster.conf'),
    temporalDb: join(dir, 'temporal', 'temporal.db'),
  };
}

/** What the broker is told besides its listeners and folders; `docker-compose.yml` must say the same. */
export const kafkaSettings: Record<string, string> = {
  'auto.create.topics.enable': 'false',
  'group.initial.rebalance.delay.ms': '0',
  'message.max.bytes': String(settings.kafkaMessageBytesMax),
  'offsets.topic.replication.factor': '1',
  // The default of 50 makes the first consumer group wait for 50 new partitions.
  'offsets.topic.num.partitions': '4',
  'transaction.state.log.replication.factor': '1',
  'transaction.state.log.min.isr': '1',
  'transaction.state.log.num.partitions': '4',
  'share.coordinator.state.topic.replication.factor': '1',
  'share.coordinator.state.topic.min.isr': '1',
  'default.replication.factor': '1',
  'min.insync.replicas': '1',
  // A killed broker may register again only when its old session has ended; the default is 9 seconds.
  'broker.session.timeout.ms': '5000',
  'broker.heartbeat.interval.ms': '1000',
};

/**
 * server.properties of one KRaft process that is broker and controller. The voters are listed statically: a dynamic
 * quorum would store the controller's port in its log, and another port after a restart would find no quorum.
 */
export function kafkaProperties(ports: Ports, dataDir: string): string {
  const properties: Record<string, string> = {
    'process.roles': 'broker,controller',
    'node.id': '1',
    'controller.quorum.voters': `1@127.0.0.1:${ports.kafkaController}`,
    'controller.listener.names': 'CONTROLLER',
    listeners: `PLAINTEXT://127.0.0.1:${ports.kafka},CONTROLLER://127.0.0.1:${ports.kafkaController}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${ports.kafka}`,
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
    'inter.broker.listener.name': 'PLAINTEXT',
    'log.dirs': dataDir,
    // The default of 128 MB is a sixth of the heap for a few compacted internal topics.
    'log.cleaner.dedupe.buffer.size': '33554432',
    ...kafkaSettings,
  };
  return Object.entries(properties)
    .map(([key, value]) => `${key}=${value}\n`)
    .join('');
}

/** Warnings and the broker's own milestones to standard output, which is the log file. */
export const log4jConfiguration = `<Configuration status="error">
  <Appenders><Console name="out"><PatternLayout pattern="%d{ISO8601} %-5p %m (%c{1})%n"/></Console></Appenders>
  <Loggers>
    <Root level="warn"><AppenderRef ref="out"/></Root>
    <Logger name="kafka.server.KafkaRaftServer" level="info"/>
    <Logger name="kafka.Kafka" level="info"/>
  </Loggers>
</Configuration>
`;

/** @param includes a further file of settings, or null */
export function redisConf(port: number, dataDir: string, includes: string | null = null): string {
  const lines = [
    `port ${port}`,
    'bind 127.0.0.1',
    'daemonize no',
    `dir ${JSON.stringify(dataDir)}`,
    ...Object.entries(settings.redis).map(([key, value]) => `${key} ${value === '' ? '""' : value}`),
    ...(includes === null ? [] : [`include ${JSON.stringify(includes)}`]),
  ];
  return `${lines.join('\n')}\n`;
}

/**
 * What makes a server a node of a cluster. A node that is away is noticed within two seconds, for tests; the address is
 * told, as a node otherwise learns it from the first that meets it.
 */
export const redisClusterConf = [
  'cluster-enabled yes',
  'cluster-config-file nodes.conf',
  'cluster-node-timeout 2000',
  'cluster-announce-ip 127.0.0.1',
  '',
].join('\n');

/** How to reach the programs of a server, whatever their source. */
export type Program =
  | { name: 'kafka'; kind: 'jars'; java: string; libs: string }
  | { name: 'kafka'; kind: 'scripts'; start: string; storage: string }
  | { name: 'redis'; server: string }
  | { name: 'temporal'; cli: string };

/** Enough for a 200 MB log segment's worth of work in tests and samples; capped so that a laptop stays usable. */
const kafkaHeap = ['-Xms256m', '-Xmx768m'];

/** The command that runs the server in the foreground. */
export function serverCommand(program: Program, dir: string, ports: Ports): Command {
  const paths = layout(dir);
  const cwd = paths.serverDir(program.name);
  switch (program.name) {
    case 'kafka':
      return program.kind === 'jars'
        ? { cwd, ...kafkaJava(program, dir, 'kafka.Kafka', [paths.kafkaProperties]) }
        : { cwd, program: program.start, args: [paths.kafkaProperties], env: scriptsEnv(dir) };
    case 'redis':
      return { cwd, program: program.server, args: [paths.redisConf] };
    case 'temporal':
      return { cwd, program: program.cli, args: temporalArguments(paths.temporalDb, ports) };
  }
}

/** A cluster id from 16 random bytes; one that began with `-` would be taken for an option by Kafka's own tool. */
export function kafkaClusterId(bytes: Buffer): string {
  return bytes.toString('base64url').replace(/^-/, '_');
}

/** The command that formats the broker's storage, once. */
export function kafkaFormatCommand(
  program: Program & { name: 'kafka' },
  dir: string,
  clusterId: string,
): Command {
  const args = ['format', '-t', clusterId, '-c', layout(dir).kafkaProperties];
  const cwd = layout(dir).serverDir('kafka');
  return program.kind === 'jars'
    ? { cwd, ...kafkaJava(program, dir, 'kafka.tools.StorageTool', args) }
    : { cwd, program: program.storage, args, env: scriptsEnv(dir) };
}

function kafkaJava(program: { java: string; libs: string }, dir: string, main: string, args: string[]) {
  const options = [...kafkaHeap, '-XX:+ExitOnOutOfMemoryError', '-Djava.awt.headless=true'];
  const logging = `-Dlog4j2.configurationFile=${layout(dir).log4j}`;
  return {
    program: program.java,
    args: [...options, logging, '-cp', join(program.libs, '*'), main, ...args],
  };
}

/** Kafka's own scripts read their options from the environment; their rotating logs go to the stack's folder. */
function scriptsEnv(dir: string): Record<string, string> {
  return { KAFKA_HEAP_OPTS: kafkaHeap.join(' '), LOG_DIR: layout(dir).logs };
}

export function temporalArguments(dbFile: string, ports: Ports): string[] {
  const attributes = Object.entries(settings.searchAttributes).flatMap(([name, type]) => [
    '--search-attribute',
    `${name}=${type}`,
  ]);
  const listen = [
    '--ip',
    '127.0.0.1',
    '--port',
    String(ports.temporal),
    '--ui-port',
    String(ports.temporalUi),
  ];
  return ['server', 'start-dev', '--db-filename', dbFile, ...listen, '--log-level', 'warn', ...attributes];
}

/** What clients are told. */
export function endpointOf(name: ServerName, ports: Ports): string {
  return name === 'redis' ? `redis://127.0.0.1:${ports.redis}` : `127.0.0.1:${ports[name]}`;
}
