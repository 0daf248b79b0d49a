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
  /** Everything was taken and nothing came for a while: the pipeline's watermark does not wait for it. */
  readonly idle: boolean;
  /** Code of the failure that stopped its last owner (`domain/errors.ts`); null since somebody acquired it. */
  readonly stopped: string | null;
  /** How often it was acquired. */
  readonly epoch: number;
  /** Panes that a record may still change. */
  readonly openPanes: number;
  /** `consumed`, `gaps`, `duplicate`, `dead:<reason>`, and by aggregate `counted:`, `filtered:`, `late:`; each, also at 0. */
  readonly counters: Readonly<Record<string, string>>;
  /** What its owner said last of itself, every two seconds while it is alive; null where none has said anything. */
  readonly owner: OwnerStatus | null;
}

export interface OwnerStatus {
  /** Records of the log that it had not committed when it looked. */
  readonly lag: string;
  readonly seenAt: string;
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
  /** The lowest of the partitions that are not idle, which labels windows (`domain/watermark.ts`); null before the first event. */
  readonly watermark: string | null;
  readonly partitions: readonly PartitionStatus[];
}

/** Which of the servers behind answer. */
export interface Reachable {
  readonly redis: boolean;
  readonly kafka: boolean;
}

export type ReadStatus = () => Promise<readonly PipelineStatus[]>;
