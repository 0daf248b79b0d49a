/**
 * A file as a stream of rows, each the text of one JSON object. Guarantee: rows come in the order of the file, every row of
 * it exactly once; the file is never held in memory; what cannot be read is one clear error that says where.
 *
 * | ending (also with .gz)           | read by                     | a row is                                         |
 * |----------------------------------|-----------------------------|--------------------------------------------------|
 * | .ndjson .jsonl, .json with lines | Node's streams              | the line as it is, even where it is no JSON      |
 * | .json with an array              | DuckDB's read_json_objects  | the element's own text                           |
 * | .csv .tsv, .parquet (no .gz)     | DuckDB                      | an object made of the columns, without rounding  |
 */
import { quotePath } from '../clients/duckdb.ts';
import type { DuckDb } from '../clients/duckdb.ts';
import { ReckonError } from '../domain/errors.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import { csvQuery } from './source-csv.ts';
import type { Source, SourceFile, SourceRow } from './source-file.ts';
import { openLines, readHead } from './source-lines.ts';
import { parquetQuery } from './source-parquet.ts';

/** Opens a file for one pass. The pipeline says what its columns are meant to be. */
export async function openSource(file: SourceFile, pipeline: Pipeline, db: DuckDb): Promise<Source> {
  const unknown = (): number | null => null;
  if (file.sizeBytes === 0) return { rows: nothing(), fraction: () => 1 };
  try {
    switch (file.format) {
      case 'lines':
        return openLines(file);
      case 'json': {
        const layout = await jsonLayout(file);
        if (layout === 'lines') return openLines(file);
        const sql = `SELECT json::VARCHAR FROM read_json_objects(${quotePath(file.path)}, format = '${layout}'
          ${file.gzip ? `, compression = 'gzip'` : ''})`;
        return { rows: rowsOf(db, sql, file), fraction: unknown };
      }
      case 'csv': {
        const sql = await csvQuery(file, pipeline, db);
        return { rows: sql === null ? nothing() : rowsOf(db, sql, file), fraction: unknown };
      }
      case 'parquet': {
        const { sql, rowCount } = await parquetQuery(file, pipeline, db);
        return { rows: rowsOf(db, sql, file), fraction: (rows) => (rowCount === 0 ? 1 : rows / rowCount) };
      }
    }
  } catch (cause) {
    throw unreadable(file, cause);
  }
}

/** `.json` holds an array, one object a line, or objects over several lines; its beginning tells. */
async function jsonLayout(file: SourceFile): Promise<'array' | 'lines' | 'unstructured'> {
  const head = (await readHead(file)).replace(/^\uFEFF/, '').trimStart();
  if (head.startsWith('[')) return 'array';
  const firstLine = head.split('\n', 1)[0] ?? '';
  try {
    JSON.parse(firstLine);
    return 'lines';
  } catch {
    return 'unstructured';
  }
}

async function* rowsOf(db: DuckDb, sql: string, file: SourceFile): AsyncGenerator<SourceRow[], void> {
  try {
    for await (const [column] of db.stream(sql)) yield column as string[];
  } catch (cause) {
    throw unreadable(file, cause);
  }
}

async function* nothing(): AsyncGenerator<SourceRow[], void> {
  // An empty file has no rows.
}

/** DuckDB's messages fill a screen: what is wrong and where stand in the first lines. */
function unreadable(file: SourceFile, cause: unknown): unknown {
  if (cause instanceof ReckonError) return cause;
  const message = (cause as Error).message.replace(/^[A-Za-z ]+ Error: /, '');
  const csv = /^CSV Error on Line: (\d+)/.exec(message);
  const expected = /Expected Number of Columns: (\d+) Found: (\d+)/.exec(message);
  const what =
    csv === null
      ? (message.split('\n')[0] ?? '').trim().replace(/\.$/, '')
      : expected === null
        ? `line ${csv[1]}: ${(message.split('\n')[2] ?? 'malformed').trim()}`
        : `line ${csv[1]}: ${expected[2]} columns where the header has ${expected[1]}`;
  return new ReckonError('invalid-input', `${file.name} cannot be read: ${what}.`, 'Correct the file.', {
    cause,
  });
}
