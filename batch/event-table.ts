/**
 * The lake's `events` table: one row for every offset of the topic, decoded or rejected. Guarantee: typed columns hold the
 * event's values exactly; rejected records keep their raw bytes, reason and detail.
 */
import type { DeltaColumn } from './delta-actions.ts';
import { quoteIdentifier, quoteLiteral, quotePath, toBlob } from '../clients/duckdb.ts';
import type { DuckDb, DuckDBValue } from '../clients/duckdb.ts';
import type { Decoded, LogRecord } from '../domain/event.ts';
import type { Field, FieldType } from '../domain/field.ts';
import type { Pipeline } from '../domain/pipeline.ts';

/** Digits before and after the point of a decimal column; every scaled integer (below 2^53) fits. */
const decimalPrecision = 18;

/** How a column gets into Parquet: staged as a type that JavaScript writes quickly, cast to its own. */
interface EventColumn extends DeltaColumn {
  readonly stagedAs: 'DOUBLE' | 'VARCHAR' | 'BLOB' | 'BOOLEAN';
  /** SQL from the staged column to the column's type. */
  readonly cast: (staged: string) => string;
}

const timestamp = (staged: string) => `epoch_ms(${staged}::BIGINT)::TIMESTAMPTZ`;
const asIs = (staged: string) => staged;

const ownColumns: readonly EventColumn[] = [
  {
    name: '_partition',
    type: 'integer',
    nullable: false,
    stagedAs: 'DOUBLE',
    cast: (staged) => `${staged}::INTEGER`,
  },
  {
    name: '_offset',
    type: 'long',
    nullable: false,
    stagedAs: 'DOUBLE',
    cast: (staged) => `${staged}::BIGINT`,
  },
  { name: '_timestamp', type: 'timestamp', nullable: false, stagedAs: 'DOUBLE', cast: timestamp },
  { name: '_key', type: 'binary', nullable: true, stagedAs: 'BLOB', cast: asIs },
  { name: '_id', type: 'string', nullable: true, stagedAs: 'VARCHAR', cast: asIs },
  { name: '_time', type: 'timestamp', nullable: true, stagedAs: 'DOUBLE', cast: timestamp },
  { name: '_rejected', type: 'string', nullable: true, stagedAs: 'VARCHAR', cast: asIs },
  { name: '_detail', type: 'string', nullable: true, stagedAs: 'VARCHAR', cast: asIs },
  { name: '_raw', type: 'binary', nullable: true, stagedAs: 'BLOB', cast: asIs },
];

/** The columns of a pipeline's `events` table: Reckon's own, then one for each field. */
export function eventColumns(pipeline: Pipeline): readonly EventColumn[] {
  return [...ownColumns, ...pipeline.fields.map(fieldColumn)];
}

/** DuckDB's types by Delta's names; decimals have the same name in both. */
export const duckDbTypes: Readonly<Record<string, string>> = {
  integer: 'INTEGER',
  long: 'BIGINT',
  double: 'DOUBLE',
  boolean: 'BOOLEAN',
  string: 'VARCHAR',
  binary: 'BLOB',
  timestamp: 'TIMESTAMPTZ',
};

/**
 * The rows of data files as a relation with all columns of the table: files that were written before a column was added have
 * null there.
 * @param files what DuckDB opens; read as an explicit list, never a glob
 */
export function eventsSql(pipeline: Pipeline, files: readonly string[]): string {
  const columns = eventColumns(pipeline).map(
    ({ name, type }) => `NULL::${duckDbTypes[type] ?? type} AS ${quoteIdentifier(name)}`,
  );
  const none = `SELECT ${columns.join(', ')} WHERE false`;
  if (files.length === 0) return none;
  return `${none} UNION ALL BY NAME FROM read_parquet([${files.map(quotePath).join(', ')}], union_by_name = true)`;
}

