/**
 * `npm run bench -- archive`: the archiver takes a topic from its beginning to its end, and a bare DuckDB statement turns the same
 * records, lying as an NDJSON file, into one Parquet file. Guarantee: every offset is in the lake once, with the right sums, or `equal`
 * is false and `difference` says where.
 */
import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline as pipe } from 'node:stream/promises';
import { ArchiveTable } from '../batch/archive-table.ts';
import { eventsSql } from '../batch/event-table.ts';
import { DuckDb, quoteLiteral } from '../clients/duckdb.ts';
import { ensureTopics } from '../clients/kafka-topics.ts';
import { LocalObjectStore } from '../clients/object-store.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import { ArchiveProcess } from './archive-process.ts';
import { generateEvents } from './events.ts';
import { partitions, writePipeline } from './pipeline.ts';
import { openServers } from './servers.ts';
import type { BenchOptions } from './speed.ts';
import { endsOf, produceEvents } from './topic.ts';

export interface ArchiveResult {
  readonly records: number;
  readonly seed: number;
  readonly partitions: number;
  /** From the assignment of the partitions until the lake holds everything. */
  readonly wallSeconds: number;
  readonly wallSecondsWithStart: number;
  readonly rowsPerSecond: number;
  /** Of the whole process from its start. */
  readonly cpuSeconds: number;
  readonly rowsPerCpuSecond: number;
  readonly files: number;
  /** The faster of two runs. */
  readonly bare: {
    readonly wallSeconds: number;
    readonly cpuSeconds: number;
    readonly rowsPerSecond: number;
  };
  /** Ours to the bare statement: rows a second, and rows a CPU second. */
  readonly ratio: number;
  readonly ratioCpu: number;
  readonly equal: boolean;
  readonly difference: string | null;
}

/** The bare statement has what the machine has; ours has to share it with Kafka. */
const bareThreads = 2;

export async function benchArchive(options: BenchOptions): Promise<ArchiveResult> {
  const { records, seed, signal, say } = options;
  const servers = await openServers(process.env, say);
  try {
    const bench = writePipeline(`bench-${randomUUID().slice(0, 8)}`, servers.dir);
    const { topic } = bench.pipeline;
    await ensureTopics(servers.admin, bench.pipeline);
    await produceEvents({ ...servers, topic, records, seed, only: () => true, signal, say });
    const lake = join(servers.dir, 'lake');
    const store = new LocalObjectStore(lake);
    const database = await DuckDb.open({
      memoryLimit: '2GB',
      threads: bareThreads,
      tempDirectory: servers.dir,
    });
    try {
      const ndjson = join(servers.dir, 'records.ndjson');
      const expected = await writeRecords(ndjson, records, seed);
      const runs = [
        await runBare(database, ndjson, servers.dir),
        await runBare(database, ndjson, servers.dir),
      ];
      const bare = runs.reduce((best, run) => (run.wallSeconds < best.wallSeconds ? run : best));
      say(`bare: ${bare.wallSeconds} s, ${bare.cpuSeconds} CPU s`);
      signal.throwIfAborted();

      const ends = await endsOf(servers.admin, topic);
      const archiver = new ArchiveProcess(servers, bench, store, lake);
      const archived = await archiver
        .archived(ends, signal)
        .then((times) => ({ ...times, cpuSeconds: archiver.cpuSeconds() }))
        .finally(() => archiver.stop());
      const archive = new ArchiveTable(store, bench.pipeline);
      const difference = await findDifference(database, archive, bench.pipeline, ends, expected);
      const { seconds, secondsWithStart, cpuSeconds } = archived;
      return {
        ...{ records, seed, partitions },
        wallSeconds: round(seconds),
        wallSecondsWithStart: round(secondsWithStart),
        rowsPerSecond: Math.round(records / seconds),
        cpuSeconds: round(cpuSeconds),
        rowsPerCpuSecond: Math.round(records / cpuSeconds),
        files: (await archive.files()).length,
        bare: { ...bare, rowsPerSecond: Math.round(records / bare.wallSeconds) },
        ratio: round(bare.wallSeconds / seconds),
        ratioCpu: round(bare.cpuSeconds / cpuSeconds),
        ...{ equal: difference === null, difference },
      };
    } finally {
      database.close();
    }
  } finally {
    await servers.close();
  }
}

interface Sums {
  readonly cents: number;
  readonly timesMs: number;
}

