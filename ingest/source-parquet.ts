/**
 * Parquet rows as JSON text, made by DuckDB. Guarantee: nothing is rounded. Integers of any size and decimals keep all
 * their digits (DuckDB's own `to_json` sends decimals through a double), dates and timestamps become ISO 8601 in UTC (or
 * the number that the pipeline declares for its event time), bytes become base64. A NULL is left out, except where the
 * schema allows null, and within lists. NaN and the infinities, which JSON does not have, count as NULL.
 */
import { DuckDBTypeId, quoteIdentifier, quoteLiteral, parquetSql } from '../clients/duckdb.ts';
import type { DuckDb, DuckDBType } from '../clients/duckdb.ts';
import type { JsonSchema } from '../domain/field.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import type { TimeFormat } from '../domain/time.ts';
import type { SourceFile } from './source-file.ts';

/** Where in the event a column stands: what the schema says of it, and whether it is the event time. */
export interface Place {
  readonly schema: JsonSchema | undefined;
  readonly path: readonly string[];
  readonly pipeline: Pipeline;
}

/** @returns a query of one text column, and how many rows it has. */
export async function parquetQuery(file: SourceFile, pipeline: Pipeline, db: DuckDb) {
  const from = parquetSql([file.path]);
  const columns = await db.describe(`SELECT * FROM ${from}`);
  const [count] = await db.query(`SELECT count(*) AS rows FROM ${from}`);
  const root: Place = { schema: pipeline.event.schema, path: [], pipeline };
  const members = columns.map(({ name, type }) => {
    const place = placeOf(root, name);
    return memberSql(name, jsonSql(type, quoteIdentifier(name), place), place);
  });
  return { sql: `SELECT ${objectSql(members)} FROM ${from}`, rowCount: Number(count?.['rows']) };
}

export function placeOf({ schema, path, pipeline }: Place, name: string): Place {
  return { schema: schema?.properties?.[name], path: [...path, name], pipeline };
}

/** The format of the event time where this place holds it, else null. */
export function timeFormatOf({ path, pipeline }: Place): TimeFormat | null {
  const { timePath, timeFormat } = pipeline.event;
  return path.length === timePath.length && path.every((name, i) => name === timePath[i]) ? timeFormat : null;
}

/** `"name":value`, or NULL where the value is NULL and the schema does not allow null. */
export function memberSql(name: string, valueSql: string, { schema }: Place): string {
  const nullable = schema?.type === 'null' || (Array.isArray(schema?.type) && schema.type.includes('null'));
  return `${quoteLiteral(`${JSON.stringify(name)}:`)} || ${nullable ? `coalesce(${valueSql}, 'null')` : valueSql}`;
}

/** concat_ws leaves NULLs out. */
export function objectSql(members: readonly string[]): string {
  return members.length === 0 ? `'{}'` : `'{' || concat_ws(',', ${members.join(', ')}) || '}'`;
}

/** A text as a JSON string. */
export function textSql(sql: string): string {
  return `to_json((${sql})::VARCHAR)::VARCHAR`;
}

/** A TIMESTAMP (UTC) as what the place wants: ISO 8601 with Z, or an epoch number where it is the event time. */
export function timestampSql(sql: string, place: Place): string {
  const iso = `'"' || replace((${sql})::VARCHAR, ' ', 'T') || 'Z"'`;
  switch (timeFormatOf(place)) {
    case 'epoch-ms':
      return `epoch_ms(${sql})::VARCHAR`;
    case 'epoch-us':
      return `epoch_us(${sql})::VARCHAR`;
    case 'epoch-s':
      return `regexp_replace((epoch_us(${sql})::DECIMAL(24, 6) / 1000000)::VARCHAR, '\\.0$', '')`;
    case 'iso8601':
    case null:
      return iso;
  }
}

/** The JSON text of an SQL value of this type; NULL where it is NULL. */
export function jsonSql(type: DuckDBType, sql: string, place: Place): string {
  switch (type.typeId) {
    case DuckDBTypeId.BOOLEAN:
    case DuckDBTypeId.TINYINT:
    case DuckDBTypeId.SMALLINT:
    case DuckDBTypeId.INTEGER:
    case DuckDBTypeId.BIGINT:
    case DuckDBTypeId.HUGEINT:
    case DuckDBTypeId.UTINYINT:
    case DuckDBTypeId.USMALLINT:
    case DuckDBTypeId.UINTEGER:
    case DuckDBTypeId.UBIGINT:
    case DuckDBTypeId.UHUGEINT:
      return `(${sql})::VARCHAR`;
    case DuckDBTypeId.DECIMAL:
      // DECIMAL(3, 3) prints .500, which is no JSON number.
      return `regexp_replace((${sql})::VARCHAR, '^(-?)\\.', '\\10.')`;
    case DuckDBTypeId.FLOAT:
    case DuckDBTypeId.DOUBLE:
      return `CASE WHEN isfinite(${sql}) THEN (${sql})::VARCHAR END`;
    case DuckDBTypeId.TIMESTAMP:
    case DuckDBTypeId.TIMESTAMP_S:
    case DuckDBTypeId.TIMESTAMP_MS:
      return timestampSql(sql, place);
    case DuckDBTypeId.TIMESTAMP_NS:
      return timeFormatOf(place) === 'iso8601' || timeFormatOf(place) === null
        ? timestampSql(sql, place)
        : timestampSql(`(${sql})::TIMESTAMP`, place);
    case DuckDBTypeId.TIMESTAMP_TZ:
      return timestampSql(`((${sql}) AT TIME ZONE 'UTC')`, place);
    case DuckDBTypeId.DATE:
      return timestampSql(`(${sql})::TIMESTAMP`, place);
    case DuckDBTypeId.BLOB:
      return `'"' || base64(${sql}) || '"'`;
    case DuckDBTypeId.VARCHAR:
      return type.alias === 'JSON' ? `(${sql})::VARCHAR` : textSql(sql);
    default:
      return nestedSql(type, sql, place);
  }
}

function nestedSql(type: DuckDBType, sql: string, place: Place): string {
  // Lambda parameters of nested lists need names of their own.
  const item = `item${sql.length}`;
  const inner: Place = { ...place, schema: undefined, path: [...place.path, '[]'] };
  switch (type.typeId) {
    case DuckDBTypeId.STRUCT: {
      const members = type.entryTypes.map((entryType, index) => {
        const name = type.entryNames[index] ?? '';
        const entry = placeOf(place, name);
        return memberSql(
          name,
          jsonSql(entryType, `struct_extract(${sql}, ${quoteLiteral(name)})`, entry),
          entry,
        );
      });
      return `CASE WHEN (${sql}) IS NOT NULL THEN ${objectSql(members)} END`;
    }
    case DuckDBTypeId.LIST:
    case DuckDBTypeId.ARRAY: {
      const value = `coalesce(${jsonSql(type.valueType, item, inner)}, 'null')`;
      return `'[' || array_to_string(list_transform(${sql}, lambda ${item}: ${value}), ',') || ']'`;
    }
    case DuckDBTypeId.MAP: {
      const value = `coalesce(${jsonSql(type.valueType, `${item}.value`, inner)}, 'null')`;
      const entry = `${textSql(`${item}.key`)} || ':' || ${value}`;
      return `'{' || array_to_string(list_transform(map_entries(${sql}), lambda ${item}: ${entry}), ',') || '}'`;
    }
    default:
      return textSql(sql);
  }
}
