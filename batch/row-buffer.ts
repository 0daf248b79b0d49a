/**
 * Rows of one partition that wait for their file. Guarantee: a file holds the rows as they were added, in that order; what
 * waits is bytes, not objects, and is counted.
 */
import { open, rm } from 'node:fs/promises';
import { quoteIdentifier, quoteLiteral, parquetSql } from '../clients/duckdb.ts';
import type { DuckDb } from '../clients/duckdb.ts';
import type { FetchedMessage } from '../clients/fetched-message.ts';
import type { ScannedEvent } from '../domain/decode.ts';
import type { Decoded, LogRecord } from '../domain/event.ts';
import type { Value } from '../domain/field.ts';
import { found } from '../domain/scanned-fields.ts';
import type { ScannedFields } from '../domain/scanned-fields.ts';
import type { EventColumn } from './event-table.ts';
import type { FileStatistics } from './file-statistics.ts';
import { encodeHeaders } from './headers.ts';
import { PlainParquet } from './plain-parquet.ts';
import { parquetFormat } from './parquet-format.ts';
import type { PlainColumn } from './plain-parquet.ts';

/**
 * The first level of zstd is a fifth faster than the default and no larger here. Compaction writes the file again at DuckDB's own.
 */
const format = `${parquetFormat}, COMPRESSION_LEVEL 1`;

/** Smallest and largest number that was seen. */
class Span {
  min = Number.POSITIVE_INFINITY;
  max = Number.NEGATIVE_INFINITY;

  add(value: number): void {
    if (value < this.min) this.min = value;
    if (value > this.max) this.max = value;
  }
}

export class RowBuffer {
  readonly #columns: readonly EventColumn[];
  readonly #staged: PlainParquet;
  /** Reckon's own columns, and those of the fields in the order of the pipeline's fields. */
  readonly #own: OwnColumns;
  readonly #fields: readonly PlainColumn[];
  readonly #timestamps = new Span();
  readonly #times = new Span();
  #partition = Number.NaN;
  firstOffset = Number.NaN;
  lastOffset = Number.NaN;

