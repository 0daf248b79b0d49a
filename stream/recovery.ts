/**
 * Where the owner of a partition has to read from, in Kafka and, for what Kafka has deleted, in the lake. Guarantee: counting
 * begins where it has always begun, and the dedup index knows every id of the horizon, or the partition stops with one line.
 */
import type { OffsetRange } from '../clients/kafka.ts';
import { ReckonError } from '../domain/errors.ts';
import type { History } from '../domain/history.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import { noEventTime } from '../domain/watermark.ts';
import type { PartitionState } from './state-store.ts';

export interface RecoveryDeps {
  readonly pipeline: Pipeline;
  /** Null where there is no lake. */
  readonly history: History | null;
  /** The first offset at or after a log time; null when there is none. */
  readonly offsetAtTime: (partition: number, timestampMs: number) => Promise<number | null>;
  /** Where counting began, as the group's offsets in Kafka remember it; null where it never did. */
  readonly rememberedBase: (partition: number) => Promise<number | null>;
  /** Wall clock, epoch milliseconds. */
  readonly wallMs: () => number;
}

/** What has to be read before the consumer goes on, in the order in which it is read. */
export interface Recovery {
  /** Offsets [from, to) of the lake. */
  readonly lake: { readonly from: number; readonly to: number } | null;
  /** First offset that is read from Kafka. */
  readonly kafkaFrom: number;
}

/**
 * Where a partition without state begins: where it began before its state was lost, if it was counted before; else with the
 * first record that the lake or Kafka has.
 * @throws ReckonError `log-truncated` when records from there on are neither in the lake nor in Kafka
 */
export async function firstOffset(partition: number, log: OffsetRange, deps: RecoveryDeps): Promise<number> {
  const remembered = await deps.rememberedBase(partition);
  if (remembered !== null && remembered >= log.start && remembered <= log.end) return remembered;
  if (log.start === 0) return 0;
  const archived = (await deps.history?.range(partition)) ?? null;
  const first = remembered ?? archived?.start ?? log.start;
  if (first < log.start) await requireArchived(partition, first, log.start, deps, 'has no counts of');
  return first;
}

/** @throws ReckonError `log-truncated` when records that are needed are neither in the lake nor in Kafka */
export async function planRecovery(
  partition: number,
  log: OffsetRange,
  state: PartitionState,
  deps: RecoveryDeps,
): Promise<Recovery> {
  const { position, baseOffset } = state;
  const { nextOffset, logTimeMs } = position;
  const horizonMs = logTimeMs - deps.pipeline.dedupHorizonMs;
  if (nextOffset < log.start) {
    // What was not counted yet has left Kafka: it is counted from the lake, after the ids before it.
    await requireArchived(partition, nextOffset, log.start, deps, 'has counted up to');
    const first = logTimeMs === noEventTime ? nextOffset : await horizonInLake(partition, log, state, deps);
    if (first !== null)
      return { lake: { from: Math.min(first, nextOffset), to: log.start }, kafkaFrom: log.start };
    throw missing(partition, log.start, nextOffset, deps, 'needs the ids of the dedupHorizon before');
  }
  if (logTimeMs === noEventTime) return { lake: null, kafkaFrom: nextOffset };
  const inHorizon = (await deps.offsetAtTime(partition, horizonMs)) ?? nextOffset;
  const kafkaFrom = Math.min(Math.max(inHorizon, log.start), nextOffset);
  // Nothing of the horizon was deleted where an older record is still there, or where nothing ever was.
  if (kafkaFrom > log.start || log.start <= baseOffset) return { lake: null, kafkaFrom };
  const from = await horizonInLake(partition, log, state, deps);
  if (from !== null) return { lake: { from, to: log.start }, kafkaFrom };
  if (await isHorizonOver(partition, log, state, deps)) return { lake: null, kafkaFrom };
  throw missing(partition, log.start, log.start, deps, 'needs the ids of the dedupHorizon before');
}

/** Where the horizon begins in the lake, or null where the lake does not hold all of it that Kafka has deleted. */
async function horizonInLake(
  partition: number,
  log: OffsetRange,
  { position, baseOffset }: PartitionState,
  { pipeline, history }: RecoveryDeps,
): Promise<number | null> {
  const archived = (await history?.range(partition)) ?? null;
  if (archived === null || archived.end < log.start) return null;
  const horizonMs = position.logTimeMs - pipeline.dedupHorizonMs;
  const first = (await history?.offsetAtTime(partition, horizonMs)) ?? archived.end;
  // It is all there where the lake holds an older record, too, or every record that was ever counted.
  const isWhole = first > archived.start || archived.start <= baseOffset;
  return isWhole ? Math.max(Math.min(first, log.start), baseOffset) : null;
}

/** Whether every record that comes next, those that wait in the log included, is later than all ids of the horizon. */
async function isHorizonOver(
  partition: number,
  log: OffsetRange,
  { position: { nextOffset, logTimeMs } }: PartitionState,
  { pipeline, offsetAtTime, wallMs }: RecoveryDeps,
): Promise<boolean> {
  const overMs = logTimeMs + pipeline.dedupHorizonMs + 1;
  if (log.end > nextOffset) return (await offsetAtTime(partition, overMs)) === nextOffset;
  return wallMs() >= overMs;
}

/** @throws ReckonError `log-truncated` unless the lake holds [from, to) */
async function requireArchived(
  partition: number,
  from: number,
  to: number,
  deps: RecoveryDeps,
  reader: string,
): Promise<void> {
  const archived = (await deps.history?.range(partition)) ?? null;
  if (archived === null || archived.start > from || archived.end < to)
    throw missing(partition, to, from, deps, reader, archived);
}

function missing(
  partition: number,
  logStart: number,
  from: number,
  { pipeline }: RecoveryDeps,
  reader: string,
  archived: { readonly start: number; readonly end: number } | null = null,
): ReckonError {
  const lake =
    archived === null ? 'the lake does not have them' : `the lake has ${archived.start} to ${archived.end}`;
  return new ReckonError(
    'log-truncated',
    `Partition ${partition} of topic ${pipeline.topic} begins at offset ${logStart} in Kafka, Redis ${reader} offset ${from}, and ${lake}: records were deleted before they were read.`,
    'Restore Redis, the lake or the topic from a backup, or give the pipeline a new name to count anew.',
  );
}
