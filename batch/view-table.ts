/**
 * The batch view of an aggregate as a Delta table, `<pipeline>/aggregates/<aggregate>`: one row for each closed window and group, by
 * day of the window's start. Guarantee: the table is a function of the log up to the offsets in its transactions, all of it; measures are
 * given twice, without late records (as the speed layer counts) and with them (`complete_…`).
 */
import { randomUUID } from 'node:crypto';
import { quoteIdentifier, quoteLiteral } from '../clients/duckdb.ts';
import type { DuckDb } from '../clients/duckdb.ts';
import type { ObjectStore } from '../clients/object-store.ts';
import type { Aggregate, Measure } from '../domain/aggregate.ts';
import { ReckonError } from '../domain/errors.ts';
import { toOffsetVector } from '../domain/offset-vector.ts';
import type { OffsetVector } from '../domain/offset-vector.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import { canonical, countingRulesOf } from '../domain/rules.ts';
import { measureColumn, windowDate, windowEnd, windowStart } from '../domain/view-columns.ts';
import type { AddFile, DeltaColumn, TableSnapshot } from './delta-actions.ts';
import { DeltaTable } from './delta-log.ts';
import { duckDbType, fieldColumn } from './event-table.ts';
import { parseStatistics } from './file-statistics.ts';
import { parquetFormat } from './parquet-format.ts';
import { dayMs } from './view-plan.ts';

/** Partition column; the data files do not hold it. */
const dateColumn: DeltaColumn = { name: windowDate, type: 'date', nullable: false };
/** Property: up to where windows are closed, epoch milliseconds. */
const closedProperty = 'reckon.closedUpToMs';
/** Property: the rules by which its windows were made, as text. */
const rulesProperty = 'reckon.rules';

/** A window as it is staged: texts, and both flavours of the measures. */
export interface ViewRow {
  readonly startMs: number;
  readonly endMs: number;
  readonly group: string;
  readonly strict: readonly (string | null)[];
  readonly complete: readonly (string | null)[];
}

/** What a view holds. */
export interface Publication {
  /** The log below these offsets. */
  readonly vector: OffsetVector;
  /** Windows that are closed at this watermark (epoch milliseconds; −Infinity: none). */
  readonly closedMs: number;
}

export interface ViewStatus {
  readonly aggregate: string;
  /** Null where nothing was published yet. */
  readonly rows: number | null;
  readonly days: number;
  /** Windows are closed at this watermark, epoch milliseconds; null: none. */
  readonly closedMs: number | null;
  readonly vector: OffsetVector;
}

export class ViewTable {
  readonly table: DeltaTable;
  readonly #store: ObjectStore;
  readonly #aggregate: Aggregate;
  readonly #rules: string;
  /** Of the data files. */
  readonly #columns: readonly DeltaColumn[];

