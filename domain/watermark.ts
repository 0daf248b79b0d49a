/**
 * Watermark of one partition (DESIGN.md section 2, rule 3), and of the pipeline. Guarantee: a partition's depends on the log
 * alone and never regresses, so neither waiting nor catching up nor another partition makes an event late; the
 * pipeline's is for labels only and decides nothing.
 */

/** No decodable record has been seen: nothing is late. */
export const noEventTime = Number.NEGATIVE_INFINITY;

/** @returns the watermark (epoch milliseconds) given the largest event time of the *earlier* decodable records. */
export function watermarkMs(maxEventTimeMs: number, outOfOrderMs: number): number {
  return maxEventTimeMs - outOfOrderMs;
}

/** What the pipeline's watermark needs to know of a partition. */
export interface PartitionProgress {
  /** −Infinity where no record was decodable. */
  readonly maxEventTimeMs: number;
  /** Everything was taken, and nothing came for a while: it holds nobody back. */
  readonly idle: boolean;
}

/**
 * The pipeline's watermark: the minimum over the partitions that are not idle. Where all are idle nothing more is expected
 * but what happens from now on, so it follows the clock and the last windows close without new traffic.
 * @returns epoch milliseconds; −Infinity where a partition that is not idle has no event time yet
 */
export function pipelineWatermarkMs(
  partitions: readonly PartitionProgress[],
  outOfOrderMs: number,
  nowMs: number,
): number {
  const reached = partitions.map(({ maxEventTimeMs }) => watermarkMs(maxEventTimeMs, outOfOrderMs));
  const awaited = reached.filter((_, i) => partitions[i]?.idle === false);
  return awaited.length > 0 ? Math.min(...awaited) : Math.max(nowMs - outOfOrderMs, ...reached);
}
