/**
 * Streams the rows of a file into a pipeline's topic. Guarantee: every row is acknowledged by the broker exactly once and
 * in the order of the file within its partition, or the replay ends with an error; memory is bounded by two batches.
 *
 * One send is in flight while the next batch is being made. More would not be safe: kafkajs gives a batch its sequence
 * numbers anew when it retries, so a batch sent meanwhile could take those of a batch whose answer was lost, and the
 * broker would drop it as a duplicate.
 */
import type { ProducedMessage } from '../clients/kafka.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import { Pace } from './pace.ts';
import type { Clock } from './pace.ts';
import { createRowReader, eventTimeOf } from './row-event.ts';
import type { RowEvent } from './row-event.ts';
import type { Source } from './source-file.ts';

export interface ReplayOptions {
  /** Times real time; null = as fast as it goes. */
  readonly speed: number | null;
  /** Stops after so many rows; null = all. */
  readonly limit: number | null;
  /** Aborted: what has been read is sent, then the replay ends. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
  /** Sends one batch; resolves when all replicas have it. */
  readonly send: (messages: ProducedMessage[]) => Promise<void>;
  /** Called after each acknowledged batch with the number of records sent so far. */
  readonly onSent?: (records: number) => void;
}

export interface ReplayResult {
  readonly records: number;
  readonly interrupted: boolean;
}

export async function replay(
  source: Source,
  pipeline: Pipeline,
  options: ReplayOptions,
): Promise<ReplayResult> {
  const { signal, clock, limit } = options;
  const read = createRowReader(pipeline);
  const batches = new Batches(options);
  const pace = options.speed === null ? null : new Pace(options.speed, clock.nowMs);
  let rowNumber = 0;
  try {
    if (limit !== 0)
      rows: for await (const rows of source.rows) {
        for (const row of rows) {
          const event = read(row, rowNumber);
          if (pace !== null) await waitUntilDue(pace, eventTimeOf(pipeline, event.event), batches, options);
          if (signal.aborted) break rows;
          rowNumber += 1;
          if (batches.add(event)) await batches.dispatch();
          if (rowNumber === limit) break rows;
        }
      }
  } finally {
    // Also where reading failed: what was read before is sent, and counted in what the error tells.
    await batches.flush();
  }
  return { records: batches.acknowledged, interrupted: signal.aborted };
}

/** What is ready is sent before the wait, not after it. */
async function waitUntilDue(
  pace: Pace,
  eventTimeMs: number | null,
  batches: Batches,
  { clock, signal }: ReplayOptions,
): Promise<void> {
  for (;;) {
    const waitMs = pace.waitMs(eventTimeMs);
    if (waitMs === 0 || signal.aborted) return;
    await batches.flush();
    await clock.sleep(waitMs, signal);
  }
}

/** kafkajs groups a batch by partition in quadratic time: 10,000 records cost a third more each than 2,000 do. */
const batchRecordsMax = 2_000;
/** A fourth of what a topic takes in one batch, so that a single partition may get it all. */
const batchCharactersMax = 1 << 20;

class Batches {
  readonly #send: ReplayOptions['send'];
  readonly #onSent: ReplayOptions['onSent'];
  #batch: RowEvent[] = [];
  #characters = 0;
  #inFlight: Promise<void> = Promise.resolve();
  acknowledged = 0;

  constructor({ send, onSent }: ReplayOptions) {
    this.#send = send;
    this.#onSent = onSent;
  }

  /** @returns whether the batch is full and has to be dispatched. */
  add(event: RowEvent): boolean {
    this.#batch.push(event);
    this.#characters += event.value.length + event.key.length;
    return this.#batch.length >= batchRecordsMax || this.#characters >= batchCharactersMax;
  }

  /** Waits for the last send, then starts this one. */
  async dispatch(): Promise<void> {
    await this.#inFlight;
    if (this.#batch.length === 0) return;
    const messages = this.#batch.map(({ key, value }) => ({ key, value }));
    this.#batch = [];
    this.#characters = 0;
    this.#inFlight = this.#send(messages).then(() => {
      this.acknowledged += messages.length;
      this.#onSent?.(this.acknowledged);
    });
    // The failure is seen by the next await; until then it must not count as unhandled.
    this.#inFlight.catch(() => undefined);
  }

  async flush(): Promise<void> {
    await this.dispatch();
    await this.#inFlight;
  }
}