  constructor(store: ObjectStore, pipeline: Pipeline, aggregate: Aggregate) {
    this.#store = store;
    this.#aggregate = aggregate;
    const { aggregates, settings } = countingRulesOf(pipeline);
    this.#rules = canonical([aggregates[aggregate.name], settings]);
    this.table = new DeltaTable(store, `${pipeline.name}/aggregates/${aggregate.name}`);
    const groups = aggregate.groupBy.map((index) =>
      fieldColumn(pipeline.fields[index] as Pipeline['fields'][number]),
    );
    const measures = [false, true].flatMap((complete) =>
      aggregate.measures.map((measure) => ({
        name: measureColumn(measure.name, complete),
        type: typeOf(measure),
        nullable: true,
      })),
    );
    this.#columns = [
      { name: windowStart, type: 'timestamp', nullable: false },
      { name: windowEnd, type: 'timestamp', nullable: false },
      ...groups.map(({ name, type }) => ({ name, type, nullable: true })),
      ...measures,
    ];
  }

  /** @throws ReckonError `invalid-definition` where the table has other columns, or its windows were made by other rules */
  async create(nowMs: number): Promise<void> {
    const columns = [...this.#columns, dateColumn];
    const { metaData } = await this.table.create(columns, { [rulesProperty]: this.#rules }, nowMs, [
      dateColumn.name,
    ]);
    const found =
      (JSON.parse(metaData?.schemaString ?? '{}') as { fields?: { name: string; type: string }[] }).fields ??
      [];
    const shown = (list: readonly { name: string; type: unknown }[]) =>
      list.map(({ name, type }) => `${name} ${JSON.stringify(type)}`).join();
    if (shown(found) !== shown(columns) || metaData?.configuration[rulesProperty] !== this.#rules)
      throw new ReckonError(
        'invalid-definition',
        `aggregates.${this.#aggregate.name}: its batch view in the lake was published by another definition.`,
        'Undo the change, or give the aggregate a new name.',
      );
  }

  /** For people. */
  async status(): Promise<ViewStatus> {
    const snapshot = await this.table.refresh();
    const files = [...snapshot.files.values()];
    const { vector, closedMs } = publishedIn(snapshot);
    return {
      aggregate: this.#aggregate.name,
      rows:
        snapshot.version < 0
          ? null
          : files.reduce((sum, { stats }) => sum + parseStatistics(stats).numRecords, 0),
      days: files.length,
      closedMs: Number.isFinite(closedMs) ? closedMs : null,
      vector,
    };
  }

  /** How far into the log the view reaches, and up to where its windows are closed (−Infinity: nowhere). */
  async published(): Promise<Publication> {
    return publishedIn(await this.table.refresh());
  }

  /**
   * Writes the windows of some days in place of what was there, and how far they reach, as one version.
   * @param staged table of the database with the rows (`stage`)
   * @param from what was published when the work began: where another publisher was faster, nothing is changed
   * @returns false when another publisher was faster
   */
  async replace(
    database: DuckDb,
    staged: string,
    days: readonly number[],
    from: Publication,
    to: Publication,
    nowMs: number,
  ): Promise<boolean> {
    const adds: AddFile[] = [];
    for (const day of days) {
      const add = await this.#writeDay(database, staged, day, nowMs);
      if (add !== null) adds.push(add);
    }
    const dates = new Set(days.map(dateOf));
    const version = await this.table.commit((snapshot) => {
      const before = publishedIn(snapshot);
      if (JSON.stringify(before.vector) !== JSON.stringify(from.vector) || before.closedMs !== from.closedMs)
        return null;
      if (snapshot.metaData === null) return null;
      const replaced = [...snapshot.files.values()].filter(({ partitionValues }) =>
        dates.has(partitionValues[dateColumn.name] ?? ''),
      );
      return [
        { commitInfo: { timestamp: nowMs, operation: 'WRITE', engineInfo: 'Reckon' } },
        ...(to.closedMs === before.closedMs
          ? []
          : [
              {
                metaData: {
                  ...snapshot.metaData,
                  configuration: {
                    ...snapshot.metaData.configuration,
                    [closedProperty]: String(to.closedMs),
                  },
                },
              },
            ]),
        ...replaced.map(({ path }) => ({ remove: { path, deletionTimestamp: nowMs, dataChange: true } })),
        ...adds.map((add) => ({ add })),
        ...Object.entries(to.vector).map(([partition, offset]) => ({
          txn: { appId: appIdOf(partition), version: Number(offset), lastUpdated: nowMs },
        })),
      ];
    });
    if (version === null) return false;
    await this.table.checkpointWhenDue(version, database);
    return true;
  }

  /** @returns null where the day has no window */
  async #writeDay(database: DuckDb, staged: string, day: number, nowMs: number): Promise<AddFile | null> {
    const where = `WHERE start_ms >= ${day * dayMs} AND start_ms < ${(day + 1) * dayMs}`;
    const [found] = await database.query(
      `SELECT count(*) AS n, min(start_ms) AS low, max(start_ms) AS high FROM ${staged} ${where}`,
    );
    if (found === undefined || Number(found['n']) === 0) return null;
    const scratch = await this.#store.scratchFile();
    const columns = this.#columns.map(
      ({ name, type }, i) => `${castOf(i, type, this.#aggregate)} AS ${quoteIdentifier(name)}`,
    );
    await database.run(
      `COPY (SELECT ${columns.join(', ')} FROM ${staged} ${where} ORDER BY start_ms, end_ms, grp)
       TO ${quoteLiteral(scratch)} (${parquetFormat})`,
    );
    const path = `${dateColumn.name}=${dateOf(day)}/${randomUUID()}.parquet`;
    const size = await this.#store.adopt(scratch, `${this.table.root}/${path}`);
    const bound = (ms: unknown) => ({ window_start: new Date(Number(ms)).toISOString() });
    const stats = {
      numRecords: Number(found['n']),
      minValues: bound(found['low']),
      maxValues: bound(found['high']),
      nullCount: {},
    };
    return {
      path,
      partitionValues: { [dateColumn.name]: dateOf(day) },
      size,
      modificationTime: nowMs,
      dataChange: true,
      stats: JSON.stringify(stats),
    };
  }
}

