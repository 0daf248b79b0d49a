/** What a file is, by its name. Guarantee: an absent file and an unknown format are one clear line each. */
import { existsSync, statSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { ReckonError } from '../domain/errors.ts';

/** A text, or the bytes of a line that is not UTF-8. */
export type SourceRow = string | Buffer;

export interface Source {
  /** Chunks of some thousand rows. @throws ReckonError `invalid-input` where the file is malformed. */
  readonly rows: AsyncIterable<readonly SourceRow[]>;
  /** The part that has been read, 0 to 1; null when unknown. */
  readonly fraction: (rowsRead: number) => number | null;
}

const endings = {
  '.ndjson': 'lines',
  '.jsonl': 'lines',
  '.json': 'json',
  '.csv': 'csv',
  '.tsv': 'csv',
  '.parquet': 'parquet',
} as const;

export type SourceFormat = (typeof endings)[keyof typeof endings];

export interface SourceFile {
  readonly path: string;
  /** For messages. */
  readonly name: string;
  readonly format: SourceFormat;
  readonly gzip: boolean;
  readonly sizeBytes: number;
}

/** Decides by the name's ending. @throws ReckonError `invalid-input`: no such file, or an unknown ending. */
export function describeFile(file: string): SourceFile {
  const path = resolve(file);
  if (!existsSync(path) || !statSync(path).isFile())
    throw new ReckonError('invalid-input', `There is no file ${file}.`, 'Correct --file.');
  const lowerCase = path.toLowerCase();
  const gzip = lowerCase.endsWith('.gz');
  const stem = gzip ? lowerCase.slice(0, -3) : lowerCase;
  const format = Object.entries(endings).find(([ending]) => stem.endsWith(ending))?.[1];
  if (format === undefined || (gzip && format === 'parquet'))
    throw new ReckonError(
      'invalid-input',
      `The format of ${file} is unknown.`,
      `Its name must end with ${Object.keys(endings).join(', ')}, or one of them (but .parquet) and .gz.`,
    );
  return { path, name: basename(path), format, gzip, sizeBytes: statSync(path).size };
}
