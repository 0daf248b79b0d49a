/**
 * CSV and TSV rows as JSON text, made by DuckDB. Guarantee: every line is a row or an error, and a cell loses no digit.
 * All cells are read as text, because DuckDB's own detection may skip lines that do not fit, drops the zeros of `00501`,
 * sends decimals through a double and stops at a cell that breaks the type it guessed. What a column is comes from the
 * pipeline's schema, else from DuckDB's guess; a cell that is not of that type stays text, for the pipeline to reject.
 *
 * A header line is needed. An empty cell is a NULL (left out, or null where the schema allows it); in a text column a
 * quoted empty cell (`""`) is an empty text.
 */
import { quoteLiteral, quotePath } from '../clients/duckdb.ts';
import type { DuckDb } from '../clients/duckdb.ts';
import { ReckonError } from '../domain/errors.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import { readHead } from './source-lines.ts';
import { memberSql, objectSql, placeOf, textSql, timeFormatOf, timestampSql } from './source-parquet.ts';
import type { Place } from './source-parquet.ts';
import type { SourceFile } from './source-file.ts';

type CellKind = 'text' | 'number' | 'boolean' | 'timestamp' | 'json';

/** What DuckDB's sniffer found. */
interface Sniffed {
  readonly columns: readonly { readonly name: string; readonly type: string }[];
  readonly dateFormat: string | null;
  readonly timestampFormat: string | null;
}

/** @returns a query of one text column, or null where the file has no line. */
export async function csvQuery(file: SourceFile, pipeline: Pipeline, db: DuckDb): Promise<string | null> {
  const head = (await readHead(file)).replace(/^\uFEFF/, '');
  const header = head.split(/\r?\n/, 1)[0] ?? '';
  if (head.trim() === '') return null;
  if (header.trim() === '')
    throw new ReckonError('invalid-input', `${file.name} begins with an empty line.`, 'CSV needs a header.');
  const dialect = `delim = ${quoteLiteral(delimiterOf(header))}, quote = '"', escape = '"', header = true, skip = 0,
    comment = ''${file.gzip ? `, compression = 'gzip'` : ''}`;
  const sniffed = await sniff(file, dialect, db);
  const columns = sniffed.columns.map((_, index) => `'c${index}': 'VARCHAR'`).join(', ');
  const root: Place = { schema: pipeline.event.schema, path: [], pipeline };
  const members = sniffed.columns.map(({ name, type }, index) => {
    const place = placeOf(root, name);
    return memberSql(name, cellSql(`c${index}`, kindOf(place, type), place, formatOf(sniffed, type)), place);
  });
  return `SELECT ${objectSql(members)} FROM read_csv(${quotePath(file.path)}, auto_detect = false, ${dialect},
    nullstr = '', allow_quoted_nulls = false, max_line_size = 8388608, buffer_size = 16777216, columns = {${columns}})`;
}

/** The one of `, ; tab |` that the header line has most often. */
function delimiterOf(header: string): string {
  const unquoted = header.replaceAll(/"[^"]*"/g, '');
  let best = ',';
  for (const candidate of [';', '\t', '|'])
    if (unquoted.split(candidate).length > unquoted.split(best).length) best = candidate;
  return best;
}

async function sniff(file: SourceFile, dialect: string, db: DuckDb): Promise<Sniffed> {
  const [found] = await db
    .query(
      `SELECT unnest(list_transform(Columns, lambda c: c.name)) AS name,
    unnest(list_transform(Columns, lambda c: c.type)) AS type, DateFormat, TimestampFormat
    FROM sniff_csv(${quotePath(file.path)}, ${dialect}, ignore_errors = true)`,
    )
    .then((rows) => [rows]);
  const text = (value: unknown): string | null => (typeof value === 'string' && value !== '' ? value : null);
  return {
    columns: (found ?? []).map((row) => ({ name: String(row['name']), type: String(row['type']) })),
    dateFormat: text(found?.[0]?.['DateFormat']),
    timestampFormat: text(found?.[0]?.['TimestampFormat']),
  };
}

function formatOf(sniffed: Sniffed, type: string): string | null {
  return type === 'DATE' ? sniffed.dateFormat : type === 'TIMESTAMP' ? sniffed.timestampFormat : null;
}

/** The schema decides; where it says nothing (a column that only `replay.map` reads), the sniffer does. */
function kindOf(place: Place, sniffedType: string): CellKind {
  if (timeFormatOf(place) !== null) return 'timestamp';
  const declared = place.schema?.type;
  const types = (typeof declared === 'string' ? [declared] : (declared ?? [])).filter((t) => t !== 'null');
  if (types.includes('string')) return 'text';
  if (types.length > 0 && types.every((type) => type === 'integer' || type === 'number')) return 'number';
  if (types.length === 1 && types[0] === 'boolean') return 'boolean';
  if (types.length > 0) return 'json';
  if (/^(BIGINT|DOUBLE|HUGEINT|INTEGER|DECIMAL.*)$/.test(sniffedType)) return 'number';
  if (sniffedType === 'BOOLEAN') return 'boolean';
  return /^(DATE|TIMESTAMP.*)$/.test(sniffedType) ? 'timestamp' : 'text';
}

const jsonNumber = `'-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?'`;
const isoWithOffset = `'\\d{4}-\\d{2}-\\d{2}[T ]\\d{2}:\\d{2}(:\\d{2}(\\.\\d+)?)?(Z|z|[+-]\\d{2}(:?\\d{2})?)'`;

/** The JSON text of a cell; NULL where it is empty. */
function cellSql(sql: string, kind: CellKind, place: Place, format: string | null): string {
  if (kind === 'text') return textSql(sql);
  const text = `CASE WHEN ${sql} <> '' THEN ${textSql(sql)} END`;
  const number = `WHEN regexp_full_match(${sql}, ${jsonNumber}) THEN ${sql}`;
  switch (kind) {
    case 'json':
      return `CASE WHEN json_valid(${sql}) THEN ${sql} ELSE ${text} END`;
    case 'boolean':
      return `coalesce(TRY_CAST(${sql} AS BOOLEAN)::VARCHAR, ${text})`;
    case 'number': {
      // 00501, +5, .5 and 5. are numbers, but not in JSON.
      const double = `TRY_CAST(${sql} AS DOUBLE)`;
      return `CASE ${number} WHEN isfinite(${double}) THEN ${double}::VARCHAR ELSE ${text} END`;
    }
    case 'timestamp': {
      // A text without offset is taken as UTC; the session's zone is UTC.
      const cast = `TRY_CAST(${sql} AS TIMESTAMPTZ) AT TIME ZONE 'UTC'`;
      const parsed =
        format === null ? cast : `coalesce(try_strptime(${sql}, ${quoteLiteral(format)}), ${cast})`;
      const wanted = timeFormatOf(place);
      const keep =
        wanted === null || wanted === 'iso8601'
          ? `WHEN regexp_full_match(${sql}, ${isoWithOffset}) THEN ${textSql(sql)}`
          : number;
      return `CASE ${keep} ELSE coalesce(${timestampSql(`(${parsed})`, place)}, ${text}) END`;
    }
  }
}
