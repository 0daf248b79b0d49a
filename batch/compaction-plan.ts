/**
 * What compaction rewrites. Guarantee: pure. A run is neighbours of one partition, hot, of one day of log time; runs are disjoint;
 * carried out again and again the plan becomes empty, after each row was rewritten at most once for each power of `runLength`
 * between its file's size and the target, and once at its day's end.
 *
 * As a run never crosses a day, the cost of compacting one day depends on that day alone, whole files can expire by age, and files
 * that a query does not need are skipped. The day is that of a file's oldest record (UTC, by the broker's timestamps): a file may
 * reach into the next one, as the archiver does not wait for midnight. Files that reach further (replayed history, producers with a
 * clock of their own) form a class of their own, which knows no days: it would never merge otherwise.
 */
import { byPartition, isCold } from './file-statistics.ts';
import type { DataFile } from './file-statistics.ts';

const dayMs = 86_400_000;
/** So many neighbours of about the same size are worth a rewrite. */
const runLength = 4;
/** Files of at least this size are never rewritten. */
export const targetBytes = 64 << 20;

export interface CompactionPlanOptions {
  readonly targetBytes?: number;
  readonly nowMs: number;
}

/** Files that become one, by offset. */
export interface Run {
  readonly partition: number;
  readonly files: readonly DataFile[];
  readonly rows: number;
  readonly bytes: number;
}

/** Neighbours of one class; only these may meet in a file. */
interface Stretch {
  /** UTC day of the oldest record, in days since 1970; null for files that reach over more than two. */
  readonly day: number | null;
  readonly files: DataFile[];
}

/** @param files the table's, of any number of partitions, by offset within each */
export function planCompaction(files: readonly DataFile[], options: CompactionPlanOptions): Run[] {
  const { targetBytes: target = targetBytes, nowMs } = options;
  return [...byPartition(files).values()].flatMap((all) => {
    const stretches = stretchesOf(all);
    const logMs = all.reduce((latest, { newestMs }) => Math.max(latest, newestMs), Number.NEGATIVE_INFINITY);
    return stretches.flatMap((stretch, i) => {
      const isLast = i === stretches.length - 1;
      return isClosed(stretch, isLast, logMs, nowMs)
        ? packed(stretch.files, target)
        : tiered(stretch.files, target);
    });
  });
}

function stretchesOf(files: readonly DataFile[]): Stretch[] {
  const stretches: Stretch[] = [];
  let last: Stretch | null = null;
  for (const file of files) {
    if (isCold(file)) {
      last = null;
      continue;
    }
    const day = dayOf(file);
    if (last === null || last.day !== day) stretches.push((last = { day, files: [] }));
    last.files.push(file);
  }
  return stretches;
}

/** Two files of a day make one of that day. */
function dayOf({ oldestMs, newestMs }: DataFile): number | null {
  const day = Math.floor(oldestMs / dayMs);
  return Math.floor(newestMs / dayMs) <= day + 1 ? day : null;
}

/**
 * Whether nothing is added to a day any more, so that one last rewrite is worth it: the log went on for a day since, or the
 * partition has been silent for a day.
 */
function isClosed({ day, files }: Stretch, isLast: boolean, logMs: number, nowMs: number): boolean {
  if (day === null) return false;
  if (!isLast && logMs >= (day + 2) * dayMs) return true;
  return files.every(({ archivedMs }) => archivedMs < nowMs - dayMs);
}

/** Of a day that goes on: at least `runLength` neighbours of about the same size. */
function tiered(files: readonly DataFile[], target: number): Run[] {
  const runs: DataFile[][] = [];
  let run: DataFile[] = [];
  let bytes = 0;
  const close = () => {
    if (run.length >= runLength) runs.push(run);
    [run, bytes] = [[], 0];
  };
  for (const file of files) {
    const fits = file.bytes < target && bytes + file.bytes <= 2 * target;
    if (run.length > 0 && (!fits || tierOf(file) !== tierOf(run[0] as DataFile))) close();
    if (file.bytes >= target) continue;
    run.push(file);
    bytes += file.bytes;
  }
  close();
  return runs.map(toRun);
}

/** Files of one tier differ in size by less than `runLength`. */
function tierOf({ bytes }: DataFile): number {
  return Math.floor(Math.log(Math.max(1, bytes)) / Math.log(runLength));
}

/**
 * Of a day that is over: all neighbours below the target, up to twice the target a file. What is closed early because the next file
 * would not fit is above the target already, so nothing is packed twice (unless together it takes less than half the space).
 */
function packed(files: readonly DataFile[], target: number): Run[] {
  const runs: DataFile[][] = [];
  let run: DataFile[] = [];
  let bytes = 0;
  const close = () => {
    if (run.length > 1) runs.push(run);
    [run, bytes] = [[], 0];
  };
  for (const file of files) {
    if (file.bytes >= target || bytes + file.bytes > 2 * target) close();
    if (file.bytes >= target) continue;
    run.push(file);
    bytes += file.bytes;
  }
  close();
  return runs.map(toRun);
}

function toRun(files: readonly DataFile[]): Run {
  return {
    partition: (files[0] as DataFile).partition,
    files,
    rows: files.reduce((sum, { rows }) => sum + rows, 0),
    bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}
