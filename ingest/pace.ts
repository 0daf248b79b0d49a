/**
 * Replays at N times real time, by event time. Guarantee: an event is due when as much time has passed on the wall clock
 * as lies between the first event and it, divided by N; what is out of order or has no time goes at once.
 */

/** Time as an argument, so that tests need not wait. */
export interface Clock {
  readonly nowMs: () => number;
  /** Ends early when the signal is aborted. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** Shorter waits are not worth a timer: events are sent at most this much early. */
export const paceGrainMs = 10;

export class Pace {
  readonly #speed: number;
  readonly #nowMs: () => number;
  #startMs = 0;
  #firstEventMs: number | null = null;

  constructor(speed: number, nowMs: () => number) {
    this.#speed = speed;
    this.#nowMs = nowMs;
  }

  /** How long to wait before an event of this time may be sent; 0 when it is due. */
  waitMs(eventTimeMs: number | null): number {
    if (eventTimeMs === null) return 0;
    const nowMs = this.#nowMs();
    if (this.#firstEventMs === null) {
      this.#firstEventMs = eventTimeMs;
      this.#startMs = nowMs;
    }
    const dueMs = this.#startMs + (eventTimeMs - this.#firstEventMs) / this.#speed;
    return dueMs - nowMs < paceGrainMs ? 0 : dueMs - nowMs;
  }
}
