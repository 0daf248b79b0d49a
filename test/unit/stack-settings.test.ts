/** What the servers are told, where they listen, and what is remembered of them. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseEndpoint } from '../../scripts/stack/health.ts';
import { portNames, portTable, type Ports } from '../../scripts/stack/model.ts';
import { choosePorts, demandedPorts, ownPortRange } from '../../scripts/stack/ports.ts';
import { cacheDir } from '../../scripts/stack/provision.ts';
import {
  endpointOf,
  kafkaClusterId,
  kafkaProperties,
  layout,
  redisConf,
  serverCommand,
  temporalArguments,
} from '../../scripts/stack/settings.ts';
import { forgetServer, readStackState, recordServer } from '../../scripts/stack/state.ts';

const ports: Ports = { kafka: 1001, kafkaController: 1002, redis: 1003, temporal: 1004, temporalUi: 1005 };

describe('settings', () => {
  test('server.properties: one process, loopback only, 8 MB messages, no topics by accident', () => {
    const lines = kafkaProperties(ports, '/data/kafka').trim().split('\n');
    expect(lines).toEqual(
      expect.arrayContaining([
        'process.roles=broker,controller',
        'listeners=PLAINTEXT://127.0.0.1:1001,CONTROLLER://127.0.0.1:1002',
        'advertised.listeners=PLAINTEXT://127.0.0.1:1001',
        'controller.quorum.voters=1@127.0.0.1:1002',
        'log.dirs=/data/kafka',
        'group.initial.rebalance.delay.ms=0',
        'auto.create.topics.enable=false',
        'message.max.bytes=8388608',
        'offsets.topic.replication.factor=1',
      ]),
    );
    // Our topics choose LogAppendTime themselves; the broker's default stays as it is.
    expect(lines.filter((line) => line.startsWith('log.message.timestamp.type'))).toEqual([]);
    expect(new Set(lines.map((line) => line.split('=')[0])).size).toBe(lines.length);
  });

  test('redis.conf: durable, never evicting, loopback only, any folder name', () => {
    expect(redisConf(1003, '/my data/redis').trim().split('\n')).toEqual([
      'port 1003',
      'bind 127.0.0.1',
      'daemonize no',
      'dir "/my data/redis"',
      'appendonly yes',
      'appendfsync everysec',
      'maxmemory-policy noeviction',
      'save ""',
    ]);
    // A node of a cluster is told of it in a file of its own, which a restart keeps.
    expect(redisConf(1003, '/data', '/my data/cluster.conf')).toMatch(
      /\ninclude "\/my data\/cluster\.conf"\n$/,
    );
  });

  test("Temporal's arguments: a database file, loopback, its UI, our search attributes", () => {
    expect(temporalArguments('/data/temporal.db', ports).join(' ')).toBe(
      'server start-dev --db-filename /data/temporal.db --ip 127.0.0.1 --port 1004 --ui-port 1005 --log-level warn ' +
        '--search-attribute ReckonPipeline=Keyword --search-attribute ReckonPhase=Keyword --search-attribute ReckonVerdict=Keyword',
    );
  });

  test('the broker is run with a capped heap, from jars and by scripts alike', () => {
    const jars = serverCommand(
      { name: 'kafka', kind: 'jars', java: '/jdk/java', libs: '/libs' },
      '/stack',
      ports,
    );
    expect(jars.program).toBe('/jdk/java');
    expect(jars.args).toEqual(
      expect.arrayContaining(['-Xmx768m', '/libs/*', 'kafka.Kafka', layout('/stack').kafkaProperties]),
    );
    const scripts = {
      name: 'kafka',
      kind: 'scripts',
      start: '/k/start.sh',
      storage: '/k/storage.sh',
    } as const;
    expect(serverCommand(scripts, '/stack', ports)).toMatchObject({
      program: '/k/start.sh',
      env: { KAFKA_HEAP_OPTS: '-Xms256m -Xmx768m' },
    });
  });

  test('the endpoints that clients are told', () => {
    expect([endpointOf('kafka', ports), endpointOf('redis', ports), endpointOf('temporal', ports)]).toEqual([
      '127.0.0.1:1001',
      'redis://127.0.0.1:1003',
      '127.0.0.1:1004',
    ]);
  });

  test('an endpoint is a host with a port, a list of them, or a URL', () => {
    expect(parseEndpoint('broker:19092,other:1', 9092)).toEqual({ host: 'broker', port: 19092 });
    expect(parseEndpoint('redis://:secret@cache', 6379)).toEqual({ host: 'cache', port: 6379 });
    expect(parseEndpoint('[::1]:7233', 7233)).toEqual({ host: '::1', port: 7233 });
  });

  test('the cache: RECKON_CACHE, else XDG_CACHE_HOME/reckon, else .cache/reckon at home', () => {
    expect(cacheDir({ RECKON_CACHE: '/c', XDG_CACHE_HOME: '/x' })).toBe('/c');
    expect(cacheDir({ XDG_CACHE_HOME: '/x' })).toBe('/x/reckon');
    expect(cacheDir({})).toMatch(/\.cache\/reckon$/);
  });
});

describe('ports', () => {
  const free =
    (...taken: number[]) =>
    async (port: number): Promise<boolean> =>
      !taken.includes(port);
  const inOwnRange = (port: number | undefined): boolean =>
    port !== undefined && port >= ownPortRange.first && port <= ownPortRange.last;

  test('the usual ones where they are free, own ones where not', async () => {
    const chosen = await choosePorts(portNames, { mode: 'usual', demanded: {} }, free(6379));
    expect(chosen).toMatchObject({ kafka: 9092, kafkaController: 9093, temporal: 7233, temporalUi: 8233 });
    expect(inOwnRange(chosen.redis)).toBe(true);
  });

  test('`free` never takes a usual port and never the same twice', async () => {
    // A generator that repeats itself must not lead to equal ports.
    let drawn = 0;
    const random = (): number => (Math.floor(drawn++ / 3) % 97) / 97;
    const previous = { kafka: portTable.kafka.usual };
    const chosen = Object.values(
      await choosePorts(portNames, { mode: 'free', previous, demanded: {} }, free(), random),
    );
    expect(chosen.every(inOwnRange)).toBe(true);
    expect(new Set(chosen).size).toBe(portNames.length);
  });

  test('the ports of a server that died are taken again', async () => {
    const wish = { mode: 'usual', previous: { redis: 23456 }, demanded: {} } as const;
    expect(await choosePorts(['redis'], wish, free())).toEqual({ redis: 23456 });
  });

  test('a demanded port is taken or refused, never replaced', async () => {
    const wish = { mode: 'usual', demanded: demandedPorts({ REDIS_PORT: '7000' }) } as const;
    expect(await choosePorts(['redis'], wish, free())).toEqual({ redis: 7000 });
    await expect(choosePorts(['redis'], wish, free(7000))).rejects.toMatchObject({
      code: 'port-taken',
      message: 'Port 7000 for redis is taken by another process.',
      hint: expect.stringContaining('REDIS_PORT') as string,
    });
  });

  test.each(['http', '0', '70000', '1.5'])('KAFKA_PORT=%s is refused by name', (text) => {
    expect(() => demandedPorts({ KAFKA_PORT: text })).toThrow(`KAFKA_PORT=${text} is not a port.`);
  });
});

describe('stack.json', () => {
  let dir: string;
  beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'reckon-state-'))));
  afterEach(() => rmSync(dir, { recursive: true }));
  const redis = {
    name: 'redis',
    source: 'path',
    endpoint: 'redis://127.0.0.1:1003',
    uiUrl: null,
    process: { pid: 42, startedAt: 'then' },
    logFile: null,
  } as const;

  test('remembers a server until it is forgotten, and its ports beyond', () => {
    expect(readStackState(dir)).toBeNull();
    recordServer(dir, redis, { redis: 1003 });
    expect(readStackState(dir)).toMatchObject({ servers: [redis], ports: { redis: 1003, kafka: 9092 } });
    forgetServer(dir, 'redis');
    expect(readStackState(dir)).toMatchObject({ servers: [], ports: { redis: 1003 } });
  });

  test('a file that is not ours is no stack, so nothing in it is ever killed', () => {
    writeFileSync(layout(dir).stateFile, '{"version":1,"servers":[{"name":"redis","process":{"pid":1}}]}');
    expect(readStackState(dir)).toBeNull();
    writeFileSync(layout(dir).stateFile, '{"version":1,');
    expect(readStackState(dir)).toBeNull();
  });
});

test('no cluster id begins with a dash, whatever the random bytes are', () => {
  const ids = Array.from({ length: 256 }, (_, first) => kafkaClusterId(Buffer.alloc(16, first)));
  expect(ids.filter((id) => id.startsWith('-'))).toEqual([]);
  expect(new Set(ids.map((id) => id.length))).toEqual(new Set([22]));
});
