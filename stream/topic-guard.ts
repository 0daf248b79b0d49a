/**
 * Whether the topic is still the one that is counted. Guarantee: `require` returns only when Kafka, asked after the call, still has
 * the topic of that id under its name: what was read before the call is of that topic, as Kafka gives no id twice.
 */
import { requireTopicId } from '../clients/topic-ids.ts';

export class TopicGuard {
  readonly #topic: string;
  readonly #readId: () => Promise<string | null>;
  #asking: Promise<string | null> | null = null;
  /** Asked when the answer that is under way has come; callers share it. */
  #next: Promise<string | null> | null = null;

  /** @param readId asks Kafka; null where the broker has no ids, of which nothing can be known */
  constructor(topic: string, readId: () => Promise<string | null>) {
    this.#topic = topic;
    this.#readId = readId;
  }

  /** The id, asked after the call. */
  id(): Promise<string | null> {
    if (this.#asking === null) return this.#ask();
    this.#next ??= this.#asking.then(
      () => this.#ask(),
      () => this.#ask(),
    );
    return this.#next;
  }

  /** @throws ReckonError `log-truncated` when the topic was recreated */
  async require(expected: string | null): Promise<void> {
    if (expected === null) return;
    requireTopicId(this.#topic, expected, await this.id(), 'the counts in Redis');
  }

  #ask(): Promise<string | null> {
    this.#next = null;
    this.#asking = this.#readId().finally(() => (this.#asking = null));
    return this.#asking;
  }
}
