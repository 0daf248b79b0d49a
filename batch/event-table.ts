/**
 * The lake's `events` table: one row for every offset of the topic, decoded or rejected. Guarantee: typed columns hold the
 * event's values exactly; rejected records keep their raw bytes, reason and detail.
 */
import { quoteIdentifier, parquetSql } from '../clients/duckdb.ts';
import type { Field, FieldType } from '../domain/field.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import type { DeltaColumn } from './delta-actions.ts';
import { headersDeltaType, headersDuckDbType, headersSql } from './headers.ts';
import type { PlainType } from './plain-parquet.ts';

export { RowBuffer } from './row-buffer.ts';

/** Digits before and after the point of a decimal column; every scaled integer (below 2^53) fits. */
const decimalPrecision = 18;

/** How a column gets into Parquet: staged as a type that is quickly written, then as what the SQL makes of it. */
export interface EventColumn extends DeltaColumn {
  /** Null where the column follows from others. */
  readonly stagedAs: PlainType | null;
  /** @param staged the staged column @param partition of all rows of the file */
  readonly sql: (staged: string, partition: number) => string;
}

const asIs = (staged: string) => staged;

function ownColumns({ fields, event }: Pipeline): readonly EventColumn[] {
  const text = { type: 'string', nullable: true, stagedAs: 'VARCHAR', sql: asIs } as const;
  const bytes = { type: 'binary', nullable: true, stagedAs: 'BLOB', sql: asIs } as const;
  const time = { type: 'timestamp', stagedAs: 'TIMESTAMPTZ', sql: asIs } as const;
  // The id of an event is the text of its field, which rejected records have none of.
  const id = fields.find(({ path }) => path.join('\0') === event.idPath.join('\0'));
  const idColumn = quoteIdentifier(id?.column ?? '');
  const idSql = id?.type === 'integer' ? `${idColumn}::VARCHAR` : idColumn;
  return [
    {
      name: '_partition',
      type: 'integer',
      nullable: false,
      stagedAs: null,
      sql: (_staged, partition) => `${partition}::INTEGER`,
    },
    { name: '_offset', type: 'long', nullable: false, stagedAs: 'BIGINT', sql: asIs },
    { name: '_timestamp', nullable: false, ...time },
    { name: '_key', ...bytes },
    { name: '_headers', type: headersDeltaType, nullable: true, stagedAs: 'VARCHAR', sql: headersSql },
    { name: '_id', ...text, stagedAs: null, sql: () => idSql },
    { name: '_time', nullable: true, ...time },
    { name: '_rejected', ...text },
    { name: '_detail', ...text },
    { name: '_raw', ...bytes },
  ];
}

/** The columns of a pipeline's `events` table: Reckon's own, then one for each field. */
export function eventColumns(pipeline: Pipeline): readonly EventColumn[] {
  return [...ownColumns(pipeline), ...pipeline.fields.map(fieldColumn)];
}

/** DuckDB's types by Delta's names; decimals have the same name in both. */
const duckDbTypes: Readonly<Record<string, string>> = {
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
    ({ name, type }) => `NULL::${duckDbType(type)} AS ${quoteIdentifier(name)}`,
  );
  const none = `SELECT ${columns.join(', ')} WHERE false`;
  if (files.length === 0) return none;
  return `${none} UNION ALL BY NAME FROM ${parquetSql(files)}`;
}

/** DuckDB's name of a column's type. */
export function duckDbType(type: DeltaColumn['type']): string {
  return typeof type === 'string' ? (duckDbTypes[type] ?? type) : headersDuckDbType;
}

/** The column of a field in the lake's tables. */
export function fieldColumn(field: Field): EventColumn {
  const base = { name: field.column, nullable: true };
  const shapes: Record<FieldType, Omit<EventColumn, 'name' | 'nullable'>> = {
    string: { type: 'string', stagedAs: 'VARCHAR', sql: asIs },
    json: { type: 'string', stagedAs: 'VARCHAR', sql: asIs },
    boolean: { type: 'boolean', stagedAs: 'DOUBLE', sql: (staged) => `(${staged} <> 0)` },
    number: { type: 'double', stagedAs: 'DOUBLE', sql: asIs },
    integer: { type: 'long', stagedAs: 'BIGINT', sql: asIs },
    decimal: {
      type: `decimal(${decimalPrecision},${field.scale})`,
      stagedAs: `DECIMAL(${decimalPrecision},${field.scale})`,
      sql: asIs,
    },
  };
  return { ...base, ...shapes[field.type] };
}
