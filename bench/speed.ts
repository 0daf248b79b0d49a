/**
 * `npm run bench -- speed`: our stream process, Flink and Kafka Streams, in turn, on one topic. Guarantee: the three have the
 * same count and the same sum in every window of every product, or `equal` is false and `difference` says where.
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { ensureTopics } from '../clients/kafka-topics.ts';
import { account } from './accounting.ts';
import { buildPeers, runPeer } from './peers.ts';
import type { PeerName, Peers } from './peers.ts';
import { partitions, writePipeline } from './pipeline.ts';
import type { BenchPipeline } from './pipeline.ts';
import { countOf, firstDifference, readOurs, readPeer } from './results.ts';
import type { Results } from './results.ts';
import { openServers, peerKeys } from './servers.ts';
import type { Say, Servers } from './servers.ts';
import { StreamProcess } from './stream-process.ts';
import { endsOf, produceEvents } from './topic.ts';

export interface BenchOptions {
  readonly records: number;
  readonly seed: number;
  readonly signal: AbortSignal;
  readonly say: Say;
}

/** Seconds, and what follows from them. */
export interface Measured {
  readonly wallSeconds: number;
  readonly cpuSeconds: number;
  readonly recordsPerSecond: number;
  readonly recordsPerCpuSecond: number;
  readonly counted: number;
}

export interface Ours extends Measured {
  /** From the start of the process; `wallSeconds` begins when consumption does. */
  readonly wallSecondsWithStart: number;
  readonly recordsPerSecondWithStart: number;
}

export interface SpeedResult {
  readonly records: number;
  readonly seed: number;
  readonly partitions: number;
  readonly ours: Ours;
  readonly flink: Measured;
  readonly kafkaStreams: Measured;
  /** Ours to theirs, per CPU second (each with the start of its process) and per second. */
  readonly ratioFlinkCpu: number;
  readonly ratioFlinkWall: number;
  readonly ratioKafkaStreamsCpu: number;
  readonly ratioKafkaStreamsWall: number;
  readonly equal: boolean;
  readonly difference: string | null;
}

interface Run<M extends Measured> {
  readonly measured: M;
  readonly results: Results;
}

export async function benchSpeed(options: BenchOptions): Promise<SpeedResult> {
  const { records, seed, signal, say } = options;
  const peers = await buildPeers(process.env, say);
  signal.throwIfAborted();
  const servers = await openServers(process.env, say);
  try {
    signal.throwIfAborted();
    const bench = writePipeline(`bench-${randomUUID().slice(0, 8)}`, servers.dir);
    const { topic } = bench.pipeline;
    await ensureTopics(servers.admin, bench.pipeline);
    await produceEvents({ ...servers, topic, records, seed, only: () => true, signal, say });

    const [ours, dropped] = await runOurs(servers, bench, options);
    const flink = await runTheirs('flink', servers, peers, topic, options);
    const kafkaStreams = await runTheirs('kafka-streams', servers, peers, topic, options);
    const difference =
      dropped ??
      wrongTotal('Flink', flink.results, records) ??
      wrongTotal('Kafka Streams', kafkaStreams.results, records) ??
      firstDifference(ours.results, flink.results, 'Flink') ??
      firstDifference(ours.results, kafkaStreams.results, 'Kafka Streams');
    const compared = compare(ours.measured, flink.measured, kafkaStreams.measured);
    return { records, seed, partitions, ...compared, equal: difference === null, difference };
  } finally {
    await servers.close();
  }
}

/** @returns the run, and why its total cannot be right (null when it can) */
async function runOurs(
  servers: Servers,
  bench: BenchPipeline,
  { records, signal, say }: BenchOptions,
): Promise<[Run<Ours>, string | null]> {
  const { name, topic } = bench.pipeline;
  const ends = await endsOf(servers.admin, topic);
  say('ours: running');
  const stream = new StreamProcess(servers, bench);
  try {
    const { seconds, secondsWithStart } = await stream.counted(ends, signal);
    const cpuSeconds = stream.cpuSeconds();
    await stream.stop();
    const results = await readOurs(servers.redis, name);
    const { counted, dropped, balanced } = await account(servers.redis, bench.pipeline, ends, say);
    const measured = {
      ...measure(records, seconds, cpuSeconds, countOf(results)),
      wallSecondsWithStart: round(secondsWithStart, 2),
      recordsPerSecondWithStart: Math.round(records / secondsWithStart),
    };
    tell('ours', measured, say);
    const isWhole = balanced && counted === measured.counted && counted === records - dropped;
    const wrong = isWhole
      ? null
      : `of ${records} records ${dropped} were dropped and ${counted} counted, and the windows hold ${measured.counted}.`;
    await servers.clear([`reckon:{${name}:*`]);
    return [{ measured, results }, wrong];
  } finally {
    await stream.stop();
  }
}

async function runTheirs(
  name: PeerName,
  servers: Servers,
  peers: Peers,
  topic: string,
  { records, signal, say }: BenchOptions,
): Promise<Run<Measured>> {
  const { kafkaBrokers, redisUrl, dir, redis } = servers;
  say(`${name}: running`);
  const scratch = join(dir, name);
  const run = await runPeer(name, peers, { kafkaBrokers, redisUrl, topic, records, scratch, signal });
  const results = await readPeer(redis, name === 'flink' ? 'f' : 'w');
  const measured = measure(records, run.wallSeconds, run.cpuSeconds, run.counted);
  tell(name, measured, say);
  await servers.clear(peerKeys);
  return { measured, results };
}

/** The peers drop nothing here: Flink has a watermark for each partition, Kafka Streams a day of grace. */
function wrongTotal(engine: string, results: Results, records: number): string | null {
  const count = countOf(results);
  return count === records ? null : `${engine} has ${count} of ${records} records in its windows.`;
}

function compare(ours: Ours, flink: Measured, kafkaStreams: Measured) {
  return {
    ours,
    flink,
    kafkaStreams,
    ratioFlinkCpu: round(ours.recordsPerCpuSecond / flink.recordsPerCpuSecond, 2),
    // Flink's time begins with its job, ours with the process: the start of our process is inside.
    ratioFlinkWall: round(ours.recordsPerSecondWithStart / flink.recordsPerSecond, 2),
    ratioKafkaStreamsCpu: round(ours.recordsPerCpuSecond / kafkaStreams.recordsPerCpuSecond, 2),
    // Both begin with consumption.
    ratioKafkaStreamsWall: round(ours.recordsPerSecond / kafkaStreams.recordsPerSecond, 2),
  };
}

function measure(records: number, wallSeconds: number, cpuSeconds: number, counted: number): Measured {
  return {
    wallSeconds: round(wallSeconds, 2),
    cpuSeconds: round(cpuSeconds, 2),
    recordsPerSecond: Math.round(records / wallSeconds),
    recordsPerCpuSecond: Math.round(records / cpuSeconds),
    counted,
  };
}

function tell(name: string, measured: Measured, say: Say): void {
  const { wallSeconds, cpuSeconds, recordsPerSecond, recordsPerCpuSecond } = measured;
  const number = (value: number) => value.toLocaleString('en');
  say(
    `${name}: ${wallSeconds} s, ${cpuSeconds} CPU s; ${number(recordsPerSecond)} records/s, ${number(recordsPerCpuSecond)} records/CPU s`,
  );
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
