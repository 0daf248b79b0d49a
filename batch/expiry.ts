/**
 * Expiry: files whose rows are older than `retention.lake` leave the table. Guarantee: of a partition only the oldest offsets go,
 * without a gap; in the same version the table says how far, and what the watermark and the log time of the rest need to know of
 * them, so whatever is computed from the rest comes to the same. The files themselves stay until vacuum deletes them.
 */
import { corrupt } from './delta-actions.ts';
import type { Action, MetaData, TableSnapshot } from './delta-actions.ts';
import type { DeltaTable } from './delta-log.ts';
import { ageFromMs, byPartition, dataFilesOf } from './file-statistics.ts';
import type { DataFile } from './file-statistics.ts';

/** What is known of the records of a partition that the lake holds no more; maxima and sums over all that ever went. */
export interface Expired {
  /** The offset after the last of them. */
  readonly nextOffset: number;
  /** The largest event time; null where none could be decoded. */
  readonly maxTimeMs: number | null;
  /** The largest broker's timestamp. */
  readonly logTimeMs: number;
  readonly rows: number;
}

export interface ExpiryOptions {
  /** How long files stay. */
  readonly lakeMs: number;
  readonly dryRun?: boolean;
  readonly signal?: AbortSignal;
  readonly now?: () => number;
}

/** Property of the table: by partition, what has expired. */
const expiredProperty = 'reckon.expired';
/** So many files leave in one version. */
const filesPerVersion = 1_000;

/** @throws ReckonError `corrupt-lake` when the property is not what expiry writes */
export function expiredOf({ metaData }: TableSnapshot): ReadonlyMap<number, Expired> {
  const text = metaData?.configuration[expiredProperty];
  if (text === undefined) return new Map();
  try {
    const found = JSON.parse(text) as Record<string, Expired>;
    return new Map(Object.entries(found).map(([partition, expired]) => [Number(partition), expired]));
  } catch (cause) {
    throw corrupt(`The property ${expiredProperty} of the lake is not valid JSON.`, cause);
  }
}

/** @returns the files to let go: of each partition the first ones, up to the first that is young enough to stay */
export function planExpiry(files: readonly DataFile[], lakeMs: number, nowMs: number): DataFile[] {
  return [...byPartition(files).values()].flatMap((all) => {
    const kept = all.findIndex((file) => ageFromMs(file) >= nowMs - lakeMs);
    return kept < 0 ? all : all.slice(0, kept);
  });
}

/** What is known after these files have gone, too. */
export function addExpired(
  before: ReadonlyMap<number, Expired>,
  files: readonly DataFile[],
): ReadonlyMap<number, Expired> {
  const after = new Map(before);
  for (const file of files) {
    const known = after.get(file.partition);
    const maxTimeMs = Math.max(known?.maxTimeMs ?? Number.NEGATIVE_INFINITY, file.maxTimeMs);
    after.set(file.partition, {
      nextOffset: Math.max(known?.nextOffset ?? 0, file.lastOffset + 1),
      maxTimeMs: Number.isFinite(maxTimeMs) ? maxTimeMs : null,
      logTimeMs: Math.max(known?.logTimeMs ?? Number.NEGATIVE_INFINITY, file.newestMs),
      rows: (known?.rows ?? 0) + file.rows,
    });
  }
  return after;
}

/** Lets go what is too old. @returns the files that went, or would go */
export async function expire(table: DeltaTable, options: ExpiryOptions): Promise<DataFile[]> {
  const { lakeMs, dryRun = false, signal, now = Date.now } = options;
  if (dryRun) return planExpiry(dataFilesOf(await table.refresh()), lakeMs, now());
  const gone: DataFile[] = [];
  while (signal?.aborted !== true) {
    let files: DataFile[] = [];
    // Planned anew for every try: a compaction may have been faster.
    const version = await table.commit((snapshot) => {
      const nowMs = now();
      files = planExpiry(dataFilesOf(snapshot), lakeMs, nowMs).slice(0, filesPerVersion);
      return files.length === 0 || snapshot.metaData === null
        ? null
        : expiryActions(snapshot, snapshot.metaData, files, nowMs);
    });
    if (version === null) break;
    gone.push(...files);
  }
  return gone;
}

function expiryActions(
  snapshot: TableSnapshot,
  metaData: MetaData,
  files: readonly DataFile[],
  nowMs: number,
): Action[] {
  const expired = JSON.stringify(Object.fromEntries(addExpired(expiredOf(snapshot), files)));
  return [
    { commitInfo: { timestamp: nowMs, operation: 'DELETE', engineInfo: 'Reckon' } },
    ...files.map(({ path }) => ({ remove: { path, deletionTimestamp: nowMs, dataChange: true } })),
    { metaData: { ...metaData, configuration: { ...metaData.configuration, [expiredProperty]: expired } } },
  ];
}
