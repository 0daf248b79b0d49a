/**
 * Windows over event time, and the panes that they are stored as. Guarantee: panes are aligned to the epoch (UTC), half-open
 * [start, end), and depend on the event time alone; times before 1970 fall into the right pane, too. Whatever the kind of
 * window, a pane is a sum that merges in any order; windows are put together from panes when they are read
 * (`domain/window-view.ts`).
 */

/** `|--0--|--1--|--2--|`, each `sizeMs` long: a window is one pane. */
export interface TumblingWindow {
  readonly kind: 'tumbling';
  readonly sizeMs: number;
}

/** Windows of `sizeMs` that begin every `slideMs` (which divides the size): a window is `sizeMs / slideMs` panes. */
export interface HoppingWindow {
  readonly kind: 'hopping';
  readonly sizeMs: number;
  readonly slideMs: number;
}

/**
 * Events of one group, each at most `gapMs` after the one before. Panes are `gapMs` long, so two events of a pane are always
 * of one session; panes keep their first and last event time, which says whether neighbours belong together.
 */
export interface SessionWindow {
  readonly kind: 'session';
  readonly gapMs: number;
}

export type Window = TumblingWindow | HoppingWindow | SessionWindow;

/** @returns the length of a pane in milliseconds. */
export function paneMs(window: Window): number {
  return window.kind === 'tumbling'
    ? window.sizeMs
    : window.kind === 'hopping'
      ? window.slideMs
      : window.gapMs;
}

/** @returns the start (epoch milliseconds) of the pane that holds `timeMs`. */
export function paneStartMs(window: Window, timeMs: number): number {
  const lengthMs = paneMs(window);
  return Math.floor(timeMs / lengthMs) * lengthMs;
}

/**
 * Rule 4 of DESIGN.md section 2: an event is late for a window once the watermark has reached the window's end plus the
 * allowed lateness; it is late altogether when it is late for every window that would hold it.
 *
 * The events of a hopping pane that are late for its first windows but not for the following are kept apart from the others,
 * under the end of the first window that still takes them. The window of a session's event is the event's own, which ends `gapMs`
 * after it: so lateness never depends on the order in which other events came.
 *
 * @param startMs of the event's pane
 * @param watermark −Infinity where there is none
 * @returns the end (epoch milliseconds) after which the pane takes such events no longer: it cannot change any more once the
 *   watermark has reached that end plus the allowed lateness. Null when the event is late.
 */
export function acceptingEndMs(
  window: Window,
  startMs: number,
  timeMs: number,
  allowedLatenessMs: number,
  watermark: number,
): number | null {
  const closedMs = watermark - allowedLatenessMs;
  switch (window.kind) {
    case 'tumbling': {
      const endMs = startMs + window.sizeMs;
      return endMs <= closedMs ? null : endMs;
    }
    case 'hopping': {
      const firstMs = startMs + window.slideMs;
      if (firstMs > closedMs) return firstMs;
      if (startMs + window.sizeMs <= closedMs) return null;
      return firstMs + window.slideMs * (Math.floor((closedMs - firstMs) / window.slideMs) + 1);
    }
    case 'session':
      // The last event that the pane may hold ends one millisecond before twice the gap.
      return timeMs + window.gapMs <= closedMs ? null : startMs + 2 * window.gapMs - 1;
  }
}
