/**
 * `npm run replay` as a process against a real Kafka: what is in the file is in the topic, once per replay, with the
 * same ids each time; bad lines arrive as they are; an interruption and an absent broker end in one clear line.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectAdmin, readOffsets } from '../../clients/kafka.ts';
import { startStack, stopStack } from '../../scripts/stack/stack.ts';
import { eventually } from '../support/eventually.ts';
import { readTopic } from '../support/independent.ts';

const root = join(__dirname, '..', '..');
const sample = join(root, 'node_modules', 'vega-datasets', 'data', 'flights-20k.json');
let dir: string;
let brokers: string;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'reckon-replay-'));
  const stack = await startStack({ dir, only: ['kafka'], ports: 'free', progress: () => undefined });
  brokers = stack.endpoints.kafkaBrokers;
}, 900_000);

afterAll(async () => {
  await stopStack(dir, () => undefined);
  rmSync(dir, { recursive: true, force: true });
});

/** A definition of its own for each test: topics do not mix. */
function definition(name: string): string {
  const file = join(dir, `${name}.mts`);
  const text = readFileSync(join(root, 'pipelines', 'flights.ts'), 'utf8')
    .replace(`'reckon'`, JSON.stringify(join(root, 'domain', 'pipeline.ts')))
    .replace(`name: 'flights'`, `name: '${name}'`);
  writeFileSync(file, text);
  return file;
}

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function startReplay(args: string[], env: Record<string, string>) {
  const child = spawn(process.execPath, [join(root, 'scripts', 'run.mjs'), 'replay', ...args], {
    env: { ...process.env, KAFKA_BROKERS: brokers, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk: Buffer) => (output.stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output.stderr += chunk.toString()));
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, ...output }));
  });
  return { child, ended };
}

function runReplay(args: string[], env: Record<string, string>): Promise<Ended> {
  return startReplay(args, env).ended;
}

async function countTopic(topic: string): Promise<number> {
  const admin = await connectAdmin(brokers, 'test');
  try {
    return (await readOffsets(admin, topic)).reduce((sum, { start, end }) => sum + end - start, 0);
  } finally {
    await admin.disconnect();
  }
}

interface Flight {
  readonly id?: string;
  readonly date?: string;
  readonly time?: string;
  readonly origin: string;
  readonly destination: string;
  readonly delay: number;
  readonly distance: number;
}

const facts = (flight: Flight): string =>
  [flight.origin, flight.destination, flight.delay, flight.distance].join(' ') +
  (flight.time ?? `${flight.date?.replaceAll('/', '-').replace(' ', 'T')}Z`);

it('brings the 20,000-row sample into the topic; a second replay brings the same ids', async () => {
  const env = { RECKON_PIPELINE: definition('flights-twice') };
  for (const run of [1, 2]) {
    const { code, stdout, stderr } = await runReplay(['--file', sample, '--json'], env);
    // On a busy machine it takes long enough for a line of progress.
    const said = stderr.replaceAll(/^flights-20k\.json: {1,2}[\d,]+ records, [\d,]+ records\/s\n/gm, '');
    expect({ run, code, said }).toEqual({ run, code: 0, said: '' });
    expect(JSON.parse(stdout)).toEqual({
      file: sample,
      records: 20_000,
      seconds: expect.any(Number) as number,
      recordsPerSecond: expect.any(Number) as number,
    });
  }
  const read = await readTopic(brokers, 'flights-twice');
  const rows = JSON.parse(readFileSync(sample, 'utf8')) as Flight[];
  const ids = new Set<string>();
  let records = 0;
  for (const partition of new Set(read.map((message) => message.partition))) {
    const messages = read.filter((message) => message.partition === partition);
    const flights = messages.map(({ value }) => JSON.parse(String(value)) as Flight);
    const half = flights.length / 2;
    expect(flights.slice(half)).toEqual(flights.slice(0, half));
    const origins = new Set(flights.map(({ origin }) => origin));
    expect(messages.map(({ key }) => String(key))).toEqual(flights.map(({ origin }) => origin));
    const inFileOrder = rows.filter(({ origin }) => origins.has(origin)).map(facts);
    expect(flights.slice(0, half).map(facts)).toEqual(inFileOrder);
    for (const { id } of flights) ids.add(id ?? '');
    records += flights.length;
  }
  expect(records).toBe(40_000);
  expect(ids.size).toBe(20_000);
});

