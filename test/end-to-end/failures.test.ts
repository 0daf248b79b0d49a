/**
 * What goes wrong at the start of a command is one line that begins with `reckon:`, without a stack trace, and an exit code
 * that is not 0.
 */
import { createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { join } from 'node:path';
import { World, root, sampleFile } from '../support/world.ts';
import type { Ended } from '../support/world.ts';

let world: World;
let taken: Server;
let takenPort: number;
/** Nothing is configured. */
const noServers = { KAFKA_BROKERS: '', REDIS_URL: '', TEMPORAL_ADDRESS: '' };
let runs: Map<Failing, Promise<Ended>>;
/** Nobody listens here: the port was free a moment ago, and is one of those that are not given out by chance. */
const closed = '127.0.0.1:1';

beforeAll(async () => {
  world = new World();
  taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  takenPort = (taken.address() as AddressInfo).port;
  world.define(
    'wrong',
    `{ name: 'wrong', event: { schema: { type: 'object', properties: { id: { type: 'string' }, at: { type: 'string' } } },
      id: 'id', time: 'when' }, aggregates: { daily: { window: { tumbling: '1day' }, measures: { n: 'count' } } } }`,
  );
  runs = runAll();
});
afterAll(async () => {
  taken.close();
  await world.close();
});

/** Exactly one line of Reckon's; further lines are logs (JSON) or progress, never a stack trace. */
function expectOneLine(ended: Ended, line: RegExp): void {
  const lines = ended.stderr.split('\n').filter((text) => text !== '');
  expect({ code: ended.code, lines: lines.filter((text) => !text.startsWith('{')) }).toEqual({
    code: 1,
    lines: [expect.stringMatching(line) as string],
  });
  expect(ended.stderr).not.toMatch(/^\s+at /m);
  expect(ended.stdout).not.toMatch(/^\s+at /m);
}

interface Failing {
  readonly title: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly line: RegExp;
}

const readers = ['stream', 'archive', 'worker', 'serve', 'replay', 'start'];
const argsOf = (command: string): string[] =>
  command === 'replay' ? ['--file', sampleFile('flights-2k.json')] : [];
const silentKafka = /^reckon: Kafka does not answer at 127\.0\.0\.1:1\. .*KAFKA_BROKERS/;
const silentRedis = /^reckon: Redis does not answer at redis:\/\/127\.0\.0\.1:1\. .*REDIS_URL/;
const silentTemporal = /^reckon: Temporal does not answer at 127\.0\.0\.1:1\. .*TEMPORAL_ADDRESS/;

const failing: readonly Failing[] = [
  ...readers.map((command) => ({
    title: `${command}: a wrong definition`,
    command,
    args: argsOf(command),
    env: { RECKON_PIPELINE: 'wrong.ts' },
    line: /^reckon: .*event\.time names `when`.*aggregates\.daily\.window\.tumbling must be a duration/,
  })),
  ...readers.map((command) => ({
    title: `${command}: no such definition`,
    command,
    args: argsOf(command),
    env: { RECKON_PIPELINE: '/nowhere/mine.ts' },
    line: /^reckon: RECKON_PIPELINE names \/nowhere\/mine\.ts, which does not exist\. /,
  })),
  ...(
    [
      ['stream', 'KAFKA_BROKERS', silentKafka],
      ['archive', 'KAFKA_BROKERS', silentKafka],
      ['worker', 'KAFKA_BROKERS', silentKafka],
      ['serve', 'KAFKA_BROKERS', silentKafka],
      ['replay', 'KAFKA_BROKERS', silentKafka],
      [
        'start',
        'KAFKA_BROKERS',
        /^reckon: KAFKA_BROKERS=127\.0\.0\.1:1 does not accept connections\. .*KAFKA_BROKERS/,
      ],
      ['stream', 'REDIS_URL', silentRedis],
      ['worker', 'REDIS_URL', silentRedis],
      ['worker', 'TEMPORAL_ADDRESS', silentTemporal],
      ['schedules', 'TEMPORAL_ADDRESS', silentTemporal],
      ['reconcile', 'TEMPORAL_ADDRESS', silentTemporal],
    ] as const
  ).map(([command, variable, line]) => ({
    title: `${command}: nothing answers at ${variable}`,
    command,
    args: argsOf(command),
    env: { [variable]: variable === 'REDIS_URL' ? `redis://${closed}` : closed },
    line,
  })),
  {
    title: 'reconcile: no worker',
    command: 'reconcile',
    args: [],
    env: { TEMPORAL_TASK_QUEUE: 'nobody' },
    line: /^reckon: No worker answers on Temporal's task queue nobody\. .*npm run worker\.$/,
  },
  {
    title: 'serve: a taken port',
    command: 'serve',
    args: [],
    env: { API_PORT: 'taken' },
    line: /^reckon: Port \d+ of 127\.0\.0\.1 is taken by another process\. .*API_PORT/,
  },
  {
    title: 'stack up: a demanded port that is taken',
    command: 'stack',
    args: ['up'],
    env: { ...noServers, REDIS_PORT: 'taken' },
    line: /^reckon: .*port \d+ .*/i,
  },
  ...['start', 'stream', 'archive', 'worker', 'serve', 'schedules', 'replay', 'reconcile', 'stack'].map(
    (command) => ({
      title: `${command}: an unknown option`,
      command,
      args: ['--nonsense'],
      env: {},
      line: /^reckon: .*--nonsense.*(Usage|Use): npm (start|run )/,
    }),
  ),
  ...Object.entries({
    API_PORT: 'http',
    KAFKA_BROKERS: 'no port',
    REDIS_URL: 'http://x',
    TEMPORAL_ADDRESS: 'x',
    FLUSH_MS: '0',
    LOG_LEVEL: 'loud',
  }).map(([variable, value]) => ({
    title: `a wrong environment: ${variable}=${value}`,
    command: 'stream',
    args: [],
    env: { [variable]: value },
    line: new RegExp(`^reckon: The environment is wrong: ${variable}: [^\\n]+\\.$`),
  })),
  {
    title: 'replay: no such file',
    command: 'replay',
    args: ['--file', '/nowhere/a.csv'],
    env: {},
    line: /^reckon: There is no file \/nowhere\/a\.csv\. /,
  },
];

/** Many of them only wait for an answer that does not come: three at a time. */
function runAll(): Map<Failing, Promise<Ended>> {
  const runs = new Map<Failing, Promise<Ended>>();
  const lanes: Promise<unknown>[] = [Promise.resolve(), Promise.resolve(), Promise.resolve()];
  failing.forEach((one, i) => {
    const env = Object.fromEntries(
      Object.entries(one.env).map(([name, value]) => [name, value === 'taken' ? String(takenPort) : value]),
    );
    const run = (lanes[i % lanes.length] ?? Promise.resolve()).then(() =>
      world.run(one.command, one.args, env),
    );
    lanes[i % lanes.length] = run;
    runs.set(one, run);
  });
  return runs;
}

test.each(failing)('$title', async (one) => {
  const ended = await runs.get(one);
  expect(ended).toBeDefined();
  if (ended !== undefined) expectOneLine(ended, one.line);
});

test.each(['stack', 'start'])('%s: no JDK, and nothing in the cache', async (command) => {
  const bin = join(world.dir, 'bin');
  mkdirSync(bin, { recursive: true });
  // All that the path has is Node.
  const node = join(bin, 'node');
  try {
    symlinkSync(process.execPath, node);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  const ended = await world.run(command, command === 'stack' ? ['up'] : [], {
    ...noServers,
    PATH: bin,
    JAVA_HOME: '',
    RECKON_CACHE: join(world.dir, 'empty-cache'),
    RECKON_HOME: join(world.dir, 'no-jdk'),
  });
  expect(ended.code).toBe(1);
  const own = ended.stderr.split('\n').filter((text) => text.startsWith('reckon: '));
  expect(own).toEqual([expect.stringMatching(/JDK|Java/)]);
  expect(own[0]).toMatch(/Install|install/);
  expect(ended.stderr).not.toMatch(/^\s+at /m);
});

test('start: no such file', async () => {
  const started = await world.run('start', ['--file', '/nowhere/a.csv', '--once']);
  expect(started.code).toBe(1);
  const own = started.stderr.split('\n').filter((text) => text.startsWith('reckon: '));
  expect(own).toEqual([expect.stringMatching(/There is no file \/nowhere\/a\.csv\./)]);
  expect(started.stderr).not.toMatch(/^\s+at /m);
});

test('a definition changed under its state', async () => {
  const name = world.name('changed');
  const env = { RECKON_PIPELINE: world.flights(name) };
  const first = await world.start('stream', env);
  const replay = await world.run('replay', ['--file', sampleFile('flights-2k.json')], env);
  expect(replay.code).toBe(0);
  expect((await first.end('SIGTERM')).code).toBe(0);
  const other = join(world.dir, 'other.mts');
  const definition = JSON.stringify(join(root, 'pipelines', 'flights.ts'));
  writeFileSync(
    other,
    `import flights from ${definition};\nexport default { ...flights, name: '${name}', topic: '${name}', allowedLatenessMs: 5 };\n`,
  );
  const ended = await world.run('stream', [], { RECKON_PIPELINE: other });
  expectOneLine(
    ended,
    new RegExp(
      `^reckon: The state of pipeline ${name} in Redis was counted by another definition: allowedLateness: changed from \\d+ to 5\\. `,
    ),
  );
});
