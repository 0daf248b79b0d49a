/**
 * The lake's data files as two readers in JavaScript see them, which share no code with the writer: every row as an object with all
 * columns, null where there is no value.
 *
 * parquetjs-lite is from before zstd and decimals; it gets them here by its own tables of codecs and types, and reads the files
 * themselves. Decimals are their unscaled integers then. What is left: runs of one value of a dictionary with more than 256 are
 * misread by it (`value << 8` in its `lib/codec/rle.js` goes nowhere), so the lake's files have no larger ones.
 */
import { open } from 'node:fs/promises';
import { decompress } from 'fzstd';
import { parquetReadObjects } from 'hyparquet';
import { ParquetReader } from 'parquetjs-lite';
import codecs from 'parquetjs-lite/lib/codec';
import { PARQUET_COMPRESSION_METHODS } from 'parquetjs-lite/lib/compression';
import { PARQUET_LOGICAL_TYPES } from 'parquetjs-lite/lib/types';

export type ReadRow = Readonly<Record<string, unknown>>;

PARQUET_COMPRESSION_METHODS['ZSTD'] = { inflate: (bytes) => Buffer.from(decompress(bytes)) };
PARQUET_LOGICAL_TYPES['DECIMAL'] = {
  ...{ primitiveType: 'INT64', originalType: 'DECIMAL' },
  fromPrimitive: (unscaled: bigint) => unscaled,
};
const { PLAIN } = codecs;
if (PLAIN === undefined) throw new Error('another parquetjs-lite');
// It makes texts of all values of a dictionary by their own `toString`, and cannot read them as numbers, times or bytes then.
const decodePlain = PLAIN.decodeValues;
PLAIN.decodeValues = (type, cursor, count, options) => {
  const values = decodePlain(type, cursor, count, options);
  const isDictionary = 'compression' in options && 'num_values' in options;
  return isDictionary ? values.map((value) => ({ toString: () => value })) : values;
};

export async function readByParquetjsLite(file: string, columns: readonly string[]): Promise<ReadRow[]> {
  const reader = await ParquetReader.openFile(file);
  try {
    const cursor = reader.getCursor();
    const rows: ReadRow[] = [];
    for (let row = await cursor.next(); row !== null; row = await cursor.next())
      rows.push(complete(row, columns));
    return rows;
  } finally {
    await reader.close();
  }
}

export async function readByHyparquet(path: string, columns: readonly string[]): Promise<ReadRow[]> {
  const handle = await open(path);
  try {
    const { size: byteLength } = await handle.stat();
    const file = {
      byteLength,
      slice: async (start: number, end = byteLength) => {
        const bytes = new Uint8Array(end - start);
        await handle.read(bytes, 0, bytes.length, start);
        return bytes.buffer;
      },
    };
    const rows = await parquetReadObjects({
      file,
      compressors: { ZSTD: (bytes) => decompress(bytes) },
      // Columns without a type of text are bytes.
      utf8: false,
      // Its own decoder drops a leading byte order mark.
      parsers: { stringFromBytes: (bytes) => bytes && Buffer.from(bytes).toString() },
    });
    return rows.map((row) => complete(row, columns));
  } finally {
    await handle.close();
  }
}

/** Also fails where there is a column that nobody has asked for. */
function complete(row: ReadRow, columns: readonly string[]): ReadRow {
  const unknown = Object.keys(row).filter((name) => !columns.includes(name));
  if (unknown.length > 0) throw new Error(`columns that the table does not have: ${unknown.join(', ')}`);
  return Object.fromEntries(columns.map((name) => [name, comparable(row[name])]));
}

/** Bytes are compared as bytes, of whichever class they are. */
function comparable(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  return value ?? null;
}
