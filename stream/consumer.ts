/**
 * The speed layer of one pipeline: a member of a Kafka consumer group that owns the partitions it is assigned.
 * Guarantee: Redis, not Kafka, says where to read (Kafka's committed offsets only serve lag tools); a partition whose
 * ownership is lost is dropped and, if still assigned, acquired anew.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { fetchedOffsetOf, onMembership, onSkippedBatch, pauseQuietly } from '../clients/group-events.ts';
import {
  connectAdmin,
  connectProducer,
  createConsumer,
  isWithin,
  kafkaFailure,
  readGroupOffsets,
  readOffsets,
  readOffsetsAtTime,
  readUtf8,
  requireOffset,
} from '../clients/kafka.ts';
import type { Admin, Consumer, EachBatchPayload, Producer } from '../clients/kafka.ts';
import type { Redis } from '../clients/redis.ts';
import { readTopicId } from '../clients/topic-ids.ts';
import type { Account } from '../domain/accounting.ts';
import { createDecoder } from '../domain/decode.ts';
import { ReckonError } from '../domain/errors.ts';
import type { History } from '../domain/history.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import { readAccounts } from './accounts.ts';
import { baseNote, groupOf, parseBaseNote } from './group-offsets.ts';
import { takeInParts } from './log-records.ts';
import { heals, OwnershipLost, Partition } from './partition.ts';
import type { PartitionDeps } from './partition.ts';
import { SideOutputSender } from './side-outputs.ts';
import { StateStore } from './state-store.ts';
import { TopicGuard } from './topic-guard.ts';

export interface SpeedLayerOptions {
  readonly kafkaBrokers: string;
  readonly redis: Redis;
  readonly pipeline: Pipeline;
  readonly flushMs: number;
  /** What the lake has of the log, where Kafka has no more; null where there is no lake. */
  readonly history: History | null;
  readonly log: (event: Readonly<Record<string, unknown>>, message: string) => void;
  /** Told at the end of a run what became of the records of the owned partitions; null where Redis does not say. */
  readonly onAccounts: (accounts: readonly Account[] | null) => void;
  /** Called once when the layer cannot go on; the process should end. */
  readonly onFatal: (error: unknown) => void;
}

/** How often the offsets are told to Kafka, for lag tools, and the lag to the readers. */
const reportMs = 2_000;
/** What the last flush of a drain may take, and what may be said of a run that failed. */
const flushPatienceMs = 5_000;
const lastWordsMs = 2_000;
/** Pause before a lost partition is acquired again. */
const reacquireMs = 250;

export class SpeedLayer {
  readonly #options: SpeedLayerOptions;
  readonly #admin: Admin;
  readonly #producer: Producer;
  readonly #consumer: Consumer;
  readonly #deps: PartitionDeps;
  readonly #partitions = new Map<number, Partition>();
  /** Raised by every assignment; what an older one began is given up. */
  #generation = 0;
  #assigned = new Set<number>();
  #ticker: NodeJS.Timeout | null = null;
  #reportedAtMs = 0;
  #stopped = false;

