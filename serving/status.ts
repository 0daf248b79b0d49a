/**
 * The live status of pipelines, read from Redis and Kafka. Guarantee: reads only; counts and offsets are those of the last
 * commits, so they never run ahead of what a query would see.
 */
import { readOffsets } from '../clients/kafka.ts';
import type { Admin } from '../clients/kafka.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import type { PartitionStatus, PipelineStatus } from '../domain/status.ts';
import { noEventTime, watermarkMs } from '../domain/watermark.ts';
import type { PartitionState, StateStore } from '../stream/state-store.ts';

export async function readPipelineStatus(
  admin: Admin,
  store: StateStore,
  pipeline: Pipeline,
): Promise<PipelineStatus> {
  const offsets = await readOffsets(admin, pipeline.topic);
  const states = await Promise.all(offsets.map(({ partition }) => store.read(partition)));
  const panes = await Promise.all(
    offsets.map(({ partition }, i) => {
      const { maxEventTimeMs } = states[i]?.position ?? { maxEventTimeMs: noEventTime };
      const closedMs = maxEventTimeMs - pipeline.outOfOrderMs - pipeline.allowedLatenessMs;
      return store.panes.count(partition, closedMs);
    }),
  );
  const partitions = offsets.map(({ partition, start, end }, i) =>
    partitionStatus(pipeline, partition, start, end, states[i] ?? null),
  );
  const total = (counter: string) =>
    states.reduce((sum, state) => sum + (state?.counters.get(counter) ?? 0n), 0n);
  const counted = pipeline.aggregates.map(({ name }) => total(`counted:${name}`));
  const watermarks = partitions.flatMap(({ watermark }) => (watermark === null ? [] : [watermark]));
  return {
    pipeline: pipeline.name,
    topic: pipeline.topic,
    records: String(total('consumed')),
    counted: String(counted.reduce((most, count) => (count > most ? count : most), 0n)),
    lag: String(partitions.reduce((sum, { lag }) => sum + Number(lag), 0)),
    openWindows: panes.reduce((sum, { open }) => sum + open, 0),
    watermark: watermarks.sort()[0] ?? null,
    partitions,
  };
}

function partitionStatus(
  pipeline: Pipeline,
  partition: number,
  logStart: number,
  logEnd: number,
  state: PartitionState | null,
): PartitionStatus {
  const nextOffset = state?.position.nextOffset ?? logStart;
  const maxEventTimeMs = state?.position.maxEventTimeMs ?? noEventTime;
  return {
    partition,
    nextOffset: String(nextOffset),
    endOffset: String(logEnd),
    lag: String(Math.max(0, logEnd - nextOffset)),
    watermark:
      maxEventTimeMs === noEventTime
        ? null
        : new Date(watermarkMs(maxEventTimeMs, pipeline.outOfOrderMs)).toISOString(),
  };
}
