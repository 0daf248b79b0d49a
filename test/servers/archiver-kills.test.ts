/**
 * The real archiver on a real topic that records come to all the time, killed at each step of its store, before and after: when it has
 * caught up, the lake holds the topic as Java's own consumer reads it: every partition, every offset, the bytes of every value.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { ArchiveTable } from '../../batch/archive-table.ts';
import { quotePath } from '../../clients/duckdb.ts';
import type { DuckDb } from '../../clients/duckdb.ts';
import { connectAdmin, connectProducer, readOffsets } from '../../clients/kafka.ts';
import { prepareTopics } from '../../clients/kafka-topics.ts';
import { LocalObjectStore } from '../../clients/object-store.ts';
import { provision } from '../../scripts/stack/provision.ts';
import { startStack, stopStack } from '../../scripts/stack/stack.ts';
import type { ArchiverTask } from '../support/archiver-worker.ts';
import { eventually } from '../support/eventually.ts';
import type { Kill } from '../support/killing-store.ts';
import { clicksAs, openDatabase } from '../support/lake-operations.ts';
import { readAllByOthers } from '../support/lake-readers.ts';
import { inLanes, runWorker, startWorker } from '../support/worker-process.ts';

const quiet = () => undefined;
const dir = mkdtempSync(join(tmpdir(), 'reckon-archiver-kills-'));
const lake = join(dir, 'lake');
const topic = 'clicks';
const partitions = [0, 1, 2];
let kafkaBrokers: string;
let database: DuckDb;

beforeAll(async () => {
  const stack = await startStack({
    dir: join(dir, 'stack'),
    only: ['kafka'],
    ports: 'free',
    progress: quiet,
  });
  kafkaBrokers = stack.endpoints.kafkaBrokers;
  await prepareTopics(kafkaBrokers, 'test', [{ ...clicksAs(topic, topic), partitions: partitions.length }]);
  database = await openDatabase(join(dir, 'spill'));
});
afterAll(async () => {
  database.close();
  await stopStack(join(dir, 'stack'), quiet);
  rmSync(dir, { recursive: true, force: true });
});

/** Every seventh is broken. */
const valueOf = (i: number) =>
  i % 7 === 0 ? `{broken ${i}` : JSON.stringify({ id: `click ${i}`, at: 1_700_000_000_000 - i });

/** Sends all the time, in small batches. @returns ends it */
async function startSending(firstCount: number): Promise<() => Promise<void>> {
  const producer = await connectProducer(kafkaBrokers, 'test');
  let sent = 0;
  const send = async (count: number): Promise<void> => {
    const messages = Array.from({ length: count }, () => ({
      value: valueOf(sent),
      partition: sent++ % partitions.length,
    }));
    await producer.send({ topic, messages });
  };
  await send(firstCount);
  let stopped = false;
  const sending = (async () => {
    while (!stopped) {
      await send(12);
      await sleep(50);
    }
  })();
  return async () => {
    stopped = true;
    await sending;
    await producer.disconnect();
  };
}

const hashOf = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 16);

/** `partition:offset:hash of the value`, as Kafka's own tool reads them. */
async function readTopic(records: number): Promise<string[]> {
  const libs = join(await provision('kafka', process.env, quiet), 'libs');
  const java =
    process.env['JAVA_HOME'] === undefined ? 'java' : join(process.env['JAVA_HOME'], 'bin', 'java');
  const args = ['-cp', join(libs, '*'), 'org.apache.kafka.tools.consumer.ConsoleConsumer'];
  args.push(
    `--bootstrap-server=${kafkaBrokers}`,
    `--topic=${topic}`,
    '--from-beginning',
    `--max-messages=${records}`,
  );
  for (const shown of ['partition', 'offset']) args.push('--property', `print.${shown}=true`);
  const { stdout } = await promisify(execFile)(java, args, { maxBuffer: 64 << 20 });
  const lines = stdout.trimEnd().split('\n');
  return lines.map((line) => {
    const [, partition, offset, value] = /^Partition:(\d+)\tOffset:(\d+)\t(.*)$/.exec(line) ?? [];
    if (value === undefined) throw new Error(`not a record: ${line}`);
    return `${partition}:${offset}:${hashOf(value)}`;
  });
}

