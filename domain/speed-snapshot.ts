/**
 * What the speed layer hands to a reconciliation: counters and offsets in a JSON object of the lake's
 * store, cells in a Parquet object beside it.
 * Guarantee: all of it is the state at one offset vector.
 */

/** One partition of the snapshot. */
export interface SnapshotPartition {
  readonly partition: number;
  /** False where the speed layer has no state of the partition, not even an empty one: it was lost, or never begun. */
  readonly begun: boolean;
  readonly baseOffset: number;
  readonly nextOffset: number;
  readonly maxEventTimeMs: number | null;
  /** `consumed`, `gaps`, `duplicate`, `dead:<reason>`, `counted:<aggregate>`, ... */
  readonly counters: Readonly<Record<string, string>>;
}

/** A snapshot where it is being read. */
export interface SpeedSide {
  readonly partitions: readonly SnapshotPartition[];
  /** Local Parquet file: aggregate, partition, start_ms, end_ms, grp (JSON list of texts), slot, value. */
  readonly cellsFile: string;
}

/** Name of the JSON file that belongs to a snapshot's Parquet file. */
export function countersFileOf(parquetFile: string): string {
  return parquetFile.replace(/\.parquet$/, '.json');
}
