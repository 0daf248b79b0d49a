/**
 * The live status of pipelines, read from Redis and Kafka. Guarantee: reads only; counts and offsets are those of the last
 * commits, so they never run ahead of what a query would see.
 */
import { readOffsets } from '../clients/kafka.ts';
import type { Admin, OffsetRange } from '../clients/kafka.ts';
import { rejectionReasons } from '../domain/event.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import type { PartitionStatus, PipelineStatus } from '../domain/status.ts';
import { noEventTime, watermarkMs } from '../domain/watermark.ts';
import { isIdle, watermarkOf } from '../stream/progress.ts';
import type { PartitionState, StateStore } from '../stream/state-store.ts';

/** @param nowMs wall clock, epoch milliseconds */
export async function readPipelineStatus(
  admin: Admin,
  store: StateStore,
  pipeline: Pipeline,
  nowMs: number,
): Promise<PipelineStatus> {
  const offsets = await readOffsets(admin, pipeline.topic);
  const read = await Promise.all(
    offsets.map(async (log) => {
      const [state, stopped] = await Promise.all([
        store.read(log.partition),
        store.readStopped(log.partition),
      ]);
      const { maxEventTimeMs } = state?.position ?? { maxEventTimeMs: noEventTime };
      const closedMs = maxEventTimeMs - pipeline.outOfOrderMs - pipeline.allowedLatenessMs;
      const { open } = await store.panes.count(log.partition, closedMs);
      return { state, status: partitionStatus(pipeline, log, state, { stopped, openPanes: open, nowMs }) };
    }),
  );
  const partitions = read.map(({ status }) => status);
  const states = read.map(({ state }) => state);
  const total = (counter: string) =>
    states.reduce((sum, state) => sum + (state?.counters.get(counter) ?? 0n), 0n);
  const counted = pipeline.aggregates.map(({ name }) => total(`counted:${name}`));
  return {
    pipeline: pipeline.name,
    topic: pipeline.topic,
    records: String(total('consumed')),
    counted: String(counted.reduce((most, count) => (count > most ? count : most), 0n)),
    lag: String(partitions.reduce((sum, { lag }) => sum + Number(lag), 0)),
    openWindows: partitions.reduce((sum, { openPanes }) => sum + openPanes, 0),
    watermark: toIso(watermarkOf(pipeline, states, nowMs)),
    partitions,
  };
}

interface Seen {
  readonly stopped: string | null;
  readonly openPanes: number;
  readonly nowMs: number;
}

function partitionStatus(
  pipeline: Pipeline,
  { partition, start, end }: OffsetRange,
  state: PartitionState | null,
  { stopped, openPanes, nowMs }: Seen,
): PartitionStatus {
  const nextOffset = state?.position.nextOffset ?? start;
  const maxEventTimeMs = state?.position.maxEventTimeMs ?? noEventTime;
  const report = state?.report ?? null;
  return {
    partition,
    nextOffset: String(nextOffset),
    endOffset: String(end),
    lag: String(Math.max(0, end - nextOffset)),
    watermark: toIso(watermarkMs(maxEventTimeMs, pipeline.outOfOrderMs)),
    idle: state !== null && isIdle(state, nowMs),
    stopped,
    epoch: state?.epoch ?? 0,
    openPanes,
    counters: countersOf(pipeline, state),
    owner:
      report === null ? null : { lag: String(report.lag), seenAt: new Date(report.seenAtMs).toISOString() },
  };
}

/** Those that were never raised, too: a dashboard should not have to guess which there are. */
function countersOf(pipeline: Pipeline, state: PartitionState | null): Record<string, string> {
  const names = [
    ...['consumed', 'gaps', 'duplicate'],
    ...Object.keys(rejectionReasons).map((reason) => `dead:${reason}`),
    ...pipeline.aggregates.flatMap(({ name }) => [`counted:${name}`, `filtered:${name}`, `late:${name}`]),
  ];
  return Object.fromEntries(names.map((name) => [name, String(state?.counters.get(name) ?? 0n)]));
}

function toIso(ms: number): string | null {
  return Number.isFinite(ms) ? new Date(ms).toISOString() : null;
}
