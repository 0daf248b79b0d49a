/**
 * Vacuum: deletes what nobody reads any more. Guarantee: of the table's data only files that expired tombstones name, and files that
 * no version names and that are older than any append may take; never one that is live or that a lease holds, nor one that was
 * removed less than `retentionMinMs` ago. Cut short at any step it leaves a table that is whole, and the next one goes on:
 * a file goes before its tombstone does (without one it would be an orphan, which vacuum finds too), and a version of the log only
 * after a checkpoint holds it.
 */
import type { DuckDb } from '../clients/duckdb.ts';
import type { ObjectStore, StoredObject } from '../clients/object-store.ts';
import { ReckonError } from '../domain/errors.ts';
import type { TableSnapshot } from './delta-actions.ts';
import { tombstoneRetentionMs } from './delta-log.ts';
import type { DeltaTable } from './delta-log.ts';
import { coldFolder } from './file-statistics.ts';
import { readLeases, retentionMinMs } from './lease.ts';
import type { SeenLease } from './lease.ts';

export const defaultRetentionMs = tombstoneRetentionMs;
/** No append, compaction or copy takes as long between its file and its version. */
const orphanMinMs = 86_400_000;
/** Where local stores keep files that are being written. */
const scratchFolder = '_scratch';

export interface VacuumOptions {
  /** For so long after their removal files stay. */
  readonly retentionMs?: number;
  readonly dryRun?: boolean;
  /** Stops before the next file. */
  readonly signal?: AbortSignal;
  readonly now?: () => number;
}

export interface Doomed {
  /** In the table's folder; of scratch files, in the store. */
  readonly path: string;
  readonly bytes: number;
}

export interface VacuumPlan {
  /** Files of expired tombstones. */
  readonly removed: readonly Doomed[];
  /** Files that no version names. */
  readonly orphans: readonly Doomed[];
  /** Leases of processes that are gone. */
  readonly leases: readonly string[];
  /** How many files would go, if leases did not hold them. */
  readonly held: number;
  /** Whether tombstones have expired, so that a checkpoint without them is worth it. */
  readonly expiredTombstones: number;
}

export interface Vacuumed extends VacuumPlan {
  readonly scratch: readonly Doomed[];
  /** Versions and checkpoints that the last checkpoint has made superfluous. */
  readonly log: readonly Doomed[];
}

/**
 * @param listing objects below the table's root, listed before the snapshot was read
 * @param leases read after the snapshot was
 */
export function planVacuum(
  snapshot: TableSnapshot,
  listing: readonly StoredObject[],
  leases: readonly SeenLease[],
  retentionMs: number,
  nowMs: number,
): VacuumPlan {
  const live = leases.filter(({ isExpired }) => !isExpired).map(({ files }) => files);
  const held = new Set(live.flatMap((files) => (files === 'all' ? [] : files)));
  const isHeld = (path: string) => live.includes('all') || held.has(path);
  const removedBeforeMs = nowMs - Math.max(retentionMs, retentionMinMs);
  const writtenBeforeMs = nowMs - Math.max(retentionMs, orphanMinMs);
  const [removed, orphans]: [Doomed[], Doomed[]] = [[], []];
  let heldFiles = 0;
  for (const { name: path, modifiedMs, bytes } of listing) {
    if (!isData(path) || snapshot.files.has(path)) continue;
    const tombstone = snapshot.tombstones.get(path);
    const isDoomed = tombstone ? tombstone.deletionTimestamp < removedBeforeMs : modifiedMs < writtenBeforeMs;
    if (isDoomed && isHeld(path)) heldFiles++;
    else if (isDoomed) (tombstone ? removed : orphans).push({ path, bytes });
  }
  return {
    removed,
    orphans,
    leases: leases.flatMap(({ path, isExpired }) => (isExpired ? [path] : [])),
    held: heldFiles,
    expiredTombstones: [...snapshot.tombstones.values()].filter(
      ({ deletionTimestamp }) => deletionTimestamp < removedBeforeMs,
    ).length,
  };
}

/**
 * Only what Reckon itself puts there: `p<partition>/…`, hot or cold, and of a batch view `window_date=<day>/…`. Whatever else lies in
 * the folder is somebody's.
 */
