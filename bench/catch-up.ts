/**
 * `npm run bench -- catch-up`: one partition lags far behind the others. Its records are produced only when all others have
 * been counted and the process has gone, so that it is behind by the whole span of event time. Guarantee: what is on time is computed from the topic
 * itself, and every such event is in its window, or `equal` is false.
 */
import { randomUUID } from 'node:crypto';
import { ensureTopics } from '../clients/kafka-topics.ts';
import { account } from './accounting.ts';
import { OnTimeRule } from './on-time.ts';
import { partitions, writePipeline } from './pipeline.ts';
import type { BenchPipeline } from './pipeline.ts';
import { firstDifference, readOurs } from './results.ts';
import { openServers } from './servers.ts';
import type { Servers } from './servers.ts';
import type { BenchOptions } from './speed.ts';
import { StreamProcess } from './stream-process.ts';
import { endsOf, produceEvents, readTopic } from './topic.ts';

export interface CatchUpResult {
  readonly records: number;
  readonly seed: number;
  /** Records of the partition that came last. */
  readonly lagging: number;
  /** By the rule of DESIGN.md section 2, computed from the topic. */
  readonly onTime: number;
  readonly late: number;
  /** Events on time that are not in their windows. */
  readonly onTimeLate: number;
  readonly counted: number;
  readonly windowsCompared: number;
  /** What the others took, at full speed, and then the lagging one, which a new process counts. */
  readonly aheadSeconds: number;
  readonly laggingSeconds: number;
  /** Whether every window of every product is as the topic says. */
  readonly equal: boolean;
  readonly difference: string | null;
}

const laggingPartition = partitions - 1;

export async function benchCatchUp(options: BenchOptions): Promise<CatchUpResult> {
  const { records, seed, signal, say } = options;
  const servers = await openServers(process.env, say);
  try {
    signal.throwIfAborted();
    const bench = writePipeline(`bench-${randomUUID().slice(0, 8)}`, servers.dir);
    const { name, topic } = bench.pipeline;
    const produce = (only: (partition: number) => boolean) =>
      produceEvents({ ...servers, topic, records, seed, only, signal, say });
    await ensureTopics(servers.admin, bench.pipeline);
    const ahead = await produce((partition) => partition !== laggingPartition);
    const aheadSeconds = await consume(servers, bench, signal);
    say(
      `${ahead} records of ${partitions - 1} partitions counted in ${aheadSeconds} s; now the one that lags`,
    );
    const lagging = await produce((partition) => partition === laggingPartition);
    const laggingSeconds = await consume(servers, bench, signal);
    say(`${lagging} records of the last one counted in ${laggingSeconds} s; reading the topic back`);

    const ends = await endsOf(servers.admin, topic);
    const rule = new OnTimeRule();
    const take = (partition: number, value: Buffer) => rule.take(partition, value);
    await readTopic(servers.kafkaBrokers, topic, ends, take, signal);
    const results = await readOurs(servers.redis, name);
    const { counted, balanced } = await account(servers.redis, bench.pipeline, ends, say);
    const difference =
      firstDifference(results, rule.expected, 'the topic') ??
      (balanced ? null : 'the counters do not balance.');
    await servers.clear([`reckon:{${name}:*`]);
    return {
      ...{ records, seed, lagging, onTime: rule.onTime, late: rule.late },
      onTimeLate: rule.missingIn(results),
      ...{ counted, windowsCompared: rule.expected.size, aheadSeconds, laggingSeconds },
      ...{ equal: difference === null, difference },
    };
  } finally {
    await servers.close();
  }
}

/** Runs a stream process until it has counted all that the topic holds. @returns seconds since consumption began */
async function consume(servers: Servers, bench: BenchPipeline, signal: AbortSignal): Promise<number> {
  const stream = new StreamProcess(servers, bench);
  try {
    const { seconds } = await stream.counted(await endsOf(servers.admin, bench.pipeline.topic), signal);
    return seconds;
  } finally {
    await stream.stop();
  }
}
