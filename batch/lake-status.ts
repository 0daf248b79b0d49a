/**
 * What a lake's table holds, for people and for `npm run lake -- status`. Guarantee: pure; taken from the log alone, no data file is
 * read.
 */
import type { TableSnapshot } from './delta-actions.ts';
import { expiredOf } from './expiry.ts';
import { byPartition, dataFilesOf, isCold } from './file-statistics.ts';
import type { DataFile } from './file-statistics.ts';
import type { SeenLease } from './lease.ts';

export interface Amount {
  readonly files: number;
  readonly rows: number;
  readonly bytes: number;
}

export interface PartitionStatus {
  readonly partition: number;
  readonly hot: Amount;
  readonly cold: Amount;
  /** Offsets that are there, from the first to the last; null where there is no file. */
  readonly offsets: readonly [number, number] | null;
  /** Event times, epoch milliseconds; null where no record could be decoded. */
  readonly timesMs: readonly [number, number] | null;
  /** Rows that have left the lake for their age, and the offset after the last of them. */
  readonly expired: { readonly rows: number; readonly nextOffset: number } | null;
}

export interface LakeStatus {
  readonly version: number;
  /** −1 where there is none. */
  readonly checkpointVersion: number;
  readonly hot: Amount;
  readonly cold: Amount;
  readonly partitions: readonly PartitionStatus[];
  /** Files that were removed and wait for vacuum. */
  readonly tombstones: number;
  /** Files that readers hold, by how many leases. */
  readonly leases: { readonly live: number; readonly expired: number; readonly files: number };
}

export function lakeStatus(
  snapshot: TableSnapshot,
  leases: readonly SeenLease[],
  checkpointVersion: number,
): LakeStatus {
  const files = dataFilesOf(snapshot);
  const expired = expiredOf(snapshot);
  const partitions = byPartition(files);
  const numbers = [...new Set([...partitions.keys(), ...expired.keys()])].sort((a, b) => a - b);
  const live = leases.filter(({ isExpired }) => !isExpired);
  return {
    version: snapshot.version,
    checkpointVersion,
    hot: amountOf(files.filter((file) => !isCold(file))),
    cold: amountOf(files.filter(isCold)),
    partitions: numbers.map((partition) => {
      const gone = expired.get(partition);
      return {
        ...partitionStatus(partition, partitions.get(partition) ?? []),
        expired: gone === undefined ? null : { rows: gone.rows, nextOffset: gone.nextOffset },
      };
    }),
    tombstones: snapshot.tombstones.size,
    leases: {
      live: live.length,
      expired: leases.length - live.length,
      files: new Set(
        live.flatMap((lease) => (lease.files === 'all' ? [...snapshot.files.keys()] : lease.files)),
      ).size,
    },
  };
}

function partitionStatus(partition: number, files: readonly DataFile[]): Omit<PartitionStatus, 'expired'> {
  const [first, last] = [files[0], files.at(-1)];
  const minMs = files.reduce((least, file) => Math.min(least, file.minTimeMs), Infinity);
  const maxMs = files.reduce((most, file) => Math.max(most, file.maxTimeMs), -Infinity);
  return {
    partition,
    hot: amountOf(files.filter((file) => !isCold(file))),
    cold: amountOf(files.filter(isCold)),
    offsets: first === undefined || last === undefined ? null : [first.firstOffset, last.lastOffset],
    timesMs: minMs <= maxMs ? [minMs, maxMs] : null,
  };
}

export function amountOf(files: readonly DataFile[]): Amount {
  return {
    files: files.length,
    rows: files.reduce((sum, { rows }) => sum + rows, 0),
    bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}
