/**
 * What an archiver has read and not written, by partition. Guarantee: pure bookkeeping; a range that is taken begins where the last one
 * ended, and what waits is counted.
 */
import { FetchedMessage } from '../clients/fetched-message.ts';
import type { KafkaMessage, ReadPosition } from '../clients/kafka.ts';
import type { ScanDecoder } from '../domain/decode.ts';
import { toOffsetVector } from '../domain/offset-vector.ts';
import type { OffsetVector } from '../domain/offset-vector.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import type { ArchiveRange } from './archive-table.ts';
import { eventColumns } from './event-table.ts';
import type { EventColumn } from './event-table.ts';
import { RowBuffer } from './row-buffer.ts';

/** One assigned partition. */
export interface Tail extends ReadPosition {
  /** Where the lake ends, as far as this archiver has written. */
  readonly expectedOffset: number;
  readonly nextOffset: number;
  /** Running maximum of the broker's timestamps. */
  readonly logTimeMs: number;
}

interface OpenTail extends Tail {
  expectedOffset: number;
  nextOffset: number;
  logTimeMs: number;
  rows: RowBuffer;
}

export class Tails {
  readonly #columns: readonly EventColumn[];
  readonly #decode: ScanDecoder;
  readonly #tails = new Map<number, OpenTail>();

  constructor(pipeline: Pipeline, decode: ScanDecoder) {
    this.#columns = eventColumns(pipeline);
    this.#decode = decode;
  }

  /** What was read is dropped: it is read again. */
  clear(): void {
    this.#tails.clear();
  }

  begin(partition: number, nextOffset: number, logTimeMs: number): void {
    this.#tails.set(partition, { expectedOffset: nextOffset, nextOffset, logTimeMs, rows: this.#newRows() });
  }

  get(partition: number): Tail | undefined {
    return this.#tails.get(partition);
  }

  /** Records from where the partition is on; those before are there already. */
  add(partition: number, messages: readonly KafkaMessage[]): void {
    const tail = this.#tails.get(partition);
    if (tail === undefined) return;
    let stamp = '';
    let timestampMs = 0;
    const decode = this.#decode;
    for (const message of messages) {
      const offset = Number(message.offset);
      if (offset < tail.nextOffset) continue;
      // Neighbours mostly have the same.
      if (message.timestamp !== stamp) timestampMs = Number((stamp = message.timestamp));
      if (message instanceof FetchedMessage) {
        const { raw, valueFrom, valueTo } = message;
        const decoded = decode(valueTo < 0 ? null : raw, valueFrom, valueTo, timestampMs);
        tail.rows.addFetched(partition, offset, timestampMs, message, decoded);
      } else {
        // Compressed, or in a transaction: a message as kafkajs makes it.
        const { key, value, headers = none } = message;
        const decoded = decode(value, 0, value?.length ?? 0, timestampMs);
        tail.rows.add({ partition, offset, timestampMs, key, value, headers }, decoded);
      }
      tail.nextOffset = offset + 1;
      if (timestampMs > tail.logTimeMs) tail.logTimeMs = timestampMs;
    }
  }

  /** Offsets below hold nothing more: control records, or records that Kafka has removed. */
  moveTo(partition: number, nextOffset: number): void {
    const tail = this.#tails.get(partition);
    if (tail !== undefined) tail.nextOffset = Math.max(tail.nextOffset, nextOffset);
  }

  /** Whether there is anything to write. */
  get waiting(): boolean {
    for (const tail of this.#tails.values()) if (tail.nextOffset !== tail.expectedOffset) return true;
    return false;
  }

  get rows(): number {
    let rows = 0;
    for (const tail of this.#tails.values()) rows += tail.rows.rows;
    return rows;
  }

  get bytes(): number {
    let bytes = 0;
    for (const tail of this.#tails.values()) bytes += tail.rows.bytes;
    return bytes;
  }

  /** How far the partitions are written that have something to write. */
  get behind(): OffsetVector {
    return toOffsetVector(
      [...this.#tails].flatMap(([partition, { expectedOffset, nextOffset }]) =>
        nextOffset === expectedOffset ? [] : [[partition, expectedOffset] as const],
      ),
    );
  }

  /** Everything that waits; nothing waits then. */
  take(): ArchiveRange[] {
    const ranges: ArchiveRange[] = [];
    for (const [partition, tail] of this.#tails) {
      const { expectedOffset, nextOffset, rows } = tail;
      if (nextOffset === expectedOffset) continue;
      // Control records alone only move the position.
      ranges.push({ partition, expectedOffset, nextOffset, rows: rows.rows === 0 ? null : rows });
      tail.expectedOffset = nextOffset;
      tail.rows = this.#newRows();
    }
    return ranges;
  }

  #newRows(): RowBuffer {
    return new RowBuffer(this.#columns);
  }
}

const none: Readonly<Record<string, unknown>> = {};