  private constructor(options: SpeedLayerOptions, admin: Admin, producer: Producer) {
    const { pipeline } = options;
    this.#options = options;
    this.#admin = admin;
    this.#producer = producer;
    this.#consumer = createConsumer(options.kafkaBrokers, groupOf(pipeline), groupOf(pipeline));
    this.#deps = {
      pipeline,
      sideOutputs: new SideOutputSender(producer, pipeline),
      store: new StateStore(options.redis, pipeline),
      topic: new TopicGuard(pipeline.topic, () => readTopicId(admin, pipeline.topic)),
      decode: createDecoder(pipeline, readUtf8),
      flushMs: options.flushMs,
      nowMs: () => performance.now(),
      wallMs: () => Date.now(),
      history: options.history,
      rememberedBase: async (partition) => {
        const committed = await readGroupOffsets(admin, groupOf(pipeline), pipeline.topic);
        return parseBaseNote(committed.get(partition)?.metadata ?? '');
      },
      requireOffset: (partition, position) =>
        requireOffset(admin, pipeline.topic, partition, position, 'the counts in Redis reach'),
      offsetAtTime: async (partition, timestampMs) =>
        (await readOffsetsAtTime(admin, pipeline.topic, timestampMs)).get(partition) ?? null,
    };
  }

  /** Joins the group and consumes until `stop`. */
  static async start(options: SpeedLayerOptions): Promise<SpeedLayer> {
    const admin = await connectAdmin(options.kafkaBrokers, groupOf(options.pipeline));
    const producer = await connectProducer(options.kafkaBrokers, groupOf(options.pipeline));
    const layer = new SpeedLayer(options, admin, producer);
    await layer.#run();
    return layer;
  }

  async #run(): Promise<void> {
    const { pipeline } = this.#options;
    onMembership(this.#consumer, pipeline.topic, {
      assigned: (partitions) => this.#assign(partitions),
      restarted: ({ message }) => this.#options.log({ error: message }, 'the consumer restarts'),
      failed: (error) => this.#fatal(error),
    });
    onSkippedBatch(this.#consumer, (partition, first, next) => {
      const owned = this.#partitions.get(partition);
      if (owned !== undefined && first <= owned.nextOffset) owned.skipTo(next);
    });
    await this.#consumer.connect();
    await this.#consumer.subscribe({ topics: [pipeline.topic], fromBeginning: true });
    await this.#consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      eachBatch: (payload) => this.#takeBatch(payload),
    });
    this.#ticker = setInterval(() => void this.#tick(), Math.max(10, this.#options.flushMs / 2));
  }

  /** Flushes, leaves the group, and closes the connections. What a Redis that is away does not take is read again later. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#ticker !== null) clearInterval(this.#ticker);
    const owned = [...this.#partitions.values()];
    const flushed = Promise.all(owned.map((partition) => partition.flush().catch(() => undefined)));
    await Promise.all([
      within(
        flushPatienceMs,
        flushed.then(() => this.#reportOffsets()),
      ),
      this.#account(flushPatienceMs, flushed),
    ]);
    await this.#consumer.disconnect();
    await Promise.all([this.#producer.disconnect(), this.#admin.disconnect()]);
  }

  /** A new assignment: everything is acquired anew, as another member may have owned it in between. */
  #assign(partitions: readonly number[]): void {
    const generation = ++this.#generation;
    this.#assigned = new Set(partitions);
    this.#partitions.clear();
    this.#options.log({ partitions }, 'partitions assigned');
    pauseQuietly(this.#consumer, this.#options.pipeline.topic, partitions);
    for (const partition of partitions) void this.#acquire(partition, generation);
  }

  async #acquire(partition: number, generation: number): Promise<void> {
    const { topic } = this.#options.pipeline;
    try {
      const acquired = await Partition.acquire(
        partition,
        this.#deps,
        () => generation === this.#generation && !this.#stopped,
      );
      if (generation !== this.#generation || this.#stopped) return;
      this.#partitions.set(partition, acquired);
      this.#consumer.seek({ topic, partition, offset: String(acquired.nextOffset) });
      this.#consumer.resume([{ topic, partitions: [partition] }]);
      this.#options.log({ partition, offset: acquired.nextOffset }, 'partition acquired');
    } catch (error) {
      if (generation !== this.#generation || this.#stopped) return;
      if (heals(error)) this.#reacquireLater(partition, error as Error);
      else this.#fatal(error, [partition]);
    }
  }

  #reacquireLater(partition: number, { message }: Error): void {
    this.#options.log({ partition, reason: message }, 'ownership lost; reading the state again');
    const generation = this.#generation;
    setTimeout(() => {
      if (generation === this.#generation && this.#assigned.has(partition) && !this.#stopped)
        void this.#acquire(partition, generation);
    }, reacquireMs);
  }

  async #takeBatch(payload: EachBatchPayload): Promise<void> {
    const { batch } = payload;
    const { topic, partition } = batch;
    const owned = this.#partitions.get(partition);
    if (owned === undefined) return;
    const generation = this.#generation;
    const wanted = () =>
      !this.#stopped && payload.isRunning() && !payload.isStale() && generation === this.#generation;
    if (!wanted()) return;
    try {
      // Fetched for an owner that was further on, or from where kafkajs has jumped to, as what comes next is gone.
      if (fetchedOffsetOf(batch) > owned.nextOffset) {
        await owned.requireLog();
        if (wanted()) this.#consumer.seek({ topic, partition, offset: String(owned.nextOffset) });
        return;
      }
      const taken = await takeInParts(batch, (records) => owned.take(records, wanted), wanted);
      const reached = batch.messages[taken - 1];
      if (wanted() && reached !== undefined) payload.resolveOffset(reached.offset);
      if (wanted() && taken === batch.messages.length) owned.skipTo(Number(batch.lastOffset()) + 1);
      // Redis is slow: this partition waits until there is room again, the others go on.
      if (wanted() && taken < batch.messages.length) this.#waitForRoom(owned, payload.pause());
    } catch (error) {
      this.#handle(partition, owned, error);
    }
    await payload.heartbeat();
  }

  #waitForRoom(owned: Partition, resume: () => void): void {
    const { partition } = owned;
    this.#options.log({ partition }, 'partition paused: Redis is slow');
    owned.flush().then(
      () => {
        if (this.#partitions.get(partition) === owned) resume();
      },
      (error: unknown) => this.#handle(partition, owned, error),
    );
  }

  /** Between batches: commits what waits, and tells Kafka and the readers how far it is. */
  async #tick(): Promise<void> {
    for (const [partition, owned] of this.#partitions) {
      try {
        owned.flushIfDue();
      } catch (error) {
        this.#handle(partition, owned, error);
      }
    }
    const nowMs = performance.now();
    if (nowMs - this.#reportedAtMs < reportMs) return;
    this.#reportedAtMs = nowMs;
    // Only for lag tools and labels: a failure here costs nothing but their freshness.
    await Promise.allSettled([this.#reportOffsets(), this.#reportLag()]);
  }

  /** Also where nothing comes any more: what comes next may be gone, and all that comes after it. */
  async #reportLag(): Promise<void> {
    const ranges = await readOffsets(this.#admin, this.#options.pipeline.topic);
    const reports = [...this.#partitions].map(async ([partition, owned]) => {
      const range = ranges.find((one) => one.partition === partition);
      if (range === undefined) return;
      if (!isWithin(range, owned.nextOffset))
        await owned.requireLog().catch((error: unknown) => this.#handle(partition, owned, error));
      await owned.report(range.end);
    });
    await Promise.all(reports);
  }

  #handle(partition: number, owned: Partition, error: unknown): void {
    if (this.#partitions.get(partition) !== owned) return;
    this.#partitions.delete(partition);
    if (!(error instanceof OwnershipLost)) {
      this.#fatal(error, [partition]);
      return;
    }
    pauseQuietly(this.#consumer, this.#options.pipeline.topic, [partition]);
    this.#reacquireLater(partition, error);
  }

  async #reportOffsets(): Promise<void> {
    const { topic } = this.#options.pipeline;
    const offsets = [...this.#partitions.values()].map((one) => ({
      topic,
      partition: one.partition,
      offset: String(one.committedOffset),
      metadata: baseNote(one.baseOffset),
    }));
    if (offsets.length > 0) await this.#consumer.commitOffsets(offsets);
  }

  /** Ends the run; readers see why, as long as nobody acquires the partitions (all of them, where it is not known which). */
  #fatal(error: unknown, partitions: readonly number[] = [...this.#assigned]): void {
    if (this.#stopped) return;
    this.#stopped = true;
    const failure = kafkaFailure(error);
    const code = failure instanceof ReckonError ? failure.code : 'internal';
    const left = partitions.map((partition) => this.#deps.store.leaveStopped(partition, code));
    void this.#account(lastWordsMs, Promise.all(left)).finally(() => this.#options.onFatal(failure));
  }

  /** Reads the accounts of what is owned, once the work before is done, and tells them. */
  async #account(patienceMs: number, before: Promise<unknown>): Promise<void> {
    const { pipeline, onAccounts } = this.#options;
    const accounts = before.then(() => readAccounts(this.#deps.store, pipeline, [...this.#assigned]));
    onAccounts(await within(patienceMs, accounts));
  }
}

/** What a promise gives; null where it fails or takes too long. */
async function within<T>(patienceMs: number, promise: Promise<T>): Promise<T | null> {
  return Promise.race([promise.catch(() => null), sleep(patienceMs, null, { ref: false })]);
}