/** The same of a lake; what was decoded is written as it was sent. */
async function readLake(archive: ArchiveTable): Promise<string[]> {
  const files = await archive.files();
  const rows = await database.query(
    `SELECT _partition, _offset, decode(_raw) AS raw, id, "at" AS happened
     FROM read_parquet([${files.map((file) => quotePath(archive.locationOf(file))).join(', ')}])`,
  );
  return rows.map(({ _partition, _offset, raw, id, happened }) => {
    const value = typeof raw === 'string' ? raw : JSON.stringify({ id, at: Number(happened) });
    return `${Number(_partition)}:${Number(_offset)}:${hashOf(value)}`;
  });
}

it('killed at each step of its store: no gap, no double', async () => {
  const stopSending = await startSending(3_000);
  // A pipeline each, of the same topic: a group and a table of its own, so that none waits for the dead member of another.
  const steps = [1, 2, 3, 4, 5, 6];
  const taskOf = (step: number): ArchiverTask => ({
    ...{ kafkaBrokers, folder: lake, topic, name: `clicks-${step}` },
    tempDirectory: join(dir, 'spill'),
  });
  const died = new Map<string, string>();
  // 1. Each is killed before its step, and started again and killed after it, while more comes.
  try {
    await inLanes(steps.length, steps, async (step) => {
      for (const moment of ['before', 'after'] as const) {
        const kill: Kill = { level: 'store', step, moment };
        const { signal, stdout, stderr } = await runWorker('archiver-worker.ts', { ...taskOf(step), kill });
        expect([signal, stderr]).toEqual(['SIGKILL', '']);
        died.set(`${moment} ${step}`, stdout.trim());
      }
    });
  } finally {
    await stopSending();
  }
  expect(died.size).toBe(2 * steps.length);
  // Both kinds of steps were the last one, before and after.
  for (const moment of ['before', 'after'])
    for (const kind of ['adopt', 'putIfAbsent'])
      expect([...died].filter(([key, name]) => key.startsWith(moment) && name.startsWith(kind))).not.toEqual(
        [],
      );

  const admin = await connectAdmin(kafkaBrokers, 'test');
  const ends = await readOffsets(admin, topic);
  await admin.disconnect();
  expect(ends.map(({ partition }) => partition)).toEqual(partitions);
  const records = ends.reduce((sum, { end }) => sum + end, 0);
  expect(records).toBeGreaterThan(3_000);
  const wanted = (await readTopic(records)).sort();
  expect(new Set(wanted).size).toBe(records);

  // 2. Started again, each comes to the end of the topic, and ends in good order.
  const store = new LocalObjectStore(lake);
  const tables = steps.map((step) => new ArchiveTable(store, clicksAs(`clicks-${step}`, topic)));
  await inLanes(steps.length, steps, async (step, lane) => {
    const { child, ended } = startWorker('archiver-worker.ts', taskOf(step));
    const reached = Object.fromEntries(ends.map(({ partition, end }) => [String(partition), String(end)]));
    await eventually(async () => expect(await tables[lane]?.reached()).toEqual(reached), 60_000, 200);
    child.kill('SIGTERM');
    expect(await ended).toMatchObject({ code: 0, stderr: '' });
  });
  for (const table of tables) expect((await readLake(table)).sort()).toEqual(wanted);
  const offsets = ends.reduce((sum, { end }) => sum + (end * (end - 1)) / 2, 0);
  const sums = { rows: records, sums: { _offset: String(offsets) } };
  const paths = tables.map(({ table }) => store.location(table.root));
  for (const { deltaRs, duckDb } of await readAllByOthers(paths, ['_offset']))
    expect({ deltaRs, duckDb }).toEqual({ deltaRs: sums, duckDb: sums });
}, 240_000);
