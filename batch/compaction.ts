/**
 * Compaction: many small files of a partition become few large ones, sorted by event time. Guarantee: a new file holds the rows of
 * exactly those that it replaces, or nothing is changed; readers and appenders go on meanwhile. What is rewritten is planned by
 * `compaction-plan.ts`.
 */
import { randomUUID } from 'node:crypto';
import { quoteLiteral, parquetSql } from '../clients/duckdb.ts';
import type { DuckDb } from '../clients/duckdb.ts';
import type { ObjectStore } from '../clients/object-store.ts';
import { invariant } from '../domain/errors.ts';
import { planCompaction } from './compaction-plan.ts';
import type { Run } from './compaction-plan.ts';
import { corrupt } from './delta-actions.ts';
import type { Action, AddFile, TableSnapshot } from './delta-actions.ts';
import type { DeltaTable } from './delta-log.ts';
import { parquetFormat } from './parquet-format.ts';
import { dataFilesOf, mergeStatistics, parseStatistics } from './file-statistics.ts';
import { withLease } from './lease.ts';

/** Rows of one group of a file, the unit that readers skip by its statistics. */
const rowGroupRows = 122_880;
/** What a round has made may be worth the next; the rest is left to the next compaction. */
const rounds = 8;

export interface CompactionOptions {
  readonly targetBytes?: number;
  /** Only plans. */
  readonly dryRun?: boolean;
  /** Stops before the next run. */
  readonly signal?: AbortSignal;
  /** Told of every run that was done, and how many of the round remain. */
  readonly onRun?: (run: Run, remaining: number) => void;
  readonly now?: () => number;
}

export interface Compacted {
  /** What was done, or would be. */
  readonly runs: readonly Run[];
  /** Files that were replaced, and by how many. */
  readonly removed: number;
  readonly added: number;
  readonly rows: number;
}

/**
 * Rewrites what is worth it, one run a version, until nothing is.
 * @throws ReckonError `corrupt-lake` when a file does not hold the rows that the log says
 */
export async function compact(
  table: DeltaTable,
  store: ObjectStore,
  database: DuckDb,
  options: CompactionOptions = {},
): Promise<Compacted> {
  const { now = Date.now, signal } = options;
  const done: Run[] = [];
  for (let round = 0; round < rounds; round++) {
    const files = dataFilesOf(await table.refresh());
    const runs = planCompaction(files, { ...options, nowMs: now() });
    if (options.dryRun === true) return { runs, removed: 0, added: 0, rows: 0 };
    for (const [i, run] of runs.entries()) {
      if (signal?.aborted === true) break;
      if (!(await rewrite(table, store, database, run, now))) continue;
      done.push(run);
      options.onRun?.(run, runs.length - i - 1);
    }
    if (runs.length === 0 || signal?.aborted === true) break;
  }
  return {
    runs: done,
    removed: done.reduce((sum, { files }) => sum + files.length, 0),
    added: done.length,
    rows: done.reduce((sum, { rows }) => sum + rows, 0),
  };
}

/** @returns false when another compaction, or expiry, was faster */
async function rewrite(
  table: DeltaTable,
  store: ObjectStore,
  database: DuckDb,
  run: Run,
  now: () => number,
): Promise<boolean> {
  const paths = run.files.map(({ path }) => path);
  const sources = addsOf(await table.refresh(), paths);
  if (sources === null) return false;
  const statistics = mergeStatistics(sources.map(({ stats }) => parseStatistics(stats)));
  const { numRecords, minValues, maxValues } = statistics;
  // 1. The new file, under a name that no other writer can have; invisible until step 3.
  const scratch = await store.scratchFile();
  const path = `p${run.partition}/${minValues._offset}-${maxValues._offset}-${randomUUID()}.parquet`;
  let size: number;
  try {
    const work = () => merge(table, store, database, paths, scratch);
    await withLease(table, store, paths, work, now);
    // 2. It holds as many rows as the log says, and the same offsets.
    const [found] = await database.query(
      `SELECT count(*) AS rows, count(DISTINCT _offset) AS offsets, min(_offset) AS low, max(_offset) AS high FROM ${parquetSql([scratch])}`,
    );
    const { rows, offsets, low, high } = found ?? {};
    const holds = [rows, offsets, low, high].map(Number);
    const wanted = [numRecords, numRecords, minValues._offset, maxValues._offset];
    if (!holds.every((value, i) => value === wanted[i]))
      throw corrupt(
        `p${run.partition} of the lake holds ${holds[0]} rows in ${paths.length} files whose log says ${numRecords}.`,
      );
    size = await store.adopt(scratch, `${table.root}/${path}`);
  } catch (error) {
    await store.discard(scratch);
    throw error;
  }
  // 3. It takes their place in one version, if they are all still there. Its rows are no younger than they were.
  const modificationTime = Math.max(...sources.map((source) => source.modificationTime));
  const stats = JSON.stringify(statistics);
  const version = await table.commit((snapshot) => {
    if (addsOf(snapshot, paths) === null) return null;
    const nowMs = now();
    const actions: Action[] = [
      { commitInfo: { timestamp: nowMs, operation: 'OPTIMIZE', engineInfo: 'Reckon' } },
      ...paths.map((one) => ({ remove: { path: one, deletionTimestamp: nowMs, dataChange: false } })),
      { add: { path, partitionValues: {}, size, modificationTime, dataChange: false, stats } },
    ];
    return actions;
  });
  // A store may have taken a version whose answer was lost: what the table says counts.
  if (version !== null || (await table.refresh()).files.has(path)) return true;
  // Somebody was faster: nobody will ever name this file.
  await store.remove(`${table.root}/${path}`);
  return false;
}

/** @returns the files' entries in the log; null where one of them is no longer live */
function addsOf(snapshot: TableSnapshot, paths: readonly string[]): AddFile[] | null {
  const adds = paths.flatMap((path) => snapshot.files.get(path) ?? []);
  return adds.length === paths.length ? adds : null;
}

/** Writes the rows of the files to a local one. */
async function merge(
  table: DeltaTable,
  store: ObjectStore,
  database: DuckDb,
  paths: readonly string[],
  file: string,
): Promise<void> {
  invariant(paths.length > 1, 'a run has at least two files');
  const sources = await store.localCopies(paths.map((path) => `${table.root}/${path}`));
  await database
    .run(
      `COPY (SELECT * FROM ${parquetSql(sources.files)} ORDER BY _time, _offset)
       TO ${quoteLiteral(file)} (${parquetFormat}, ROW_GROUP_SIZE ${rowGroupRows})`,
    )
    .finally(() => sources.release());
}
