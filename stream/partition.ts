/**
 * One owned partition: folds what the consumer brings and commits it to Redis. Guarantee: at most one commit is in flight;
 * what waits in memory is bounded (`take` stops where too much of it waits for a slow Redis); whatever goes wrong, the state
 * in Redis is the truth and the owner begins again from there.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { kafkaFailure, positionIn } from '../clients/kafka.ts';
import type { OffsetRange, ReadPosition } from '../clients/kafka.ts';
import { requireTopicId } from '../clients/topic-ids.ts';
import type { Decoder } from '../domain/decode.ts';
import { ReckonError } from '../domain/errors.ts';
import type { LogRecord } from '../domain/event.ts';
import { PartitionFold } from './fold.ts';
import type { Changes } from './fold.ts';
import { firstOffset, planRecovery } from './recovery.ts';
import type { Recovery, RecoveryDeps } from './recovery.ts';
import type { SideOutputSender } from './side-outputs.ts';
import type { PartitionState, StateStore } from './state-store.ts';
import type { TopicGuard } from './topic-guard.ts';

/** Operations of one commit script, which blocks Redis while it runs (2 to 3 ms for a thousand). */
const operationsMax = 4_000;
/** What `take` waits for a commit in flight before it gives up and lets the partition be paused. */
const roomPatienceMs = 250;
/** Dead letters and late records held for the next commit. */
const sideOutputMaxBytes = 4 << 20;
/** Records folded between two looks at the clock and at the bounds. */
const recordsPerTurn = 2_000;

export interface PartitionDeps extends RecoveryDeps {
  readonly store: StateStore;
  readonly sideOutputs: SideOutputSender;
  readonly decode: Decoder;
  readonly flushMs: number;
  readonly nowMs: () => number;
  readonly topic: TopicGuard;
  /** The partition's range in Kafka, which must be the log that was read so far (else ReckonError `log-truncated`). */
  readonly requireOffset: (partition: number, position: ReadPosition | null) => Promise<OffsetRange>;
}

/** Thrown out of `take` and `flush` when what was taken cannot be committed, and another try may: acquire again, if still assigned. */
export class OwnershipLost extends Error {}

/** Whether acquiring again may go well: another owner was faster, or Kafka does not answer for a while. */
export function heals(error: unknown): boolean {
  const failure = kafkaFailure(error);
  return error instanceof OwnershipLost || (failure instanceof ReckonError && failure.retryable);
}

export class Partition {
  readonly partition: number;
  readonly #deps: PartitionDeps;
  readonly #owner: string;
  readonly #baseOffset: number;
  readonly #topicId: string | null;
  /** Kafka is read from here on; what the fold wants below it came from the lake. */
  readonly #kafkaFrom: number;
  readonly #fold: PartitionFold;
  #inFlight: Promise<void> | null = null;
  #failure: Error | null = null;
  #flushedAtMs: number;
  /** Where the last commit ended. */
  #committedOffset: number;
  /** When records were taken last (or the partition acquired); of the injected clock. */
  #takenAtMs: number;

  private constructor(
    partition: number,
    owner: string,
    deps: PartitionDeps,
    fold: PartitionFold,
    { baseOffset, position, topicId }: PartitionState,
    { kafkaFrom }: Recovery,
  ) {
    this.partition = partition;
    this.#owner = owner;
    this.#deps = deps;
    this.#fold = fold;
    this.#baseOffset = baseOffset;
    this.#topicId = topicId;
    this.#kafkaFrom = kafkaFrom;
    this.#committedOffset = position.nextOffset;
    this.#flushedAtMs = deps.nowMs();
    this.#takenAtMs = deps.nowMs();
  }

  /**
   * Acquires the partition: fences earlier owners, reads the offset, and reads from the lake what Kafka has deleted.
   * @param stillWanted asked while the lake is read
   * @throws ReckonError `log-truncated` when what comes next is gone, or the topic was recreated
   */
  static async acquire(
    partition: number,
    deps: PartitionDeps,
    stillWanted: () => boolean,
  ): Promise<Partition> {
    const { pipeline, store } = deps;
    const topicId = await deps.topic.id();
    const log = await deps.requireOffset(partition, null);
    // What Kafka has deleted may come from the lake: it must be of the same topic.
    if (deps.history !== null && log.start > 0)
      requireTopicId(pipeline.topic, await deps.history.topicId(), topicId, 'the rows of the lake');
    const hasState = (await store.read(partition)) !== null;
    const owner = randomUUID();
    const state = await store.acquire(
      partition,
      owner,
      hasState ? log.start : await firstOffset(partition, log, deps),
      topicId,
    );
    const recovery = await planRecovery(partition, log, state, deps);
    if (state.position.nextOffset >= log.start)
      await deps.requireOffset(partition, positionIn(topicId, state.position));
    const from = recovery.lake?.from ?? recovery.kafkaFrom;
    const fold = new PartitionFold(
      pipeline,
      deps.decode,
      state.position,
      Math.min(from, state.position.nextOffset),
    );
    const acquired = new Partition(partition, owner, deps, fold, state, recovery);
    await acquired.#takeFromLake(recovery, stillWanted);
    return acquired;
  }

