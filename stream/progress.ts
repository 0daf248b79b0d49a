/**
 * How far a pipeline has come, from the states of its partitions. Guarantee: pure; whoever labels windows or shows a watermark
 * takes it from here. It decides nothing: what is late follows from a partition's own records.
 */
import type { Pipeline } from '../domain/pipeline.ts';
import { pipelineWatermarkMs } from '../domain/watermark.ts';
import type { PartitionState } from './state-store.ts';

/** A partition is idle when nothing came for this long, and its owner has looked not longer ago than this. */
const idleAfterMs = 10_000;
const reportMaxAgeMs = 10_000;

/** What of a partition's state tells how far it is. */
type Reached = Pick<PartitionState, 'position' | 'report'>;

/** @param nowMs wall clock; that of the owner should not be far from it */
export function isIdle({ report }: Reached, nowMs: number): boolean {
  if (report === null || report.idleSinceMs === null) return false;
  return nowMs - report.idleSinceMs >= idleAfterMs && nowMs - report.seenAtMs <= reportMaxAgeMs;
}

/**
 * The pipeline's watermark (`domain/watermark.ts`).
 * @param states of its partitions; null where a partition was not begun, which holds nobody back
 * @returns epoch milliseconds; −Infinity before the first event
 */
export function watermarkOf(
  { outOfOrderMs }: Pipeline,
  states: readonly (Reached | null)[],
  nowMs: number,
): number {
  const begun = states.filter((state) => state !== null);
  if (begun.length === 0) return Number.NEGATIVE_INFINITY;
  return pipelineWatermarkMs(
    begun.map((state) => ({ maxEventTimeMs: state.position.maxEventTimeMs, idle: isIdle(state, nowMs) })),
    outOfOrderMs,
    nowMs,
  );
}