it('sends malformed lines as they are, for the pipeline to reject', async () => {
  const file = join(dir, 'bad.ndjson');
  const good = '{"id":"own","date":"2001/01/14 21:55","origin":"A","destination":"B","delay":1,"distance":2}';
  const notUtf8 = Buffer.from([0x7b, 0xff, 0x7d]);
  const large = `{"x":"${'y'.repeat(1 << 20)}`;
  writeFileSync(
    file,
    Buffer.concat([Buffer.from(`${good}\n{"broken\n\n5\n${large}\n`), notUtf8, Buffer.from('\n')]),
  );
  const { code, stdout } = await runReplay(['--file', file], { RECKON_PIPELINE: definition('bad-lines') });
  expect(code).toBe(0);
  expect(stdout).toMatch(
    /^5 rows of bad\.ndjson sent to the topic bad-lines in [\d.]+ s \(\d+ records\/s\)\n$/,
  );
  const values = (await readTopic(brokers, 'bad-lines')).map(({ value }) => value?.toString('latin1'));
  const sent =
    '{"id":"own","origin":"A","destination":"B","delay":1,"distance":2,"time":"2001-01-14T21:55Z"}';
  expect(values.sort()).toEqual([sent, '{"broken', '5', large, notUtf8.toString('latin1')].sort());
});

it('on SIGTERM sends what it has read, says how much that is, and exits with 130', async () => {
  const name = 'interrupted';
  const env = { RECKON_PIPELINE: definition(name) };
  const lines = join(dir, 'paced.ndjson');
  // Two rows at once, then a day of waiting.
  const row = (date: string): string =>
    JSON.stringify({ date, origin: 'A', destination: 'B', delay: 1, distance: 2 });
  writeFileSync(
    lines,
    [row('2001/01/01 00:00'), row('2001/01/01 00:00'), row('2001/01/02 00:00')].join('\n'),
  );
  const { child, ended } = startReplay(['--file', lines, '--speed', '1', '--json'], env);
  await eventually(async () => expect(await countTopic(name)).toBe(2));
  child.kill('SIGTERM');
  const { code, stdout } = await ended;
  expect(code).toBe(130);
  expect(JSON.parse(stdout)).toMatchObject({ records: 2, interrupted: true });
  expect(await countTopic(name)).toBe(2);
});

it('tells an absent broker in one line, within ten seconds', async () => {
  const startMs = performance.now();
  const { code, stdout, stderr } = await runReplay(['--file', sample], { KAFKA_BROKERS: '127.0.0.1:1' });
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  expect(stderr).toBe(
    'reckon: Kafka does not answer at 127.0.0.1:1. Start it (npm run stack -- up) or set KAFKA_BROKERS.\n',
  );
  expect(performance.now() - startMs).toBeLessThan(10_000);
});

it('tells a malformed file in one line, with how much was sent', async () => {
  const file = join(dir, 'torn.json');
  writeFileSync(file, '[{"date":"2001/01/14 21:55"},{"date":');
  const { code, stderr } = await runReplay(['--file', file], { RECKON_PIPELINE: definition('torn') });
  expect(code).toBe(1);
  expect(stderr).toMatch(/^reckon: torn\.json cannot be read: [^\n]+\. \d rows were sent before\. [^\n]+\n$/);
});

it.each([
  [['--file', sample, '--speed', 'fast'], /^reckon: --speed is fast\. It must be max, or [^\n]+\n$/],
  [['--file', sample, '--limit', '1.5'], /^reckon: --limit is 1\.5\. [^\n]+\n$/],
  [['--file', sample, '--pipeline', 'nope'], /^reckon: There is no pipeline nope\. [^\n]+flights\.\n$/],
  [['--file', '/nowhere/a.csv'], /^reckon: There is no file \/nowhere\/a\.csv\. [^\n]+\n$/],
  [[], /^reckon: No --file is given\. Usage: [^\n]+\n$/],
])('refuses %j in one line', async (args, line) => {
  const { code, stderr } = await runReplay(args, { RECKON_PIPELINE: join(root, 'pipelines', 'flights.ts') });
  expect(code).toBe(1);
  expect(stderr).toMatch(line);
});
