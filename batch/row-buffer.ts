/**
 * Rows of one partition that wait for their file. Guarantee: a file holds the rows as they were added, in that order; what
 * waits is bytes, not objects, and is counted.
 */
import { open, rm } from 'node:fs/promises';
import { quoteIdentifier, quoteLiteral, parquetSql } from '../clients/duckdb.ts';
import type { DuckDb } from '../clients/duckdb.ts';
import type { Decoded, LogRecord } from '../domain/event.ts';
import type { Value } from '../domain/field.ts';
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
  readonly #own: Readonly<Record<string, PlainColumn>>;
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
    );
    this.#fields = this.#staged.columns.filter(({ name }) => !name.startsWith('_'));
  }

  get rows(): number {
    return this.#staged.rows;
  }

  /** What the buffer holds in memory. */
  get bytes(): number {
    return this.#staged.byteLength;
  }

  add(record: LogRecord, decoded: Decoded): void {
    const { offset, timestampMs, key, value, headers } = record;
    if (this.rows === 0) {
      this.firstOffset = offset;
      this.#partition = record.partition;
    }
    this.lastOffset = offset;
    this.#timestamps.add(timestampMs);
    const { _offset, _timestamp, _key, _headers, _time, _rejected, _detail, _raw } = this.#own as OwnColumns;
    _offset.addNumber(offset);
    _timestamp.addNumber(timestampMs);
    if (key === null) _key.addNull();
    else _key.addBytes(key);
    const encoded = headers === undefined ? null : encodeHeaders(headers);
    if (encoded === null) _headers.addNull();
    else _headers.addText(encoded);
    if (decoded.ok) {
      const { timeMs, values } = decoded.event;
      this.#times.add(timeMs);
      _time.addNumber(timeMs);
      _rejected.addNull();
      _detail.addNull();
      _raw.addNull();
      for (let i = 0; i < this.#fields.length; i++)
        addValue(this.#fields[i] as PlainColumn, values[i] ?? null);
    } else {
      const { reason, detail } = decoded.rejection;
      _time.addNull();
      _rejected.addText(reason);
      _detail.addText(detail);
      if (value === null) _raw.addNull();
      else _raw.addBytes(value);
      for (const column of this.#fields) column.addNull();
    }
    this.#staged.endRow();
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
