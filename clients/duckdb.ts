/**
 * DuckDB, by @duckdb/node-api: the only file that imports it. Guarantee: a database is in memory, spills to its own
 * temporary folder, keeps to the memory and the threads it was given, and never reaches for the network; results are
 * streamed in chunks, in the order of the query, so that no result need fit into memory.
 */
import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { DuckDBDataChunk, DuckDBInstance } from '@duckdb/node-api';
import type { DuckDBConnection, DuckDBType, DuckDBValue } from '@duckdb/node-api';

export { DuckDBTypeId } from '@duckdb/node-api';
export type { DuckDBType, DuckDBValue };

export interface DuckDbOptions {
  /** Such as `256MB`. */
  readonly memoryLimit: string;
  readonly threads: number;
  /** Folder in which the database gets one of its own for what does not fit into the memory. */
  readonly tempDirectory: string;
}

/** A value that can be bound to a `?` or `$name` of a statement. */
export type Parameters = DuckDBValue[] | Record<string, DuckDBValue>;

export interface Column {
  readonly name: string;
  readonly type: DuckDBType;
}

/** BIGINT and HUGEINT arrive as bigint, the smaller integers and DOUBLE as number, VARCHAR as string, NULL as null. */
export type Row = Record<string, DuckDBValue>;

/** DuckDB's own vector size. */
const rowsPerChunk = 2_048;

export class DuckDb {
  readonly #instance: DuckDBInstance;
  readonly #connection: DuckDBConnection;

  readonly #spillFolder: string;

  private constructor(instance: DuckDBInstance, connection: DuckDBConnection, spillFolder: string) {
    this.#instance = instance;
    this.#connection = connection;
    this.#spillFolder = spillFolder;
  }

  static async open(options: DuckDbOptions): Promise<DuckDb> {
    // DuckDB itself makes only the last folder of a path, and fails at the first spill where others are missing.
    const spillFolder = join(options.tempDirectory, `duckdb-${randomUUID()}`);
    await mkdir(spillFolder, { recursive: true });
    const instance = await DuckDBInstance.create(':memory:', {
      memory_limit: options.memoryLimit,
      threads: String(options.threads),
      temp_directory: spillFolder,
      autoinstall_known_extensions: 'false',
    });
    const connection = await instance.connect();
    await connection.run(`SET GLOBAL TimeZone = 'UTC'`);
    return new DuckDb(instance, connection, spillFolder);
  }

  /** Runs a statement whose result is not needed. */
  async run(sql: string, parameters?: Parameters): Promise<void> {
    await this.#connection.run(sql, parameters);
  }

  /** All rows of a small result. */
  async query(sql: string, parameters?: Parameters): Promise<Row[]> {
    const reader = await this.#connection.runAndReadAll(sql, parameters);
    return reader.getRowObjects();
  }

  /** Names and types of a query's columns; the query is planned, not run. */
  async describe(sql: string): Promise<Column[]> {
    const prepared = await this.#connection.prepare(sql);
    try {
      return Array.from({ length: prepared.columnCount }, (_, index) => ({
        name: prepared.columnName(index),
        type: prepared.columnType(index),
      }));
    } finally {
      prepared.destroySync();
    }
  }

  /**
   * Streams a result in chunks of about 2,000 rows, column by column, in the query's order; the next chunk is computed
   * while the caller works on the last. It has a connection of its own, so other statements may run meanwhile.
   */
  async *stream(sql: string, parameters?: Parameters): AsyncGenerator<DuckDBValue[][], void> {
    const connection = await this.#instance.connect();
    try {
      const result = await connection.stream(sql, parameters);
      let next = result.fetchChunk();
      // Whoever stops early leaves one fetch behind: its failure is of no interest any more.
      next.catch(() => undefined);
      for (;;) {
        const chunk = await next;
        if (chunk === null || chunk.rowCount === 0) return;
        next = result.fetchChunk();
        next.catch(() => undefined);
        try {
          yield chunk.getColumns();
        } finally {
          await next.catch(() => undefined);
        }
      }
    } finally {
      connection.closeSync();
    }
  }

  /**
   * Appends rows to a table, given column by column; types are the table's.
   * @param table unquoted name
   */
  async append(table: string, columns: readonly (readonly DuckDBValue[])[]): Promise<void> {
    const appender = await this.#connection.createAppender(table);
    const types = Array.from({ length: appender.columnCount }, (_, index) => appender.columnType(index));
    const rows = columns[0]?.length ?? 0;
    for (let first = 0; first < rows; first += rowsPerChunk) {
      const count = Math.min(rowsPerChunk, rows - first);
      const chunk = DuckDBDataChunk.create(types, count);
      columns.forEach((values, index) => chunk.setColumnValues(index, values.slice(first, first + count)));
      appender.appendDataChunk(chunk);
    }
    appender.closeSync();
  }

  /** Makes the statement that runs now fail, from outside: what a cancelled activity needs. */
  interrupt(): void {
    this.#connection.interrupt();
  }

  close(): void {
    this.#connection.closeSync();
    this.#instance.closeSync();
    rmSync(this.#spillFolder, { recursive: true, force: true });
  }
}

/** A text as an SQL literal. */
export function quoteLiteral(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** A name as an SQL identifier. */
export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A file's path as an SQL literal in which DuckDB takes no character for a wildcard. */
export function quotePath(path: string): string {
  return quoteLiteral(path.replaceAll(/[[*?]/g, '[$&]'));
}

/**
 * The rows of Parquet files as a relation: columns by name, whatever is missing in one is null.
 * @param files at least one; a folder called `name=value` is no column, as DuckDB would have it
 */
export function parquetSql(files: readonly string[]): string {
  return `read_parquet([${files.map(quotePath).join(', ')}], union_by_name = true, hive_partitioning = false)`;
}