function isData(path: string): boolean {
  const [first, second] = path.split('/');
  return /^(p\d+|window_date=\d{4}-\d\d-\d\d)$/.test((first === coldFolder ? second : first) ?? '');
}

/**
 * @returns what was deleted, or would be
 * @throws ReckonError `invalid-input` when the retention is shorter than the minimum
 */
export async function vacuum(
  table: DeltaTable,
  store: ObjectStore,
  database: DuckDb,
  options: VacuumOptions = {},
): Promise<Vacuumed> {
  const { retentionMs = defaultRetentionMs, dryRun = false, signal, now = Date.now } = options;
  if (!(retentionMs >= retentionMinMs))
    throw new ReckonError(
      'invalid-input',
      'Vacuum must leave removed files for at least 1h, as queries that run may read them.',
      'Use --older-than 1h or more.',
    );
  const nowMs = now();
  // In this order: a file that is listed and committed meanwhile is in the snapshot; for the leases see `lease.ts`.
  const listing = await store.list(table.root);
  const snapshot = await table.refresh();
  const leases = await readLeases(store, table.root, nowMs);
  const plan = planVacuum(snapshot, listing, leases, retentionMs, nowMs);
  const scratch = (await store.list(scratchFolder)).flatMap(({ name, modifiedMs, bytes }) =>
    modifiedMs < nowMs - orphanMinMs ? [{ path: `${scratchFolder}/${name}`, bytes }] : [],
  );
  if (dryRun) return { ...plan, scratch, log: await table.superfluousLog(nowMs - retentionMs) };
  // 1. Data, leases and scratch files.
  const doomed = [...plan.removed, ...plan.orphans].map(({ path }) => path);
  const paths = [...doomed, ...plan.leases].map((path) => `${table.root}/${path}`);
  let deleted = 0;
  for (const path of [...paths, ...scratch.map((file) => file.path)]) {
    if (signal?.aborted === true) break;
    await store.remove(path);
    deleted++;
  }
  if (signal?.aborted === true) return cut({ ...plan, scratch, log: [] }, deleted);
  // 2. Tombstones leave the log by a checkpoint without them, unless the last one is as new and has none to leave.
  if (plan.expiredTombstones > 0 || (await table.lastCheckpoint()) < snapshot.version)
    await table.checkpoint(database, nowMs - retentionMs);
  // 3. Versions that the checkpoint holds.
  const log = await table.superfluousLog(nowMs - retentionMs);
  await table.cleanLog(nowMs - retentionMs);
  return { ...plan, scratch, log };
}

/** All tables of a pipeline, one after the other; those that do not exist are passed over. @returns what was deleted of all */
export async function vacuumAll(
  tables: readonly DeltaTable[],
  store: ObjectStore,
  database: DuckDb,
  options: VacuumOptions = {},
): Promise<Vacuumed> {
  const all: Vacuumed[] = [];
  for (const table of tables)
    if (options.signal?.aborted !== true && (await table.refresh()).version >= 0) {
      const done = await vacuum(table, store, database, options);
      // The store's scratch files are of no table: the first one has told of them.
      all.push(all.length > 0 ? { ...done, scratch: [] } : done);
    }
  const sum = (countOf: (one: Vacuumed) => number) => all.reduce((total, one) => total + countOf(one), 0);
  return {
    removed: all.flatMap(({ removed }) => removed),
    orphans: all.flatMap(({ orphans }) => orphans),
    leases: all.flatMap(({ leases }) => leases),
    held: sum(({ held }) => held),
    expiredTombstones: sum(({ expiredTombstones }) => expiredTombstones),
    scratch: all.flatMap(({ scratch }) => scratch),
    log: all.flatMap(({ log }) => log),
  };
}

/** What was done of a plan of which only so many objects were deleted. */
function cut(all: Vacuumed, deleted: number): Vacuumed {
  let left = deleted;
  const take = <T>(list: readonly T[]): T[] => {
    const taken = list.slice(0, left);
    left -= taken.length;
    return taken;
  };
  const [removed, orphans, leases] = [take(all.removed), take(all.orphans), take(all.leases)];
  return { ...all, removed, orphans, leases, scratch: take(all.scratch) };
}
