/**
 * Compaction: many small files of a partition become few large ones, sorted by event time. Guarantee: a new file holds the rows of
 * exactly those that it replaces, or nothing is changed; readers and appenders go on meanwhile. A file is rewritten once for each
 * power of `runLength` between its size and the target: what is large already costs nothing.
 */
import { randomUUID } from 'node:crypto';
import { quoteLiteral, quotePath } from '../clients/duckdb.ts';
import type { DuckDb } from '../clients/duckdb.ts';
import type { ObjectStore } from '../clients/object-store.ts';
import { corrupt } from './delta-actions.ts';
import type { Action, AddFile } from './delta-actions.ts';
import type { DeltaTable } from './delta-log.ts';
import { mergeStatistics, parseStatistics } from './file-statistics.ts';

/** So many neighbours of about the same size are worth a rewrite. */
const runLength = 4;
/** Files of at least this size are never rewritten. */
export const targetBytes = 64 << 20;
/** Rows of one group of a file, the unit that readers skip by its statistics. */
const rowGroupRows = 122_880;

export interface Compacted {
  /** Files that were replaced, and by how many. */
  readonly removed: number;
  readonly added: number;
  readonly rows: number;
}

/** Files that become one: neighbours by offset, all of one partition. */
export type Run = readonly AddFile[];

/** @param files live ones of one folder (a partition) @returns what to rewrite, by offset */
export function planRuns(files: readonly AddFile[], maxBytes = targetBytes): Run[] {
  const runs: Run[] = [];
  let run: AddFile[] = [];
  let bytes = 0;
  const close = () => {
    if (run.length >= runLength) runs.push(run);
    [run, bytes] = [[], 0];
  };
  for (const file of [...files].sort((a, b) => firstOffset(a) - firstOffset(b))) {
    const fits = file.size < maxBytes && bytes + file.size <= 2 * maxBytes;
    if (run.length > 0 && (!fits || tierOf(file) !== tierOf(run[0] as AddFile))) close();
    if (file.size >= maxBytes) continue;
    run.push(file);
    bytes += file.size;
  }
  close();
  return runs;
}

/** Files of one tier differ in size by less than `runLength`. */
function tierOf({ size }: AddFile): number {
  return Math.floor(Math.log(Math.max(1, size)) / Math.log(runLength));
}

function firstOffset({ stats }: AddFile): number {
  return parseStatistics(stats).minValues._offset ?? Number.POSITIVE_INFINITY;
}

/**
 * Rewrites what is worth it, one run a version.
 * @param maxBytes of a file that is large enough
 * @throws ReckonError `corrupt-lake` when a file does not hold the rows that the log says
 */
export async function compact(
  table: DeltaTable,
  store: ObjectStore,
  database: DuckDb,
  nowMs: number,
  maxBytes = targetBytes,
): Promise<Compacted> {
  const total = { removed: 0, added: 0, rows: 0 };
  const snapshot = await table.refresh();
  const folders = new Map<string, AddFile[]>();
  for (const file of snapshot.files.values()) {
    const folder = file.path.slice(0, file.path.lastIndexOf('/'));
    const list = folders.get(folder);
    if (list === undefined) folders.set(folder, [file]);
    else list.push(file);
  }
  for (const [folder, files] of folders)
    for (const run of planRuns(files, maxBytes)) {
      const merged = await rewrite(table, store, database, folder, run, nowMs);
      if (merged === null) continue;
      total.removed += run.length;
      total.added++;
      total.rows += merged;
    }
  return total;
}

/** @returns how many rows the new file holds; null when another compaction was faster */
async function rewrite(
  table: DeltaTable,
  store: ObjectStore,
  database: DuckDb,
  folder: string,
  run: Run,
  nowMs: number,
): Promise<number | null> {
  const statistics = mergeStatistics(run.map(({ stats }) => parseStatistics(stats)));
  const { numRecords, minValues, maxValues } = statistics;
  // 1. The new file, under a name that no other writer can have; invisible until step 3.
  const scratch = await store.scratchFile();
  const sources = await store.localCopies(run.map(({ path }) => `${table.root}/${path}`));
  await database
    .run(
      `COPY (SELECT * FROM read_parquet([${sources.files.map(quotePath).join(', ')}], union_by_name = true) ORDER BY _time, _offset)
       TO ${quoteLiteral(scratch)} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE ${rowGroupRows})`,
    )
    .finally(() => sources.release());
  // 2. It holds as many rows as the log says, and the same offsets.
  const [found] = await database.query(
    `SELECT count(*) AS rows, count(DISTINCT _offset) AS offsets, min(_offset) AS low, max(_offset) AS high FROM read_parquet(${quotePath(scratch)})`,
  );
  const { rows, offsets, low, high } = found ?? {};
  const holds = [rows, offsets, low, high].map(Number);
  const wanted = [numRecords, numRecords, minValues._offset, maxValues._offset];
  if (!holds.every((value, i) => value === wanted[i])) {
    await store.discard(scratch);
    throw corrupt(
      `${folder} of the lake holds ${holds[0]} rows in ${run.length} files whose log says ${numRecords}.`,
    );
  }
  const path = `${folder}/${minValues._offset}-${maxValues._offset}-${randomUUID()}.parquet`;
  const size = await store.adopt(scratch, `${table.root}/${path}`);
  // 3. It takes their place in one version, if they are all still there.
  const stats = JSON.stringify(statistics);
  const actions: Action[] = [
    { commitInfo: { timestamp: nowMs, operation: 'OPTIMIZE', engineInfo: 'Reckon' } },
    ...run.map((file) => ({ remove: { path: file.path, deletionTimestamp: nowMs, dataChange: false } })),
    { add: { path, partitionValues: {}, size, modificationTime: nowMs, dataChange: false, stats } },
  ];
  const version = await table.commit((snapshot) =>
    run.every((file) => snapshot.files.has(file.path)) ? actions : null,
  );
  return version === null ? null : numRecords;
}
