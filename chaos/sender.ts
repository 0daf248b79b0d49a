/**
 * Sends the round's events while faults happen. Guarantee: every event is acknowledged by the broker at least once; what is sent
 * twice after a failure is a duplicate like any other.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { createKafka } from '../clients/kafka.ts';
import type { Producer } from '../clients/kafka.ts';
import type { SentEvent } from './events.ts';
import { indexHeader } from './log-keeper.ts';
import { atMost, until } from './wait.ts';

const tickMs = 40;
const answerMs = 8_000;
/** What is left of a part while its fault still goes on is sent drop by drop, so that something always flows. */
const dropsShare = 0.4;

export class Sender {
  readonly #brokers: string;
  readonly #topic: string;
  readonly #events: readonly SentEvent[];
  readonly #stampedBy: 'broker' | 'producer';
  #producer: Producer | null = null;
  #next = 0;
  /** What has to end before the next batch may go out. */
  #held: Promise<void> = Promise.resolve();
  #sending: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(
    brokers: string,
    topic: string,
    events: readonly SentEvent[],
    stampedBy: 'broker' | 'producer',
  ) {
    this.#brokers = brokers;
    this.#topic = topic;
    this.#events = events;
    this.#stampedBy = stampedBy;
  }

  get sent(): number {
    return this.#next;
  }

  /** Sends up to the event `to`: most of them evenly within the time; what is left at once when `done` says so. */
  async flow(to: number, seconds: number, done: () => boolean): Promise<void> {
    const from = this.#next;
    const steady = from + Math.floor((to - from) * (1 - dropsShare));
    const perTick = Math.max(1, Math.ceil((steady - from) / ((seconds * 1_000) / tickMs)));
    const drop = Math.max(1, Math.floor((to - steady) / 1_000));
    while (this.#next < to && !this.#stopped) {
      const count = done() ? 2_000 : this.#next < steady ? perTick : drop;
      await this.#held;
      this.#sending = this.#send(Math.min(to, this.#next + count));
      await this.#sending;
      if (!done()) await sleep(tickMs);
    }
  }

  /** Sends everything from the beginning again, and some more, into a topic that is new. Only within `hold`. */
  async refill(more: number): Promise<void> {
    await this.#disconnect();
    const to = Math.min(this.#events.length, this.#next + more);
    this.#next = 0;
    while (this.#next < to) await this.#send(Math.min(to, this.#next + 2_000));
  }

  /** Nothing is sent while the work is done; afterwards with a new producer, as for a new topic. */
  async hold(work: () => Promise<void>): Promise<void> {
    let release = (): void => undefined;
    this.#held = new Promise((resolve) => (release = resolve));
    try {
      await this.#sending;
      await work();
      await this.#disconnect();
    } finally {
      release();
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#disconnect();
  }

  async #send(to: number): Promise<void> {
    const messages = this.#events.slice(this.#next, to).map(({ key, value, timestampMs }, i) => ({
      key,
      value,
      headers: { [indexHeader]: String(this.#next + i) },
      ...(this.#stampedBy === 'producer' ? { timestamp: String(timestampMs) } : {}),
    }));
    await until(
      'the broker takes events',
      async () => {
        if (this.#stopped) return true;
        this.#producer ??= await this.#connect();
        try {
          const sent = this.#producer.send({ topic: this.#topic, acks: -1, messages }).then(() => true);
          // After a broker's restart kafkajs may wait half a minute for an answer that never comes.
          if (await Promise.race([sent, sleep(answerMs, false)])) return true;
          sent.catch(() => undefined);
          throw new Error('no answer');
        } catch (error) {
          await this.#disconnect();
          throw error;
        }
      },
      90_000,
      200,
    );
    this.#next = to;
  }

  /** Without retries of its own: what is given up here must not arrive minutes later. */
  async #connect(): Promise<Producer> {
    const retry = { retries: 0 };
    const producer = createKafka(this.#brokers, 'chaos', 0).producer({
      retry,
      allowAutoTopicCreation: false,
    });
    await producer.connect();
    return producer;
  }

  async #disconnect(): Promise<void> {
    const producer = this.#producer;
    this.#producer = null;
    if (producer !== null) await atMost(producer.disconnect());
  }
}
