/**
 * The archiver: a second consumer group that copies every record of the topic into the lake. Guarantee: the lake, not
 * Kafka, says where to read; buffers are bounded (one that fills while one is written), and a partition that another archiver has moved on is read again from
 * where the lake ends.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { fetchedOffsetOf, onMembership, onSkippedBatch, pauseQuietly } from '../clients/group-events.ts';
import {
  connectAdmin,
  createConsumer,
  isWithin,
  positionIn,
  kafkaFailure,
  readOffsets,
  readUtf8,
  requireOffset,
} from '../clients/kafka.ts';
import type { Admin, Consumer, EachBatchPayload, ReadPosition } from '../clients/kafka.ts';
import type { DuckDb } from '../clients/duckdb.ts';
import { readTopicId, requireTopicId } from '../clients/topic-ids.ts';
import { createScanDecoder } from '../domain/decode.ts';
import { ReckonError } from '../domain/errors.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import type { ArchiveDemand } from './archive-demand.ts';
import type { ArchiveTable } from './archive-table.ts';
import { Tails } from './archive-tails.ts';

export interface ArchiverOptions {
  readonly kafkaBrokers: string;
  readonly pipeline: Pipeline;
  readonly archive: ArchiveTable;
  /** Used by this archiver alone. */
  readonly database: DuckDb;
  readonly rolling: Rolling;
  /** What others wait for. */
  readonly demand: ArchiveDemand;
  readonly log: (event: Readonly<Record<string, unknown>>, message: string) => void;
  /** Called once when the archiver cannot go on; the process should end. */
  readonly onFatal: (error: unknown) => void;
}

/** When what waits is written; what is written meanwhile may take as much memory again. */
export interface Rolling {
  /** Oldest age of a row. */
  readonly rollMs: number;
  /** Over all partitions. */
  readonly rollRows: number;
  readonly rollBytes: number;
}

/** Kafka may be away for half a minute before the archiver gives up. */
const [triesMax, retryMs] = [30, 1_000];
/** How often the archiver looks whether its rows are wanted, and whether Kafka still has what comes next. */
const [demandMs, checkMs] = [1_000, 2_000];

export class Archiver {
  readonly #options: ArchiverOptions;
  readonly #admin: Admin;
  readonly #consumer: Consumer;
  readonly #tails: Tails;
  /** Of the topic that the lake holds; null where that is not known. */
  #topicId: string | null = null;
  #generation = 0;
  #assigned: readonly number[] = [];
  #rolling: Promise<void> | null = null;
  /** Since when there is something to write, on the process's clock. */
  #waitingSinceMs: number | null = null;
  #timers: NodeJS.Timeout[] = [];
  #stopped = false;