  /** Where the consumer has to read next. */
  get nextOffset(): number {
    return Math.max(this.#fold.nextOffset, this.#kafkaFrom);
  }

  /** Where counting began. */
  get baseOffset(): number {
    return this.#baseOffset;
  }

  /** Where the committed state ends. */
  get committedOffset(): number {
    return this.#committedOffset;
  }

  /**
   * Folds records (in offset order) and commits when it is time.
   * @returns how many were taken: fewer than there are where Redis is too slow, or where they are not wanted any more
   * @throws OwnershipLost, ReckonError
   */
  async take(records: readonly LogRecord[], stillWanted: () => boolean): Promise<number> {
    // A gap may be a control record, a step back a repeated fetch; neither may be a truncated log.
    if (records[0]?.offset !== this.nextOffset) await this.requireLog();
    this.#takenAtMs = this.#deps.nowMs();
    for (let i = 0; i < records.length; i++) {
      this.#fold.take(records[i] as LogRecord);
      if (this.#isCrowded && !(await this.#makeRoom())) return i + 1;
      if (i % recordsPerTurn !== recordsPerTurn - 1) continue;
      this.flushIfDue();
      if (!stillWanted()) return i + 1;
    }
    this.flushIfDue();
    return records.length;
  }

  /** @throws OwnershipLost when Kafka no longer has what comes next: acquiring again takes it from the lake, or says so */
  async requireLog(): Promise<void> {
    const position = { nextOffset: this.nextOffset, logTimeMs: this.#fold.logTimeMs };
    try {
      await this.#deps.requireOffset(this.partition, positionIn(this.#topicId, position));
    } catch (error) {
      const isGone = error instanceof ReckonError && error.code === 'log-truncated';
      throw isGone || heals(error) ? new OwnershipLost((error as Error).message) : error;
    }
  }

  /** Goes on at an offset; what lies before it (control records of transactions) is a gap. */
  skipTo(offset: number): void {
    if (offset > this.nextOffset) this.#fold.skipTo(offset);
  }

  /** Records below the state only fill the dedup index, the others are counted. */
  async #takeFromLake({ lake }: Recovery, stillWanted: () => boolean): Promise<void> {
    const { history } = this.#deps;
    if (lake === null || history === null) return;
    for await (const records of history.read(this.partition, lake.from, lake.to))
      for (const record of records) {
        if (!stillWanted()) return;
        this.#fold.take(record);
        if (this.#isCrowded) await this.flush();
      }
    await this.flush();
  }

  get #isCrowded(): boolean {
    return this.#fold.operations >= operationsMax || this.#fold.sideOutputBytes >= sideOutputMaxBytes;
  }

  /** Begins a commit of what waits, after the one in flight. @returns false where that one takes too long */
  async #makeRoom(): Promise<boolean> {
    if (this.#inFlight !== null)
      await Promise.race([this.#inFlight, sleep(roomPatienceMs, undefined, { ref: false })]);
    this.#throwFailure();
    if (this.#inFlight !== null) return false;
    this.#begin();
    return true;
  }

  /** Tells readers how far the partition is. @param logEnd the next offset of the log, read just now */
  async report(logEnd: number): Promise<void> {
    const lag = Math.max(0, logEnd - this.#committedOffset);
    const idleForMs = this.#deps.nowMs() - this.#takenAtMs;
    const seenAtMs = this.#deps.wallMs();
    const idleSinceMs = lag === 0 ? Math.round(seenAtMs - idleForMs) : null;
    await this.#deps.store.report(this.partition, this.#owner, { lag, idleSinceMs, seenAtMs });
  }

  /** Begins a commit when `flushMs` have passed since the last one began and none is in flight. @throws its failure */
  flushIfDue(): void {
    this.#throwFailure();
    if (this.#inFlight !== null || !this.#fold.dirty) return;
    if (this.#deps.nowMs() - this.#flushedAtMs < this.#deps.flushMs) return;
    this.#begin();
  }

  /** Commits everything taken so far, and waits until it is done. */
  async flush(): Promise<void> {
    await this.#inFlight;
    this.#throwFailure();
    if (this.#fold.dirty) this.#begin();
    await this.#inFlight;
    this.#throwFailure();
  }

  #begin(): void {
    this.#flushedAtMs = this.#deps.nowMs();
    this.#inFlight = this.#commit(this.#fold.takeChanges())
      .catch((error: unknown) => {
        this.#failure = error as Error;
      })
      .finally(() => {
        this.#inFlight = null;
      });
  }

  async #commit(changes: Changes): Promise<void> {
    const { sideOutputs, store, topic } = this.#deps;
    // 1. What was taken is of the topic that is counted, not of one that was created anew under its name.
    await topic.require(this.#topicId).catch((error: unknown) => {
      throw heals(error) ? new OwnershipLost((error as Error).message) : error;
    });
    // 2. Side outputs first: a record is never counted as dead or late without being in its topic.
    if (changes.sideOutputs.length > 0) await sideOutputs.send(changes.sideOutputs);
    // 3. Windows, counters and offset, all or nothing.
    const outcome = await store.commit(this.partition, this.#owner, changes);
    if (outcome.kind !== 'committed') throw new OwnershipLost(outcome.kind);
    this.#committedOffset = changes.to.nextOffset;
  }

  #throwFailure(): void {
    if (this.#failure !== null) throw this.#failure;
  }
}
