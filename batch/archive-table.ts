/**
 * The archive of a pipeline: its `events` table and how far it reaches. Guarantee: every offset of a partition is in
 * exactly one file, in offset order, because a file and the `txn` that covers its last offset are one commit, and a
 * commit is made only where the last one ended.
 */
import { randomUUID } from 'node:crypto';
import type { DuckDb } from '../clients/duckdb.ts';
import type { ReadPosition } from '../clients/kafka.ts';
import type { LocalCopies, ObjectStore } from '../clients/object-store.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import { toOffsetVector } from '../domain/offset-vector.ts';
import type { OffsetVector } from '../domain/offset-vector.ts';
import type { Action, TableSnapshot } from './delta-actions.ts';
import { DeltaTable } from './delta-log.ts';
import { eventColumns } from './event-table.ts';
import type { RowBuffer } from './event-table.ts';
import { expiredOf } from './expiry.ts';
import type { Expired } from './expiry.ts';
import { dataFilesOf } from './file-statistics.ts';
import type { DataFile } from './file-statistics.ts';
import { holdLease } from './lease.ts';
import type { Lease } from './lease.ts';
import { planWidening, propertiesOf, requireSameRules, topicIdOf } from './table-rules.ts';

/** Rows of one partition, to follow offset `expectedOffset − 1`. */
export interface ArchiveRange {
  readonly partition: number;
  /** The next offset that the archive must expect for this range to fit. */
  readonly expectedOffset: number;
  /** The offset after the range. */
  readonly nextOffset: number;
  /** Null where the range holds no record (it only moves the `txn` past deleted offsets). */
  readonly rows: RowBuffer | null;
}

/** What belongs together of one version. */
export interface ArchiveVersion {
  /** By partition and first offset. */
  readonly files: readonly DataFile[];
  /** How far the archive reaches in every partition that it has begun. */
  readonly reached: OffsetVector;
  /** What has left the lake for its age, by partition. */
  readonly expired: ReadonlyMap<number, Expired>;
}

export class ArchiveTable {
  readonly table: DeltaTable;
  readonly #store: ObjectStore;
  readonly #pipeline: Pipeline;

  constructor(store: ObjectStore, pipeline: Pipeline) {
    this.#store = store;
    this.#pipeline = pipeline;
    this.table = new DeltaTable(store, `${pipeline.name}/events`);
  }