/** The records of the topic, one a line. @returns what they add up to, by the generator alone */
async function writeRecords(file: string, records: number, seed: number): Promise<Sums> {
  const sums = { cents: 0, timesMs: 0 };
  function* lines() {
    let block = '';
    for (const { json } of generateEvents(records, seed)) {
      const { amount, timestamp } = JSON.parse(json) as { amount: number; timestamp: number };
      sums.cents += Math.round(amount * 100);
      sums.timesMs += timestamp - baseMs;
      block += `${json}\n`;
      if (block.length < 1 << 20) continue;
      yield block;
      block = '';
    }
    yield block;
  }
  await pipe(Readable.from(lines()), createWriteStream(file));
  return sums;
}

/** Times are added up from here, so that the sum stays exact. */
const baseMs = Date.UTC(2026, 0, 1);

/** The lake's columns with the types that they have there; what an NDJSON file does not know is constant. */
async function runBare(database: DuckDb, ndjson: string, dir: string) {
  const texts = ['eventId', 'type', 'userId', 'sessionId', 'productId'];
  const columns = [
    ...texts.map((name) => `${name}: 'VARCHAR'`),
    `amount: 'DECIMAL(18,2)'`,
    `timestamp: 'BIGINT'`,
  ];
  const [beganMs, cpu] = [performance.now(), process.cpuUsage()];
  await database.run(
    `COPY (SELECT 0 AS _partition, 0::BIGINT AS _offset, epoch_ms(${baseMs})::TIMESTAMPTZ AS _timestamp, userId::BLOB AS _key,
       NULL::STRUCT("key" VARCHAR, "value" BLOB)[] AS _headers, eventId AS _id, epoch_ms("timestamp")::TIMESTAMPTZ AS _time,
       NULL::VARCHAR AS _rejected, NULL::VARCHAR AS _detail, NULL::BLOB AS _raw, *
     FROM read_json(${quoteLiteral(ndjson)}, format = 'newline_delimited', columns = {${columns.join(', ')}}))
     TO ${quoteLiteral(join(dir, 'bare.parquet'))} (FORMAT parquet, COMPRESSION zstd)`,
  );
  const { user, system } = process.cpuUsage(cpu);
  return {
    wallSeconds: round((performance.now() - beganMs) / 1_000),
    cpuSeconds: round((user + system) / 1_000_000),
  };
}

/** @returns why the lake cannot be right; null when every offset is there once and the values add up */
async function findDifference(
  database: DuckDb,
  archive: ArchiveTable,
  pipeline: Pipeline,
  ends: ReadonlyMap<number, number>,
  expected: Sums,
): Promise<string | null> {
  const files = (await archive.files()).map((file) => archive.locationOf(file));
  const rows = await database.query(
    `SELECT _partition, count(*)::DOUBLE AS n, count(DISTINCT _offset)::DOUBLE AS d, min(_offset)::DOUBLE AS low, max(_offset)::DOUBLE AS high,
       count(_rejected)::DOUBLE AS dead, (sum(amount) * 100)::DOUBLE AS cents, sum("timestamp" - ${baseMs})::DOUBLE AS times_ms,
       sum(epoch_ms(_time) - ${baseMs})::DOUBLE AS _times_ms, count(DISTINCT _id)::DOUBLE AS ids
     FROM (${eventsSql(pipeline, files)}) GROUP BY ALL`,
  );
  const sum = (name: string) => rows.reduce((total, row) => total + Number(row[name] ?? 0), 0);
  for (const [partition, end] of ends) {
    const row = rows.find((candidate) => candidate['_partition'] === partition);
    const found = ['n', 'd', 'low', 'high'].map((name) => Number(row?.[name] ?? 0));
    const wanted = [end, end, 0, Math.max(0, end - 1)];
    if (!found.every((value, i) => value === wanted[i]))
      return `of partition ${partition} the lake has ${found.join(', ')} (rows, offsets, first, last) and the topic ${wanted.join(', ')}.`;
  }
  const found = {
    dead: sum('dead'),
    cents: sum('cents'),
    timesMs: sum('times_ms'),
    ownTimesMs: sum('_times_ms'),
  };
  const wanted = { dead: 0, cents: expected.cents, timesMs: expected.timesMs, ownTimesMs: expected.timesMs };
  return JSON.stringify(found) === JSON.stringify(wanted)
    ? null
    : `the lake adds up to ${JSON.stringify(found)}, the records to ${JSON.stringify(wanted)}.`;
}

function round(value: number): number {
  return Number(value.toFixed(2));
}