/** Creates an empty table for windows. */
export async function createStage(database: DuckDb, { measures }: Aggregate, table: string): Promise<void> {
  const columns = [...measures, ...measures].map((_, i) => `m${i} VARCHAR`);
  await database.run(
    `CREATE OR REPLACE TEMP TABLE ${table} (start_ms DOUBLE, end_ms DOUBLE, grp VARCHAR, ${columns.join(', ')})`,
  );
}

/** @param table unquoted name */
export async function stage(database: DuckDb, table: string, rows: readonly ViewRow[]): Promise<void> {
  if (rows.length === 0) return;
  const width = (rows[0] as ViewRow).strict.length;
  const measure = (i: number) =>
    rows.map(({ strict, complete }) => (i < width ? strict[i] : complete[i - width]) ?? null);
  await database.append(table, [
    rows.map(({ startMs }) => startMs),
    rows.map(({ endMs }) => endMs),
    rows.map(({ group }) => group),
    ...Array.from({ length: 2 * width }, (_, i) => measure(i)),
  ]);
}

/** @param i of the view's columns @returns SQL from the stage's column to it */
function castOf(i: number, type: DeltaColumn['type'], { groupBy }: Aggregate): string {
  if (i < 2) return `epoch_ms(${i === 0 ? 'start_ms' : 'end_ms'}::BIGINT)::TIMESTAMPTZ`;
  const at = i - 2;
  const text = at < groupBy.length ? `from_json(grp, '["VARCHAR"]')[${at + 1}]` : `m${at - groupBy.length}`;
  return `(${text})::${duckDbType(type)}`;
}

/** Sums take more digits than their fields; `avg` has four more behind the point. */
function typeOf({ kind, scale }: Measure): string {
  if (kind === 'count' || kind === 'distinct') return 'long';
  if (kind === 'topK') return 'string';
  return `decimal(38,${kind === 'avg' ? scale + 4 : scale})`;
}

function publishedIn({ transactions, metaData }: TableSnapshot): Publication {
  const offsets = [...transactions].flatMap(([appId, { version }]) => {
    const partition = /^reckon-view-(\d+)$/.exec(appId)?.[1];
    return partition === undefined ? [] : [[Number(partition), version] as const];
  });
  const closed = metaData?.configuration[closedProperty];
  return {
    vector: toOffsetVector(offsets),
    closedMs: closed === undefined ? Number.NEGATIVE_INFINITY : Number(closed),
  };
}

function appIdOf(partition: string): string {
  return `reckon-view-${partition}`;
}

function dateOf(day: number): string {
  return new Date(day * dayMs).toISOString().slice(0, 10);
}
