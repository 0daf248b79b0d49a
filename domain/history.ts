/**
 * The part of a log that Kafka may have deleted already, as the lake keeps it. Guarantee: what it gives is what the log held, record
 * by record, with what the decoder made of it.
 */
import type { Decoded, LogRecord } from './event.ts';

/** A record that was decoded before it was archived; its value is not kept. */
export interface ArchivedRecord extends LogRecord {
  readonly decoded: Decoded;
}

export interface History {
  /** Kafka's id of the topic that is archived; null where it is not known. */
  topicId(): Promise<string | null>;
  /** The first offset that is archived and the one after the last; null where nothing of the partition is. */
  range(partition: number): Promise<{ readonly start: number; readonly end: number } | null>;
  /** The first archived offset at or after a broker's timestamp; null where there is none. */
  offsetAtTime(partition: number, timestampMs: number): Promise<number | null>;
  /** The records with offsets in [from, to), in offset order, in batches. */
  read(partition: number, from: number, to: number): AsyncIterable<readonly ArchivedRecord[]>;
}