  /**
   * Creates the table, unless it is there; where the definition has gained optional properties since, their columns are added.
   * @param topicId of the topic in Kafka; null where it has none
   * @returns the id of the topic that the table holds; null where that is not known
   * @throws ReckonError `invalid-definition` when the lake holds rows that were decoded by other rules
   */
  async create(topicId: string | null, nowMs: number): Promise<string | null> {
    const columns = eventColumns(this.#pipeline);
    await this.table.create(columns, propertiesOf(this.#pipeline, topicId), nowMs);
    await this.table.commit(({ metaData: found }) => {
      const metaData = found && planWidening(found, this.#pipeline, columns);
      if (metaData === null) return null;
      return [
        { commitInfo: { timestamp: nowMs, operation: 'ADD COLUMNS', engineInfo: 'Reckon' } },
        { metaData },
      ];
    });
    return this.topicId();
  }

  /** Kafka's id of the topic that the archive holds; null where that is not known, or there is no archive yet. */
  async topicId(): Promise<string | null> {
    return topicIdOf((await this.table.refresh()).metaData);
  }

  /** How far the archive reaches in every partition that it has begun. */
  async reached(): Promise<OffsetVector> {
    return this.#reachedIn(await this.table.refresh());
  }

  #reachedIn(snapshot: TableSnapshot): OffsetVector {
    const entries = [...snapshot.transactions].flatMap(([appId, { version }]) => {
      const partition = this.#partitionOf(appId);
      return partition === null ? [] : [[partition, version + 1] as const];
    });
    return toOffsetVector(entries);
  }

  /** How far the archive of a partition reaches, or null where it has not begun. */
  async position(partition: number): Promise<ReadPosition | null> {
    const snapshot = await this.table.refresh();
    const nextOffset = this.#nextOffset(snapshot, partition);
    if (nextOffset === null) return null;
    let logTimeMs = expiredOf(snapshot).get(partition)?.logTimeMs ?? Number.NEGATIVE_INFINITY;
    for (const { newestMs } of dataFilesOf(snapshot, partition)) logTimeMs = Math.max(logTimeMs, newestMs);
    return { nextOffset, logTimeMs };
  }

  /** What has left the lake for its age, by partition; nothing of the others has. */
  async expired(): Promise<ReadonlyMap<number, Expired>> {
    return expiredOf(await this.table.refresh());
  }

  /** The newest version, as of now. */
  async version(): Promise<ArchiveVersion> {
    const snapshot = await this.table.refresh();
    return { files: dataFilesOf(snapshot), reached: this.#reachedIn(snapshot), expired: expiredOf(snapshot) };
  }

  /**
   * One version of the archive for whoever computes from it, held until the work is done.
   * @param work may read for as long as it likes, unless the signal is aborted
   * @throws ReckonError `archive-behind` (try again) when the version was overtaken before it could be held
   */
  async withVersion<T>(work: (version: ArchiveVersion, signal: AbortSignal) => Promise<T>): Promise<T> {
    const version = await this.version();
    const lease = await this.hold(version.files);
    return work(version, lease.signal).finally(() => lease.release());
  }

  /** The data files as of now, by partition and first offset. */
  async files(): Promise<DataFile[]> {
    return dataFilesOf(await this.table.refresh());
  }

  /** The data files of one partition, by first offset. */
  async filesOf(partition: number): Promise<DataFile[]> {
    return dataFilesOf(await this.table.refresh(), partition);
  }

  /** Where other programs find a data file. */
  locationOf({ path }: DataFile): string {
    return this.#store.location(`${this.table.root}/${path}`);
  }

  /** Keeps vacuum away from data files until the lease is released; for whoever reads them for long. */
  hold(files: readonly DataFile[]): Promise<Lease> {
    return holdLease(
      this.table,
      this.#store,
      files.map(({ path }) => path),
    );
  }

  /** Data files as what DuckDB opens, until they are released. */
  localCopies(files: readonly DataFile[]): Promise<LocalCopies> {
    return this.#store.localCopies(files.map(({ path }) => `${this.table.root}/${path}`));
  }

  /**
   * Writes ranges of several partitions as one version.
   * @returns false when another archiver has moved one of the partitions on (nothing is committed then; the files
   *   written so far are orphans, which vacuum deletes)
   * @throws ReckonError `invalid-definition` when an archiver with a newer definition has widened the table since
   */
  async append(database: DuckDb, ranges: readonly ArchiveRange[], nowMs: number): Promise<boolean> {
    // 1. Data files, under names that no other writer can have; invisible until step 2.
    const actions: Action[] = [
      { commitInfo: { timestamp: nowMs, operation: 'WRITE', engineInfo: 'Reckon' } },
    ];
    for (const range of ranges) {
      if (range.rows !== null) actions.push(await this.#writeFile(database, range, range.rows, nowMs));
      actions.push({
        txn: { appId: this.#appId(range.partition), version: range.nextOffset - 1, lastUpdated: nowMs },
      });
    }
    // 2. Files and positions become visible together.
    const version = await this.table.commit((snapshot) => {
      // Rows without the new columns would say that their records had nothing there.
      requireSameRules(snapshot.metaData, this.#pipeline);
      const fits = ranges.every(({ partition, expectedOffset }) => {
        const next = this.#nextOffset(snapshot, partition);
        return next === null || next === expectedOffset;
      });
      return fits ? actions : null;
    });
    if (version === null) return false;
    await this.table.checkpointWhenDue(version, database);
    return true;
  }

  async #writeFile(database: DuckDb, range: ArchiveRange, rows: RowBuffer, nowMs: number): Promise<Action> {
    const path = `p${range.partition}/${rows.firstOffset}-${rows.lastOffset}-${randomUUID()}.parquet`;
    const scratch = await this.#store.scratchFile();
    const stats = await rows.writeParquet(database, scratch);
    const size = await this.#store.adopt(scratch, `${this.table.root}/${path}`);
    return { add: { path, partitionValues: {}, size, modificationTime: nowMs, dataChange: true, stats } };
  }

  #nextOffset(snapshot: TableSnapshot, partition: number): number | null {
    const last = snapshot.transactions.get(this.#appId(partition));
    return last === undefined ? null : last.version + 1;
  }

  #appId(partition: number): string {
    return `reckon-archive-${this.#pipeline.name}-${partition}`;
  }

  #partitionOf(appId: string): number | null {
    const prefix = `reckon-archive-${this.#pipeline.name}-`;
    return appId.startsWith(prefix) && /^\d+$/.test(appId.slice(prefix.length))
      ? Number(appId.slice(prefix.length))
      : null;
  }
}
