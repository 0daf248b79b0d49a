/**
 * What the speed layer is doing right now, as `GET /v1/status` and the page show it. Guarantee: a read of one moment for
 * people and dashboards, never an input of the verdict; counts and offsets are decimal strings, times ISO 8601 in UTC.
 */

export interface PartitionStatus {
  readonly partition: number;
  /** Next offset of the committed speed state; everything below it has been taken. */
  readonly nextOffset: string;
  /** Next offset of the log. */
  readonly endOffset: string;
  /** Records of the log that the speed layer has not taken yet. */
  readonly lag: string;
  /** Null before the first decodable record. */
  readonly watermark: string | null;
}

export interface PipelineStatus {
  readonly pipeline: string;
  readonly topic: string;
  /** Records consumed, in all partitions. */
  readonly records: string;
  /** Records that were counted, by the aggregate that counted the most (see `countedMost`). */
  readonly counted: string;
  /** Sum of the partitions' lags. */
  readonly lag: string;
  /** Windows that a record may still change. */
  readonly openWindows: number;
  /** The lowest watermark of the partitions that have one. */
  readonly watermark: string | null;
  readonly partitions: readonly PartitionStatus[];
}

export type ReadStatus = () => Promise<readonly PipelineStatus[]>;
