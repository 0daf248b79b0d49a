/**
 * The statistics of a data file in Delta's log. Guarantee: pure; bounds that bound, or none at all.
 * Source: the Delta transaction log protocol, section "Per-file Statistics".
 */

import { corrupt } from './delta-actions.ts';
import type { AddFile, TableSnapshot } from './delta-actions.ts';

/** Of the columns that have bounds; times are ISO texts in milliseconds. */
export interface Bounds {
  readonly _partition?: number;
  readonly _offset?: number;
  readonly _timestamp?: string | null;
  readonly _time?: string | null;
}

export interface FileStatistics {
  readonly numRecords: number;
  readonly minValues: Bounds;
  readonly maxValues: Bounds;
  readonly nullCount: Readonly<Record<string, number>>;
}

/** @param stats JSON text of an `add`; where there is none, nothing is known */
export function parseStatistics(stats: string | undefined): FileStatistics {
  const parsed = JSON.parse(stats ?? '{}') as Partial<FileStatistics>;
  return { numRecords: Number.NaN, minValues: {}, maxValues: {}, nullCount: {}, ...parsed };
}

/** Those of a file that holds the rows of all of these. */
export function mergeStatistics(all: readonly FileStatistics[]): FileStatistics {
  return {
    numRecords: all.reduce((sum, { numRecords }) => sum + numRecords, 0),
    minValues: mergeBounds(
      all.map(({ minValues }) => minValues),
      (a, b) => (valueOf(a) < valueOf(b) ? a : b),
    ),
    maxValues: mergeBounds(
      all.map(({ maxValues }) => maxValues),
      (a, b) => (valueOf(a) > valueOf(b) ? a : b),
    ),
    nullCount: {},
  };
}

/**
 * A file without a bound of `_time` holds rejected records only, whose `_time` is null: they are outside of every bound. Of the other
 * columns every file has bounds, or the merged one has none.
 */
function mergeBounds(all: readonly Bounds[], pick: <T extends number | string>(a: T, b: T) => T): Bounds {
  const merged: Record<string, number | string> = {};
  for (const column of ['_partition', '_offset', '_timestamp', '_time'] as const) {
    const values = all.flatMap((bounds): (number | string)[] => {
      const bound = bounds[column];
      return bound === undefined || bound === null ? [] : [bound];
    });
    if (values.length === 0 || (column !== '_time' && values.length < all.length)) continue;
    merged[column] = values.reduce((a, b) => pick(a, b));
  }
  return merged;
}

/** Times as epoch milliseconds: as texts, years beyond 9999 would not be in order. */
function valueOf(bound: number | string): number {
  return typeof bound === 'number' ? bound : Date.parse(bound);
}

/** A data file of the `events` table by its statistics, which every file that Reckon writes has. */
export interface DataFile {
  /** In the table's folder. */
  readonly path: string;
  readonly partition: number;
  readonly firstOffset: number;
  readonly lastOffset: number;
  readonly rows: number;
  /** Bounds of the event times; Infinity and −Infinity where no record could be decoded. */
  readonly minTimeMs: number;
  readonly maxTimeMs: number;
  /** Bounds of the broker's timestamps. */
  readonly oldestMs: number;
  readonly newestMs: number;
  /** When the newest of its rows was archived; a file that was made from others has it from them. */
  readonly archivedMs: number;
  readonly bytes: number;
}

const dayMs = 86_400_000;

/**
 * From when the age of a file counts: the later of the newest broker's timestamp and the archiving of its rows, so that replayed
 * history with timestamps of long ago lives as long as live data does. A clock that is ahead holds a file for a day at most.
 */
export function ageFromMs({ newestMs, archivedMs }: DataFile): number {
  return Math.max(archivedMs, Math.min(newestMs, archivedMs + dayMs));
}

/** The data files of a table's version, by partition and first offset. */
export function dataFilesOf(snapshot: TableSnapshot, partition: number | null = null): DataFile[] {
  return [...snapshot.files.values()]
    .map(dataFileOf)
    .filter((file) => partition === null || file.partition === partition)
    .sort((a, b) => a.partition - b.partition || a.firstOffset - b.firstOffset);
}

/** Files by partition, in the order in which they come. */
export function byPartition(files: readonly DataFile[]): Map<number, DataFile[]> {
  const partitions = new Map<number, DataFile[]>();
  for (const file of files) {
    const list = partitions.get(file.partition);
    if (list === undefined) partitions.set(file.partition, [file]);
    else list.push(file);
  }
  return partitions;
}

/** Cold files are in a folder of their own below the table's root (decision 13). */
export const coldFolder = 'cold';

export function isCold({ path }: { readonly path: string }): boolean {
  return path.startsWith(`${coldFolder}/`);
}

/** @throws ReckonError `corrupt-lake` where a file lacks the bounds that everything here rests on */
export function dataFileOf({ path, stats, size, modificationTime }: AddFile): DataFile {
  const { numRecords, minValues, maxValues } = parseStatistics(stats);
  const time = (bound: string | null | undefined, none: number) => (bound ? Date.parse(bound) : none);
  const file = {
    path,
    partition: minValues._partition ?? Number.NaN,
    firstOffset: minValues._offset ?? Number.NaN,
    lastOffset: maxValues._offset ?? Number.NaN,
    rows: numRecords,
    minTimeMs: time(minValues._time, Number.POSITIVE_INFINITY),
    maxTimeMs: time(maxValues._time, Number.NEGATIVE_INFINITY),
    oldestMs: time(minValues._timestamp, Number.NaN),
    newestMs: time(maxValues._timestamp, Number.NaN),
    archivedMs: modificationTime,
    bytes: size,
  };
  const known = [file.partition, file.firstOffset, file.lastOffset, file.rows, file.oldestMs, file.newestMs];
  if (known.some((value) => !Number.isFinite(value)) || minValues._partition !== maxValues._partition)
    throw corrupt(`${path} of the lake has no statistics of Reckon's: another program has rewritten it.`);
  return file;
}
