/**
 * Which days of a batch view have to be written again. Guarantee: pure; a day whose windows may have changed, or have closed, since the
 * view was written is among them.
 */
import type { Aggregate } from '../domain/aggregate.ts';
import { pipelineWatermarkMs } from '../domain/watermark.ts';
import { paneMs } from '../domain/window.ts';
import type { DataFile } from './file-statistics.ts';
import type { TimeRange } from './slice.ts';

export const dayMs = 86_400_000;

/** A partition of which nothing was archived for so long holds no window open. */
const idleMs = 60_000;

/**
 * The pipeline's watermark as far as the lake reaches.
 * @returns epoch milliseconds; −Infinity where the lake holds no event
 */
export function watermarkOf(files: readonly DataFile[], outOfOrderMs: number, nowMs: number): number {
  const partitions = new Map<number, { maxEventTimeMs: number; idle: boolean }>();
  for (const { partition, maxTimeMs, archivedMs } of files) {
    const before = partitions.get(partition);
    partitions.set(partition, {
      maxEventTimeMs: Math.max(before?.maxEventTimeMs ?? Number.NEGATIVE_INFINITY, maxTimeMs),
      idle: (before?.idle ?? true) && archivedMs < nowMs - idleMs,
    });
  }
  // Without events nothing is closed, and nothing is there to be closed.
  const begun = [...partitions.values()].filter(({ maxEventTimeMs }) => Number.isFinite(maxEventTimeMs));
  return begun.length === 0 ? Number.NEGATIVE_INFINITY : pipelineWatermarkMs(begun, outOfOrderMs, nowMs);
}

/** The event times that may be in windows which start in the range; sessions may need more on the right. */
export function eventRangeOf({ window }: Aggregate, { fromMs, toMs }: TimeRange): TimeRange {
  // A session that starts in the range has no event in the gap before it: two panes more tell which do.
  if (window.kind === 'session') return { fromMs: fromMs - 2 * window.gapMs, toMs: toMs + 2 * window.gapMs };
  return { fromMs, toMs: toMs + window.sizeMs };
}

/** The panes that events of a range are in: panes are whole, the range's ends need not be. */
export function paneRangeOf({ window }: Aggregate, { fromMs, toMs }: TimeRange): TimeRange {
  const lengthMs = paneMs(window);
  return { fromMs: Math.floor(fromMs / lengthMs) * lengthMs, toMs };
}

/** So long after its end a window takes no event any more; a session may be prolonged by one that comes in the gap after it. */
export function graceMs({ window, allowedLatenessMs }: Aggregate): number {
  return allowedLatenessMs + (window.kind === 'session' ? window.gapMs : 0);
}

/**
 * Where the windows begin that close while the watermark goes from one time to another. A session may begin earlier: the range is
 * that of its last event.
 */
export function closingStarts(aggregate: Aggregate, fromMs: number, toMs: number): TimeRange {
  const { window } = aggregate;
  const lengthMs = graceMs(aggregate) + (window.kind === 'session' ? window.gapMs : window.sizeMs);
  // Starts lie in (from, to]; times are whole milliseconds.
  return { fromMs: fromMs - lengthMs + 1, toMs: toMs - lengthMs + 1 };
}

/**
 * First and last epoch day on which a window begins that holds an event, as SQL over its time in epoch milliseconds; of a session, the
 * event's own day.
 */
export function startDaysSql(
  { window }: Aggregate,
  timeMs: string,
): { readonly first: string; readonly last: string } {
  const floor = (value: string, by: number) => `((${value} - ((${value} % ${by}) + ${by}) % ${by}) // ${by})`;
  if (window.kind === 'session') return { first: floor(timeMs, dayMs), last: floor(timeMs, dayMs) };
  const slideMs = window.kind === 'hopping' ? window.slideMs : window.sizeMs;
  const latest = `(${floor(timeMs, slideMs)} * ${slideMs})`;
  return { first: floor(`(${latest} - ${window.sizeMs - slideMs})`, dayMs), last: floor(latest, dayMs) };
}

/** Days that follow each other as ranges of at most `daysMax`. */
export function toRanges(days: readonly number[], daysMax: number): TimeRange[] {
  const ranges: { fromMs: number; toMs: number }[] = [];
  for (const day of days) {
    const last = ranges.at(-1);
    if (last?.toMs === day * dayMs && last.toMs - last.fromMs < daysMax * dayMs) last.toMs += dayMs;
    else ranges.push({ fromMs: day * dayMs, toMs: (day + 1) * dayMs });
  }
  return ranges;
}
