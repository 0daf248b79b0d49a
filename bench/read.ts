/**
 * `npm run bench -- read`: how long a reader waits for one window of one group, and for 1,000 groups × 60 windows, while the
 * stream process counts at full speed. Guarantee: at the end the rows add up to what was counted, or `equal` is false.
 */
import { randomUUID } from 'node:crypto';
import { ensureTopics } from '../clients/kafka-topics.ts';
import { StateStore } from '../stream/state-store.ts';
import { WindowReader } from '../stream/window-reader.ts';
import { account } from './accounting.ts';
import { aggregate, partitions, writePipeline } from './pipeline.ts';
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
  readonly records: number;
  readonly seed: number;
  /** One window of one group. */
  readonly point: Latency;
  /** The newest 60 windows with all of their groups. */
  readonly range: Latency;
  /** Rows of a range, in the median. */
  readonly rangeRows: number;
  /** What the stream process did meanwhile. */
  readonly recordsPerSecond: number;
  readonly equal: boolean;
  readonly difference: string | null;
}

const windowMs = 10_000;
const windows = 60;
const pointsPerRange = 20;

export async function benchRead(options: BenchOptions): Promise<ReadResult> {
  const { records, seed, signal, say } = options;
  const servers = await openServers(process.env, say);
  try {
    const bench = writePipeline(`bench-${randomUUID().slice(0, 8)}`, servers.dir, {
      windowMs,
      allowedLatenessMs: 2 * windowMs,
    });
    const { name, topic } = bench.pipeline;
    await ensureTopics(servers.admin, bench.pipeline);
    await produceEvents({ ...servers, topic, records, seed, only: () => true, signal, say });
    const ends = await endsOf(servers.admin, topic);
    const store = new StateStore(servers.redis, bench.pipeline);
    const reader = new WindowReader(store, bench.pipeline, [...Array(partitions).keys()]);
    const stream = new StreamProcess(servers, bench);
    const [points, ranges, rows]: [number[], number[], number[]] = [[], [], []];
    const timed = async (into: number[], fromMs: number, toMs: number, group?: string) => {
      const beganMs = performance.now();
      const read = await reader.read(
        aggregate,
        { fromMs, toMs, ...(group === undefined ? {} : { group }) },
        Date.now(),
      );
      into.push(performance.now() - beganMs);
      return read;
    };
    try {
      let isDone = false;
      const counting = stream.counted(ends, signal).finally(() => (isDone = true));
      while (!isDone) {
        const { watermarkMs } = await reader.read(aggregate, { fromMs: 0, toMs: 0 }, Date.now());
        if (watermarkMs === null) continue;
        const toMs = Math.ceil(watermarkMs / windowMs) * windowMs;
        const { rows: found } = await timed(ranges, toMs - windows * windowMs, toMs);
        rows.push(found.length);
        for (let i = 0; i < pointsPerRange; i++)
          await timed(points, toMs - windowMs, toMs, JSON.stringify([`p${(i * 37) % 1_000}`]));
      }
      const { seconds } = await counting;
      const all = await reader.read(aggregate, { fromMs: -Infinity, toMs: Infinity }, Date.now());
      const total = all.rows.reduce((sum, { results }) => sum + Number(results['count']), 0);
      const { counted } = await account(servers.redis, bench.pipeline, ends, say);
      return {
        ...{ records, seed, point: latency(points), range: latency(ranges), rangeRows: at(rows, 0.5) },
        recordsPerSecond: Math.round(records / seconds),
        equal: total === counted,
        difference: total === counted ? null : `the rows add up to ${total}, and ${counted} were counted.`,
      };
    } finally {
      await stream.stop();
      await servers.clear([`reckon:{${name}:*`]);
    }
  } finally {
    await servers.close();
  }
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
