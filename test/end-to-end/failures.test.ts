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
/** Nobody listens here: the port was free a moment ago, and is one of those that are not given out by chance. */
const closed = '127.0.0.1:1';

beforeAll(async () => {
  world = new World();
  taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  takenPort = (taken.address() as AddressInfo).port;
});
afterAll(async () => {
  taken.close();
  await world.close();
});

/** Exactly one line of Reckon's; further lines are logs (JSON) or progress, never a stack trace. */
function expectOneLine(ended: Ended, line: RegExp, code = 1): void {
  const lines = ended.stderr.split('\n').filter((text) => text !== '');
  expect({ code: ended.code, lines: lines.filter((text) => !text.startsWith('{')) }).toEqual({
    code,
    lines: [expect.stringMatching(line) as string],
  });
  expect(ended.stderr).not.toMatch(/^\s+at /m);
  expect(ended.stdout).not.toMatch(/^\s+at /m);
}

test.each(['stream', 'archive', 'worker', 'serve', 'replay', 'start'])(
  '%s: a wrong definition',
  async (command) => {
    const name = world.name('wrong');
    const file = world.define(
      name,
      `{ name: '${name}', event: { schema: { type: 'object', properties: { id: { type: 'string' }, at: { type: 'string' } } },
      id: 'id', time: 'when' }, aggregates: { daily: { window: { tumbling: '1day' }, measures: { n: 'count' } } } }`,
    );
    const args = command === 'replay' ? ['--file', sampleFile('flights-2k.json')] : [];
    const ended = await world.run(command, args, { RECKON_PIPELINE: file });
    expectOneLine(
      ended,
      /^reckon: .*event\.time names `when`.*aggregates\.daily\.window\.tumbling must be a duration/,
    );
  },
);

test.each(['stream', 'archive', 'worker', 'serve', 'replay', 'start'])(
  '%s: no such definition',
  async (command) => {
    const args = command === 'replay' ? ['--file', sampleFile('flights-2k.json')] : [];
    const ended = await world.run(command, args, { RECKON_PIPELINE: '/nowhere/mine.ts' });
    expectOneLine(ended, /^reckon: RECKON_PIPELINE names \/nowhere\/mine\.ts, which does not exist\. /);
  },
);

test.each([
  ['stream', 'KAFKA_BROKERS', /^reckon: Kafka does not answer at 127\.0\.0\.1:1\. .*KAFKA_BROKERS/],
  ['archive', 'KAFKA_BROKERS', /^reckon: Kafka does not answer at 127\.0\.0\.1:1\. .*KAFKA_BROKERS/],
  ['worker', 'KAFKA_BROKERS', /^reckon: Kafka does not answer at 127\.0\.0\.1:1\. .*KAFKA_BROKERS/],
  ['serve', 'KAFKA_BROKERS', /^reckon: Kafka does not answer at 127\.0\.0\.1:1\. .*KAFKA_BROKERS/],
  ['replay', 'KAFKA_BROKERS', /^reckon: Kafka does not answer at 127\.0\.0\.1:1\. .*KAFKA_BROKERS/],
  [
    'start',
    'KAFKA_BROKERS',
    /^reckon: KAFKA_BROKERS=127\.0\.0\.1:1 does not accept connections\. .*KAFKA_BROKERS/,
  ],
  ['stream', 'REDIS_URL', /^reckon: Redis does not answer at redis:\/\/127\.0\.0\.1:1\. .*REDIS_URL/],
  ['worker', 'REDIS_URL', /^reckon: Redis does not answer at redis:\/\/127\.0\.0\.1:1\. .*REDIS_URL/],
  ['worker', 'TEMPORAL_ADDRESS', /^reckon: Temporal does not answer at 127\.0\.0\.1:1\. .*TEMPORAL_ADDRESS/],
  [
    'schedules',
    'TEMPORAL_ADDRESS',
    /^reckon: Temporal does not answer at 127\.0\.0\.1:1\. .*TEMPORAL_ADDRESS/,
  ],
  [
    'reconcile',
    'TEMPORAL_ADDRESS',
    /^reckon: Temporal does not answer at 127\.0\.0\.1:1\. .*TEMPORAL_ADDRESS/,
  ],
])('%s: nothing answers at %s', async (command, variable, line) => {
  const args = command === 'replay' ? ['--file', sampleFile('flights-2k.json')] : [];
  const value = variable === 'REDIS_URL' ? `redis://${closed}` : closed;
  const startMs = performance.now();
  expectOneLine(await world.run(command, args, { [variable]: value }), line);
  expect(performance.now() - startMs).toBeLessThan(30_000);
});

test('reconcile without a worker', async () => {
  const ended = await world.run('reconcile', [], { TEMPORAL_TASK_QUEUE: world.name('nobody') });
  expectOneLine(ended, /^reckon: No worker answers on Temporal's task queue nobody-.*npm run worker\.$/);
});

test('serve: a taken port', async () => {
  const ended = await world.run('serve', [], { API_PORT: String(takenPort) });
  expectOneLine(
    ended,
    new RegExp(`^reckon: Port ${takenPort} of 127\\.0\\.0\\.1 is taken by another process\\. .*API_PORT`),
  );
});

test('stack up: a demanded port that is taken', async () => {
  const ended = await world.run('stack', ['up'], { ...noServers, REDIS_PORT: String(takenPort) });
  expectOneLine(ended, new RegExp(`^reckon: .*${takenPort}`));
});

/** Nothing is configured; the folder is not the world's. */
const noServers = { KAFKA_BROKERS: '', REDIS_URL: '', TEMPORAL_ADDRESS: '' };

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

test.each(['start', 'stream', 'archive', 'worker', 'serve', 'schedules', 'replay', 'reconcile', 'stack'])(
  '%s: an unknown option',
  async (command) => {
    const ended = await world.run(command, ['--nonsense']);
    expectOneLine(ended, /^reckon: .*--nonsense.*(Usage|Use): npm (start|run )/);
  },
);

test.each([
  ['API_PORT', 'http'],
  ['KAFKA_BROKERS', 'no port'],
  ['REDIS_URL', 'http://x'],
  ['TEMPORAL_ADDRESS', 'x'],
  ['FLUSH_MS', '0'],
  ['LOG_LEVEL', 'loud'],
])('a wrong environment: %s=%s', async (variable, value) => {
  const ended = await world.run('stream', [], { [variable]: value });
  expectOneLine(ended, new RegExp(`^reckon: The environment is wrong: ${variable}: [^\\n]+\\.$`));
});

test('replay: a missing file, and start with one', async () => {
  expectOneLine(
    await world.run('replay', ['--file', '/nowhere/a.csv']),
    /^reckon: There is no file \/nowhere\/a\.csv\. /,
  );
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
    new RegExp(`^reckon: The state of pipeline ${name} in Redis was counted by another definition\\. `),
  );
});