  /** @param columns as of `eventColumns` */
  constructor(columns: readonly EventColumn[]) {
    this.#columns = columns;
    const staged = columns.flatMap(({ name, stagedAs }) =>
      stagedAs === null ? [] : [{ name, type: stagedAs }],
    );
    this.#staged = new PlainParquet(staged);
    this.#own = Object.fromEntries(
      this.#staged.columns.filter(({ name }) => name.startsWith('_')).map((column) => [column.name, column]),
    ) as OwnColumns;
    this.#fields = this.#staged.columns.filter(({ name }) => !name.startsWith('_'));
  }

  get rows(): number {
    return this.#staged.rows;
  }

  /** What the buffer holds in memory. */
  get bytes(): number {
    return this.#staged.byteLength;
  }

  /** @param decoded what has just been made of the record */
  add(record: LogRecord, decoded: Decoded | ScannedEvent): void {
    const { partition, offset, timestampMs, key, value, headers } = record;
    this.#begin(partition, offset, timestampMs);
    this.#addBytes(this.#own._key, key, 0, key?.length ?? 0);
    this.#addHeaders(headers);
    this.#addDecoded(decoded, value, 0, value?.length ?? 0);
  }

  /** A message whose bytes are still where they were fetched. @param decoded what has just been made of it */
  addFetched(
    partition: number,
    offset: number,
    timestampMs: number,
    message: FetchedMessage,
    decoded: Decoded | ScannedEvent,
  ): void {
    const { raw, keyFrom, keyTo, valueFrom, valueTo } = message;
    this.#begin(partition, offset, timestampMs);
    this.#addBytes(this.#own._key, keyTo < 0 ? null : raw, keyFrom, keyTo);
    this.#addHeaders(message.headers);
    this.#addDecoded(decoded, valueTo < 0 ? null : raw, valueFrom, valueTo);
  }

  #begin(partition: number, offset: number, timestampMs: number): void {
    if (this.rows === 0) {
      this.firstOffset = offset;
      this.#partition = partition;
    }
    this.lastOffset = offset;
    this.#timestamps.add(timestampMs);
    this.#own._offset.addNumber(offset);
    this.#own._timestamp.addNumber(timestampMs);
  }

  #addBytes(column: PlainColumn, bytes: Uint8Array | null, from: number, to: number): void {
    if (bytes === null) column.addNull();
    else column.addBytes(bytes, from, to);
  }

  #addHeaders(headers: Readonly<Record<string, unknown>> | undefined): void {
    const encoded = headers === undefined ? null : encodeHeaders(headers);
    if (encoded === null) this.#own._headers.addNull();
    else this.#own._headers.addText(encoded);
  }

  /** @param from @param to where the value is in the bytes */
  #addDecoded(decoded: Decoded | ScannedEvent, bytes: Uint8Array | null, from: number, to: number): void {
    const { _time, _rejected, _detail, _raw } = this.#own;
    if (decoded.ok) {
      const { timeMs } = 'fields' in decoded ? decoded : decoded.event;
      this.#times.add(timeMs);
      _time.addNumber(timeMs);
      _rejected.addNull();
      _detail.addNull();
      _raw.addNull();
      if (!('fields' in decoded)) this.#addValues(decoded.event.values);
      else if (bytes !== null) this.#addScanned(decoded.fields, bytes);
    } else {
      const { reason, detail } = decoded.rejection;
      _time.addNull();
      _rejected.addText(reason);
      _detail.addText(detail);
      this.#addBytes(_raw, bytes, from, to);
      for (const column of this.#fields) column.addNull();
    }
    this.#staged.endRow();
  }

  /** @param bytes of the event, as they were scanned */
  #addScanned({ what, numbers, from, to }: ScannedFields, bytes: Uint8Array): void {
    for (let i = 0; i < this.#fields.length; i++) {
      const column = this.#fields[i] as PlainColumn;
      const kind = what[i];
      if (kind === found.text) column.addBytes(bytes, from[i], to[i]);
      else if (kind === found.nothing) column.addNull();
      else column.addNumber(numbers[i] as number);
    }
  }

  #addValues(values: readonly Value[]): void {
    for (let i = 0; i < this.#fields.length; i++) addValue(this.#fields[i] as PlainColumn, values[i] ?? null);
  }

  /**
   * Writes the rows as one Parquet file; nothing can be added any more.
   * @returns the statistics for Delta's log, as JSON text
   */
  async writeParquet(database: DuckDb, file: string): Promise<string> {
    const staged = `${file}.staged`;
    // A column without a value costs DuckDB nothing where it need not be read.
    const empty = new Set(this.#staged.columns.flatMap(({ name, isEmpty }) => (isEmpty ? [name] : [])));
    const columns = this.#columns.map(({ name, stagedAs, sql }) => {
      const staged = empty.has(name) ? `NULL::${stagedAs}` : quoteIdentifier(name);
      return `${sql(staged, this.#partition)} AS ${quoteIdentifier(name)}`;
    });
    try {
      const handle = await open(staged, 'wx');
      try {
        const pieces = this.#staged.finish();
        const bytes = pieces.reduce((sum, { length }) => sum + length, 0);
        const { bytesWritten } = await handle.writev(pieces);
        if (bytesWritten !== bytes) throw new Error(`${staged}: ${bytesWritten} of ${bytes} bytes written`);
      } finally {
        await handle.close();
      }
      await database.run(
        `COPY (SELECT ${columns.join(', ')} FROM ${parquetSql([staged])}) TO ${quoteLiteral(file)} (${format})`,
      );
    } finally {
      await rm(staged, { force: true });
    }
    return JSON.stringify(this.#statistics());
  }

  /** Bounds of offsets and times; other columns have none (absent is right, a rounded bound would be wrong). */
  #statistics(): FileStatistics {
    const bounds = (_offset: number, side: 'min' | 'max') => ({
      _partition: this.#partition,
      _offset,
      _timestamp: iso(this.#timestamps[side]),
      // None where every record was rejected.
      ...(Number.isFinite(this.#times[side]) ? { _time: iso(this.#times[side]) } : {}),
    });
    return {
      numRecords: this.rows,
      minValues: bounds(this.firstOffset, 'min'),
      maxValues: bounds(this.lastOffset, 'max'),
      nullCount: {},
    };
  }
}

type OwnColumns = Readonly<
  Record<
    '_offset' | '_timestamp' | '_key' | '_headers' | '_time' | '_rejected' | '_detail' | '_raw',
    PlainColumn
  >
>;

function addValue(column: PlainColumn, value: Value): void {
  if (value === null) column.addNull();
  else if (typeof value === 'string') column.addText(value);
  else column.addNumber(Number(value));
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
