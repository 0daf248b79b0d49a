/** What `npm run lake` prints. Guarantee: pure; a long list is cut to so many lines, and says of how many. */
import type { DataFile } from '../batch/file-statistics.ts';
import { amountOf } from '../batch/lake-status.ts';
import type { Amount, LakeStatus, PartitionStatus } from '../batch/lake-status.ts';
import type { Vacuumed } from '../batch/vacuum.ts';
import type { Published } from '../batch/view.ts';
import type { ViewStatus } from '../batch/view-table.ts';

const linesMax = 50;

export function describeStatus(pipeline: string, status: LakeStatus): string[] {
  const { leases } = status;
  return [
    `${pipeline}: version ${status.version}, checkpoint ${status.checkpointVersion < 0 ? 'none' : status.checkpointVersion}`,
    `  hot   ${amount(status.hot)}`,
    `  cold  ${amount(status.cold)}`,
    `  ${status.tombstones} removed files wait for vacuum; ${leases.live} leases hold ${leases.files} files, ${leases.expired} have expired`,
    ...bounded(status.partitions.map(describePartition)),
  ];
}

function describePartition({ partition, hot, cold, offsets, timesMs, expired }: PartitionStatus): string {
  const parts = [
    offsets === null ? 'no files' : `offsets ${offsets[0]} to ${offsets[1]}`,
    ...(timesMs === null ? [] : [`event times ${day(timesMs[0])} to ${day(timesMs[1])}`]),
    `hot ${amount(hot)}`,
    ...(cold.files === 0 ? [] : [`cold ${amount(cold)}`]),
    ...(expired === null ? [] : [`${expired.rows} rows below ${expired.nextOffset} have expired`]),
  ];
  return `  p${partition}: ${parts.join('; ')}`;
}

/** @param what what happened to the files, or would */
export function describeFiles(files: readonly DataFile[], what: string): string[] {
  const list = files.map(({ path, rows, bytes }) => `  ${path}: ${rows} rows, ${size(bytes)}`);
  return [...bounded(list), `${amount(amountOf(files))} ${what}`];
}

export function describeViews(views: readonly ViewStatus[]): string[] {
  return views.map(({ aggregate, rows, days, closedMs }) => {
    const reach =
      closedMs === null ? 'no window is closed yet' : `closed up to ${new Date(closedMs).toISOString()}`;
    return `  view ${aggregate}: ${rows === null ? 'not published yet' : `${days} days, ${rows} rows, ${reach}`}`;
  });
}

export function describePublished(pipeline: string, views: readonly Published[], dryRun: boolean): string[] {
  return views.map(({ aggregate, days, daysLeft, windows }) => {
    const what = dryRun ? `${days} days would be written` : `${days} days, ${windows} rows written`;
    const left =
      daysLeft === 0 ? '' : `; ${daysLeft} changed days stay as they were, as records of theirs have expired`;
    return `${pipeline}/aggregates/${aggregate}: ${days === 0 ? 'nothing is written' : what}${left}`;
  });
}

export function describeVacuum(done: Vacuumed, verb: string): string[] {
  const all = [...done.removed, ...done.orphans, ...done.scratch, ...done.log];
  const bytes = all.reduce((sum, file) => sum + file.bytes, 0);
  return [
    ...bounded([
      ...all.map((file) => `  ${file.path}: ${size(file.bytes)}`),
      ...done.leases.map((path) => `  ${path}`),
    ]),
    `${done.removed.length} removed files, ${done.orphans.length} orphans, ${done.scratch.length} scratch files, ` +
      `${done.log.length} old versions (${size(bytes)}) and ${done.leases.length} expired leases ${verb} deleted; leases hold ${done.held}`,
  ];
}

function bounded(lines: readonly string[]): string[] {
  if (lines.length <= linesMax) return [...lines];
  return [...lines.slice(0, linesMax), `  ... and ${lines.length - linesMax} more`];
}

function amount({ files, rows, bytes }: Amount): string {
  return `${files} files, ${rows} rows, ${size(bytes)}`;
}

function size(bytes: number): string {
  if (bytes < 1_000) return `${bytes} B`;
  const [unit, name] = bytes < 1e6 ? [1e3, 'kB'] : bytes < 1e9 ? [1e6, 'MB'] : [1e9, 'GB'];
  return `${(bytes / unit).toFixed(1)} ${name}`;
}

function day(timeMs: number): string {
  return new Date(timeMs).toISOString().slice(0, 19);
}