/** The column of a field in the lake's tables. */
export function fieldColumn(field: Field): EventColumn {
  const base = { name: field.column, nullable: true };
  const shapes: Record<FieldType, Omit<EventColumn, 'name' | 'nullable'>> = {
    string: { type: 'string', stagedAs: 'VARCHAR', cast: asIs },
    json: { type: 'string', stagedAs: 'VARCHAR', cast: asIs },
    boolean: { type: 'boolean', stagedAs: 'BOOLEAN', cast: asIs },
    number: { type: 'double', stagedAs: 'DOUBLE', cast: asIs },
    integer: { type: 'long', stagedAs: 'DOUBLE', cast: (staged) => `${staged}::BIGINT` },
    decimal: {
      type: `decimal(${decimalPrecision},${field.scale})`,
      stagedAs: 'DOUBLE',
      // The product of two decimals is exact in DuckDB; a quotient would be a double.
      cast: (staged) =>
        `(${staged}::DECIMAL(${decimalPrecision},0) * ${(10 ** -field.scale).toFixed(field.scale)})::DECIMAL(${decimalPrecision},${field.scale})`,
    },
  };
  return { ...base, ...shapes[field.type] };
}

/** Rows of one partition that wait for their file, column by column. */
export class RowBuffer {
  readonly #columns: readonly EventColumn[];
  readonly #values: DuckDBValue[][];
  #bytes = 0;
  firstOffset = Number.NaN;
  lastOffset = Number.NaN;

  constructor(columns: readonly EventColumn[]) {
    this.#columns = columns;
    this.#values = columns.map(() => []);
  }

  get rows(): number {
    return this.#values[0]?.length ?? 0;
  }

  /** Bytes of the records' values, a measure of what the buffer holds. */
  get bytes(): number {
    return this.#bytes;
  }

  add(record: LogRecord, decoded: Decoded): void {
    if (this.rows === 0) this.firstOffset = record.offset;
    this.lastOffset = record.offset;
    this.#bytes += record.value?.length ?? 0;
    const own: DuckDBValue[] = decoded.ok
      ? [decoded.event.id, decoded.event.timeMs, null, null, null]
      : [null, null, decoded.rejection.reason, decoded.rejection.detail, blob(record.value)];
    const head = [record.partition, record.offset, record.timestampMs, blob(record.key), ...own];
    for (let i = 0; i < head.length; i++) this.#values[i]?.push(head[i] ?? null);
    for (let i = head.length; i < this.#values.length; i++)
      this.#values[i]?.push(decoded.ok ? (decoded.event.values[i - head.length] ?? null) : null);
  }

  /** Writes the rows as one Parquet file. @returns the statistics for Delta's log, as JSON text */
  async writeParquet(database: DuckDb, file: string): Promise<string> {
    const name = `staged_${this.#values[0]?.[0] as number}_${this.firstOffset}`;
    const table = quoteIdentifier(name);
    const types = this.#columns.map((column) => `${quoteIdentifier(column.name)} ${column.stagedAs}`);
    await database.run(`CREATE TEMP TABLE ${table} (${types.join(', ')})`);
    try {
      await database.append(name, this.#values);
      const casts = this.#columns.map(
        ({ name, cast }) => `${cast(quoteIdentifier(name))} AS ${quoteIdentifier(name)}`,
      );
      await database.run(
        `COPY (SELECT ${casts.join(', ')} FROM ${table}) TO ${quoteLiteral(file)} (FORMAT parquet, COMPRESSION zstd)`,
      );
      return await this.#statistics(database, table);
    } finally {
      await database.run(`DROP TABLE ${table}`);
    }
  }

  /** Bounds of offsets and times; other columns have none (absent is right, a rounded bound would be wrong). */
  async #statistics(database: DuckDb, table: string): Promise<string> {
    const [row = {}] = await database.query(
      `SELECT min(_timestamp)::BIGINT AS t0, max(_timestamp)::BIGINT AS t1, min(_time)::BIGINT AS e0, max(_time)::BIGINT AS e1 FROM ${table}`,
    );
    const iso = (value: DuckDBValue | undefined) =>
      typeof value === 'bigint' ? new Date(Number(value)).toISOString() : null;
    const partition = this.#values[0]?.[0] as number;
    const bounds = (
      offset: number,
      timestampMs: DuckDBValue | undefined,
      timeMs: DuckDBValue | undefined,
    ) => ({
      _partition: partition,
      _offset: offset,
      _timestamp: iso(timestampMs),
      ...(iso(timeMs) === null ? {} : { _time: iso(timeMs) }),
    });
    return JSON.stringify({
      numRecords: this.rows,
      minValues: bounds(this.firstOffset, row['t0'], row['e0']),
      maxValues: bounds(this.lastOffset, row['t1'], row['e1']),
      nullCount: {},
    });
  }
}

function blob(bytes: Uint8Array | null): DuckDBValue {
  return bytes === null ? null : toBlob(bytes);
}
