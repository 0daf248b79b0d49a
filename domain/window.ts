/**
 * Windows over event time. Guarantee: windows are aligned to the epoch (UTC), half-open [start, end), and depend on
 * the event time alone; times before 1970 fall into the right window, too.
 */

/** Tumbling windows: `|--0--|--1--|--2--|`, each `sizeMs` long. */
export interface TumblingWindow {
  readonly kind: 'tumbling';
  readonly sizeMs: number;
}

export type Window = TumblingWindow;

/** @returns the start (epoch milliseconds) of the tumbling window that holds `timeMs`. */
export function windowStartMs(window: Window, timeMs: number): number {
  return Math.floor(timeMs / window.sizeMs) * window.sizeMs;
}

/** @returns the exclusive end of the window that starts at `startMs`, in epoch milliseconds. */
export function windowEndMs(window: Window, startMs: number): number {
  return startMs + window.sizeMs;
}
