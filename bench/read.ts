/**
 * `npm run bench -- read`: how long a reader waits for one window of one group, and for the 60 windows of the last hour with their
 * 1,000 groups, while events flow in. Guarantee: at the end the rows add up to what was counted, or `equal` is false.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { ensureTopics } from '../clients/kafka-topics.ts';
import { StateStore } from '../stream/state-store.ts';
import { WindowReader } from '../stream/window-reader.ts';
import { account } from './accounting.ts';
import { firstMs } from './events.ts';
import { LiveLoad } from './live-load.ts';
import { aggregate, outOfOrderMs, partitions, windowMs, writePipeline } from './pipeline.ts';
import { openServers } from './servers.ts';
import type { BenchOptions } from './speed.ts';
import { StreamProcess } from './stream-process.ts';
import { endsOf, produceEvents } from './topic.ts';

export interface Latency {
  readonly queries: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export interface ReadResult {
  /** Of the hour before. */
  readonly records: number;
  readonly seed: number;
  /** The newest window of one group. */
  readonly point: Latency;
  /** The newest 60 windows with all of their groups. */
  readonly range: Latency;
  /** Rows of a range, in the median. */
  readonly rangeRows: number;
  /** What the stream process counted meanwhile. */
  readonly eventsPerSecond: number;
  readonly equal: boolean;
  readonly difference: string | null;
}

const windows = 60;
const pointsPerRange = 20;
const eventsPerSecond = 20_000;
/** Reading begins when the load has settled. */
const settleMs = 5_000;
const readMs = 30_000;

export async function benchRead(options: BenchOptions): Promise<ReadResult> {
  const { records, seed, signal, say } = options;
  const servers = await openServers(process.env, say);
  try {
    const bench = writePipeline(`bench-${randomUUID().slice(0, 8)}`, servers.dir);
    const { name, topic } = bench.pipeline;
    await ensureTopics(servers.admin, bench.pipeline);
    const spanMs = windows * windowMs;
    const timeMs = (i: number) => firstMs + (i * spanMs) / records;
    await produceEvents({ ...servers, topic, records, seed, timeMs, only: () => true, signal, say });
    const stream = new StreamProcess(servers, bench);
    try {
      await stream.counted(await endsOf(servers.admin, topic), signal);
      const reader = new WindowReader(new StateStore(servers.redis, bench.pipeline), bench.pipeline, [
        ...Array(partitions).keys(),
      ]);
      const flow = new LiveLoad({
        kafkaBrokers: servers.kafkaBrokers,
        topic,
        seed: seed + 1,
        firstMs: firstMs + spanMs,
        eventsPerSecond,
      });
      const measured = await measureReads(reader, signal).finally(() => flow.stop());
      const ends = await endsOf(servers.admin, topic);
      await stream.counted(ends, signal);
      const all = await reader.read(aggregate, { fromMs: -Infinity, toMs: Infinity }, Date.now());
      const total = all.rows.reduce((sum, { results }) => sum + Number(results['count']), 0);
      const { counted, balanced } = await account(servers.redis, bench.pipeline, ends, say);
      const equal = balanced && total === counted;
      const difference = equal
        ? null
        : balanced
          ? `the rows add up to ${total}, and ${counted} were counted.`
          : 'the counters do not balance.';
      return { records, seed, ...measured, equal, difference };
    } finally {
      await stream.stop();
      await servers.clear([`reckon:{${name}:*`]);
    }
  } finally {
    await servers.close();
  }
}

/** One query after another. */
async function measureReads(reader: WindowReader, signal: AbortSignal) {
  const [points, ranges, rows]: [number[], number[], number[]] = [[], [], []];
  const read = async (fromMs: number, toMs: number, group?: string) =>
    reader.read(aggregate, { fromMs, toMs, ...(group === undefined ? {} : { group }) }, Date.now());
  const timed = async (into: number[], ...query: Parameters<typeof read>) => {
    const beganMs = performance.now();
    const found = await read(...query);
    into.push(performance.now() - beganMs);
    return found;
  };
  await sleep(settleMs, undefined, { signal });
  const counted = async () => {
    const { offsets, watermarkMs } = await read(0, 0);
    return { records: Object.values(offsets).reduce((sum, offset) => sum + offset, 0), watermarkMs };
  };
  const before = await counted();
  const beganMs = performance.now();
  while (performance.now() - beganMs < readMs) {
    signal.throwIfAborted();
    const { watermarkMs } = await counted();
    const toMs = Math.ceil(((watermarkMs ?? 0) + outOfOrderMs) / windowMs) * windowMs;
    rows.push((await timed(ranges, toMs - windows * windowMs, toMs)).rows.length);
    for (let i = 0; i < pointsPerRange; i++)
      await timed(points, toMs - windowMs, toMs, JSON.stringify([`p${(i * 37) % 1_000}`]));
  }
  const seconds = (performance.now() - beganMs) / 1_000;
  const { records } = await counted();
  return {
    ...{ point: latency(points), range: latency(ranges), rangeRows: at(rows, 0.5) },
    eventsPerSecond: Math.round((records - before.records) / seconds),
  };
}

function latency(samples: readonly number[]): Latency {
  const round = (ms: number) => Number(ms.toFixed(2));
  return {
    queries: samples.length,
    p50Ms: round(at(samples, 0.5)),
    p99Ms: round(at(samples, 0.99)),
    maxMs: round(at(samples, 1)),
  };
}

/** The value at the nearest rank. */
function at(samples: readonly number[], q: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.max(1, Math.ceil(q * sorted.length)) - 1] ?? Number.NaN;
}