  private constructor(options: ArchiverOptions, admin: Admin) {
    const { pipeline } = options;
    this.#options = options;
    this.#admin = admin;
    this.#tails = new Tails(pipeline, createScanDecoder(pipeline, readUtf8));
    this.#consumer = createConsumer(
      options.kafkaBrokers,
      `reckon-archive-${pipeline.name}`,
      `reckon-archive-${pipeline.name}`,
    );
  }

  /** Joins the group and archives until `stop`. */
  static async start(options: ArchiverOptions): Promise<Archiver> {
    const admin = await connectAdmin(options.kafkaBrokers, `reckon-archive-${options.pipeline.name}`);
    const archiver = new Archiver(options, admin);
    await archiver.#run();
    return archiver;
  }

  async #run(): Promise<void> {
    const { topic } = this.#options.pipeline;
    const topicId = await readTopicId(this.#admin, topic);
    this.#topicId = await this.#options.archive.create(topicId, Date.now());
    requireTopicId(topic, this.#topicId, topicId, 'the rows of the lake');
    onMembership(this.#consumer, topic, {
      assigned: (partitions) => this.#assign(partitions),
      restarted: ({ message }) => this.#options.log({ error: message }, 'the consumer restarts'),
      failed: (error) => this.#fatal(error),
    });
    onSkippedBatch(this.#consumer, (partition, first, next) => {
      const tail = this.#tails.get(partition);
      if (tail !== undefined && first <= tail.nextOffset) this.#tails.moveTo(partition, next);
    });
    await this.#consumer.connect();
    await this.#consumer.subscribe({ topics: [topic], fromBeginning: true });
    await this.#consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      eachBatch: (payload) => this.#takeBatch(payload),
    });
    const { rollMs } = this.#options.rolling;
    this.#timers = [
      setInterval(() => this.#rollOld(), Math.min(rollMs, demandMs)),
      setInterval(() => void this.#rollWanted(), demandMs),
      setInterval(() => void this.#checkLog(), checkMs),
    ];
  }

  /** Writes what waits, leaves the group, and closes the connections. */
  async stop(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    await this.#consumer.stop();
    // What came while a roll was under way is in the next one.
    await this.#rolling;
    await this.roll();
    this.#stopped = true;
    await this.#consumer.disconnect();
    await this.#admin.disconnect();
  }

  /** By time. */
  #rollOld(): void {
    if (!this.#tails.waiting) this.#waitingSinceMs = null;
    else if (performance.now() - (this.#waitingSinceMs ??= performance.now()) >= this.#options.rolling.rollMs)
      void this.roll();
  }

  /** By demand: somebody waits for offsets that are not written. */
  async #rollWanted(): Promise<void> {
    if (!this.#tails.waiting) return;
    try {
      if (await this.#options.demand.wantsMore(this.#tails.behind)) void this.roll();
    } catch (error) {
      // A lake that does not answer is told when something is written.
      this.#options.log(
        { error: (error as Error).message },
        'what is wanted of the archive could not be read',
      );
    }
  }

  /** By size. While one roll is under way rows of a second one may gather, and no more. */
  async #rollFull(): Promise<void> {
    const { rollRows, rollBytes } = this.#options.rolling;
    if (this.#tails.rows < rollRows && this.#tails.bytes < rollBytes) return;
    await this.#rolling;
    void this.roll();
  }

  /** Writes everything that waits as one version of the table; at most one roll at a time. */
  roll(): Promise<void> {
    this.#rolling ??= this.#write()
      .catch((error: unknown) => this.#fatal(error))
      .finally(() => {
        this.#rolling = null;
      });
    return this.#rolling;
  }

  #assign(partitions: readonly number[]): void {
    this.#options.log({ partitions }, 'partitions assigned');
    this.#assigned = partitions;
    void this.#begin(++this.#generation, partitions);
  }

  /** Reads where the lake ends and goes there; whatever was buffered before is dropped, and read again. */
  async #begin(generation: number, partitions: readonly number[]): Promise<void> {
    const { archive, pipeline } = this.#options;
    this.#tails.clear();
    if (partitions.length === 0) return;
    pauseQuietly(this.#consumer, pipeline.topic, partitions);
    try {
      for (const partition of partitions) {
        const reached = await archive.position(partition);
        const range = await this.#requireOffset(partition, reached);
        if (generation !== this.#generation) return;
        const next = reached?.nextOffset ?? range.start;
        // Where the log begins above 0 and nothing is archived, say so in the lake: the archive covers what is gone.
        if (reached === null && range.start > 0) await this.#moveTo(partition, range.start);
        if (generation !== this.#generation) return;
        const logTimeMs = reached?.logTimeMs ?? Number.NEGATIVE_INFINITY;
        this.#tails.begin(partition, next, logTimeMs);
        this.#consumer.seek({ topic: pipeline.topic, partition, offset: String(next) });
        this.#consumer.resume([{ topic: pipeline.topic, partitions: [partition] }]);
      }
    } catch (error) {
      if (generation === this.#generation) this.#fatal(error);
    }
  }

  /** Also where nothing comes any more: what comes next may be gone, and all that comes after it. */
  async #checkLog(): Promise<void> {
    try {
      for (const range of await readOffsets(this.#admin, this.#options.pipeline.topic)) {
        const tail = this.#tails.get(range.partition);
        if (tail !== undefined && !isWithin(range, tail.nextOffset))
          await this.#requireOffset(range.partition, tail);
      }
    } catch (error) {
      // A Kafka that is away is the consumer's concern.
      if (error instanceof ReckonError && !error.retryable) this.#fatal(error);
    }
  }

  #requireOffset(partition: number, position: ReadPosition | null) {
    const { topic } = this.#options.pipeline;
    const known = position && positionIn(this.#topicId, position);
    return requireOffset(this.#admin, topic, partition, known, 'the lake reaches');
  }

  async #moveTo(partition: number, nextOffset: number): Promise<void> {
    const range = { partition, expectedOffset: nextOffset, nextOffset, rows: null };
    await this.#options.archive.append(this.#options.database, [range], Date.now());
  }

  async #takeBatch(payload: EachBatchPayload): Promise<void> {
    const { batch } = payload;
    const tail = this.#tails.get(batch.partition);
    const last = batch.messages.at(-1);
    if (tail === undefined || last === undefined || payload.isStale() || !payload.isRunning()) return;
    const generation = this.#generation;
    // Fetched by a reader that was further on, or from where kafkajs has jumped to, as what comes next is gone: records between
    // would be lost as a gap. A gap in what was asked for may be a control record, a step back a repeated fetch.
    let isAsAsked = fetchedOffsetOf(batch) <= tail.nextOffset;
    if (!isAsAsked || Number(batch.messages[0]?.offset) !== tail.nextOffset) {
      try {
        await this.#requireOffset(batch.partition, tail);
      } catch (error) {
        const failure = kafkaFailure(error);
        if (!(failure instanceof ReckonError && failure.retryable)) return this.#fatal(error);
        // Kafka does not answer: the batch is fetched again.
        isAsAsked = false;
      }
    }
    if (generation !== this.#generation) return;
    if (!isAsAsked) {
      const { topic, partition } = batch;
      this.#consumer.seek({ topic, partition, offset: String(tail.nextOffset) });
      return;
    }
    this.#tails.add(batch.partition, batch.messages);
    this.#tails.moveTo(batch.partition, Number(batch.lastOffset()) + 1);
    this.#waitingSinceMs ??= performance.now();
    payload.resolveOffset(last.offset);
    await this.#rollFull();
    await payload.heartbeat();
  }

  async #write(): Promise<void> {
    const { archive, database, log, pipeline } = this.#options;
    const ranges = this.#tails.take();
    this.#waitingSinceMs = null;
    if (ranges.length === 0) return;
    // Asked after all of them were read: they are of the topic that the lake holds.
    requireTopicId(pipeline.topic, this.#topicId, await this.#readTopicId(), 'the rows of the lake');
    const committed = await archive.append(database, ranges, Date.now());
    const rows = ranges.reduce((sum, range) => sum + (range.rows?.rows ?? 0), 0);
    if (committed) {
      log({ rows, files: ranges.length }, 'archived');
      return;
    }
    log(
      { partitions: ranges.map(({ partition }) => partition) },
      'another archiver was faster; reading again from where the lake ends',
    );
    await this.#begin(++this.#generation, this.#assigned);
  }

  /** Kafka may be away for a moment: what waits in memory is worth some patience. */
  async #readTopicId(): Promise<string | null> {
    for (let tries = 1; ; tries++) {
      try {
        return await readTopicId(this.#admin, this.#options.pipeline.topic);
      } catch (error) {
        if (tries === triesMax) throw error;
        await sleep(retryMs);
      }
    }
  }

  #fatal(error: unknown): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#options.onFatal(kafkaFailure(error));
  }
}
