/**
 * The round's log: what the topic held, also where Kafka no longer has it. Guarantee: the meaning of a record comes from what
 * was sent, its offset and time from the broker; a record whose bytes are not those that were sent is an error.
 */
import type { SentEvent } from './events.ts';
import type { LoggedEvent } from './rules.ts';
import { readTopic } from './topic.ts';

/** Header of each record: the index of its event. */
export const indexHeader = 'chaos-event';

export class LogKeeper {
  readonly #brokers: string;
  readonly #topic: string;
  readonly #events: readonly SentEvent[];
  readonly #log = new Map<string, LoggedEvent>();
  #frozen = false;

  constructor(brokers: string, topic: string, events: readonly SentEvent[]) {
    this.#brokers = brokers;
    this.#topic = topic;
    this.#events = events;
  }

  get log(): readonly LoggedEvent[] {
    return [...this.#log.values()];
  }

  /** Takes over what the topic holds now. */
  async capture(): Promise<void> {
    if (this.#frozen) return;
    for (const record of await readTopic(this.#brokers, this.#topic)) {
      const { partition, offset, timestampMs, value, headers } = record;
      const sent = this.#events[Number(headers[indexHeader])];
      if (sent === undefined)
        throw new Error(`offset ${offset} of partition ${partition} was not sent by us`);
      if (sent.value === null ? value !== null : value === null || !sent.value.equals(value))
        throw new Error(`offset ${offset} of partition ${partition} holds other bytes than were sent`);
      this.#log.set(`${partition}:${offset}`, { partition, offset, timestampMs, event: sent.plain });
    }
  }

  /** From now on the topic is another one. */
  freeze(): void {
    this.#frozen = true;
  }
}
