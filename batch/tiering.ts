/**
 * Tiering: files that are older than `retention.hot` move to the store's cold storage. Guarantee: a file is replaced in the table only
 * by a copy whose bytes were read back and are the same; the rows never change, and a query sees each of them once at any time. The
 * hot file becomes a tombstone that vacuum deletes. Cut short anywhere, the copies that were made are orphans: a repeated run makes
 * its own, under other names, so that vacuum never deletes what a later run has committed.
 */
import { randomUUID } from 'node:crypto';
import type { ObjectStore } from '../clients/object-store.ts';
import type { Action, AddFile } from './delta-actions.ts';
import type { DeltaTable } from './delta-log.ts';
import { ageFromMs, coldFolder, dataFilesOf, isCold } from './file-statistics.ts';
import type { DataFile } from './file-statistics.ts';
import { withLease } from './lease.ts';

/** Of one version: what a run that is cut short has copied in vain is bounded. */
const filesPerVersion = 64;
const bytesPerVersion = 1 << 30;

export interface TieringOptions {
  /** How long files stay hot. */
  readonly hotMs: number;
  readonly dryRun?: boolean;
  /** Stops before the next file. */
  readonly signal?: AbortSignal;
  /** Told of a copy that is not what it was made from. */
  readonly onDamaged?: (path: string) => void;
  readonly now?: () => number;
}

export interface Tiered {
  /** Files that moved, or would. */
  readonly files: readonly DataFile[];
  /** Files whose copy was not the same: they stay hot. */
  readonly damaged: readonly string[];
}

interface Copy {
  readonly file: DataFile;
  readonly path: string;
}

/** @returns the files to move, in groups of one version each */
export function planTiering(files: readonly DataFile[], hotMs: number, nowMs: number): DataFile[][] {
  const groups: DataFile[][] = [];
  let bytes = Infinity;
  for (const file of files) {
    if (isCold(file) || ageFromMs(file) >= nowMs - hotMs) continue;
    const last = groups.at(-1);
    if (last === undefined || last.length >= filesPerVersion || bytes + file.bytes > bytesPerVersion) {
      groups.push([file]);
      bytes = file.bytes;
    } else {
      last.push(file);
      bytes += file.bytes;
    }
  }
  return groups;
}

export async function tier(table: DeltaTable, store: ObjectStore, options: TieringOptions): Promise<Tiered> {
  const { hotMs, dryRun = false, signal, now = Date.now } = options;
  const groups = planTiering(dataFilesOf(await table.refresh()), hotMs, now());
  if (dryRun) return { files: groups.flat(), damaged: [] };
  const [moved, damaged]: [DataFile[], string[]] = [[], []];
  for (const group of groups) {
    if (signal?.aborted === true) break;
    const live = (await table.refresh()).files;
    const wanted = group.filter(({ path }) => live.has(path));
    if (wanted.length === 0) continue;
    const paths = wanted.map(({ path }) => path);
    const work = async (): Promise<void> => {
      const copies: Copy[] = [];
      for (const file of wanted) {
        if (signal?.aborted === true) break;
        const path = await copy(table.root, store, file);
        if (path !== null) copies.push({ file, path });
        else {
          damaged.push(file.path);
          options.onDamaged?.(file.path);
        }
      }
      moved.push(...(await commit(table, store, copies, now)));
    };
    await withLease(table, store, paths, work, now);
  }
  return { files: moved, damaged };
}

/** @returns the copy's path; null when it is not the same (it is discarded then) */
async function copy(root: string, store: ObjectStore, file: DataFile): Promise<string | null> {
  const { partition, firstOffset, lastOffset } = file;
  const path = `${coldFolder}/p${partition}/${firstOffset}-${lastOffset}-${randomUUID()}.parquet`;
  await store.copyCold(`${root}/${file.path}`, `${root}/${path}`);
  const [hot, cold] = [await store.checksum(`${root}/${file.path}`), await store.checksum(`${root}/${path}`)];
  if (hot === cold) return path;
  await store.remove(`${root}/${path}`);
  return null;
}

/** Puts copies in the place of those files that are still live. @returns these */
async function commit(
  table: DeltaTable,
  store: ObjectStore,
  copies: readonly Copy[],
  now: () => number,
): Promise<DataFile[]> {
  let fits: Copy[] = [];
  const version = await table.commit((snapshot) => {
    fits = copies.filter(({ file }) => snapshot.files.has(file.path));
    if (fits.length === 0) return null;
    const nowMs = now();
    return [
      { commitInfo: { timestamp: nowMs, operation: 'TIER', engineInfo: 'Reckon' } },
      ...fits.flatMap(({ file, path }): Action[] => {
        const hot = snapshot.files.get(file.path) as AddFile;
        return [
          { remove: { path: file.path, deletionTimestamp: nowMs, dataChange: false } },
          // All else stays, the time of its rows' archiving too: from it the age counts.
          { add: { ...hot, path, dataChange: false } },
        ];
      }),
    ];
  });
  // A store may have taken a version whose answer was lost: what the table says counts.
  const { files } = await table.refresh();
  const took = version === null ? copies.filter(({ path }) => files.has(path)) : fits;
  // A compaction or expiry was faster: nobody will ever name these.
  for (const one of copies) if (!took.includes(one)) await store.remove(`${table.root}/${one.path}`);
  return took.map(({ file }) => file);
}
