/**
 * Watermark and lateness of one partition (DESIGN.md section 2, rules 3 and 4). Guarantee: both depend on the log
 * alone; the watermark never regresses, and neither waiting nor catching up nor another partition makes an event late.
 */

/** No decodable record has been seen: nothing is late. */
export const noEventTime = Number.NEGATIVE_INFINITY;

/** @returns the watermark (epoch milliseconds) given the largest event time of the *earlier* decodable records. */
export function watermarkMs(maxEventTimeMs: number, outOfOrderMs: number): number {
  return maxEventTimeMs - outOfOrderMs;
}

/** A record is late for a window once the watermark has reached the window's end plus the allowed lateness. */
export function isLate(windowEndMs: number, allowedLatenessMs: number, watermark: number): boolean {
  return windowEndMs + allowedLatenessMs <= watermark;
}
