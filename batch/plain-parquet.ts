/**
 * Parquet in its plainest form: one page a column and row group, values one after another, nothing compressed. Rows wait in it for
 * DuckDB, which reads it with all of its threads and writes the file that stays. Guarantee: columns are optional; what was added is
 * read back bit for bit; texts are UTF-8 (half of a surrogate pair becomes U+FFFD).
 * Source: the Parquet format, "Data Pages", "Plain encoding", "RLE / bit-packing hybrid".
 */
import { i32, i64, list, struct, text, varint, yes } from './thrift.ts';
import type { ThriftValue } from './thrift.ts';

/** What is staged, as DuckDB calls it; decimals are added as integers at their scale, times as milliseconds. */
export type PlainType =
  'DOUBLE' | 'BIGINT' | 'TIMESTAMPTZ' | `DECIMAL(${number},${number})` | 'VARCHAR' | 'BLOB';

/** Physical types of Parquet. */
const [int64, double, byteArray] = [2, 5, 6];

function physicalTypeOf(type: PlainType): number {
  if (type === 'DOUBLE') return double;
  return type === 'VARCHAR' || type === 'BLOB' ? byteArray : int64;
}

/** Rows of one row group, the unit that DuckDB's threads share. */
const rowsPerGroup = 32_768;
const levelBytes = rowsPerGroup / 8;
/** As in Parquet's enums. */
const [optional, plain, rle, dataPage, uncompressed] = [1, 0, 3, 0, 0];
const [convertedUtf8, convertedDecimal, convertedMillis] = [0, 5, 9];
const magic = Buffer.from('PAR1');

/** Up to this length a loop is faster than a call into the runtime. */
const shortTextMax = 48;

/** The values of one column in the row group that is being filled. */
export class PlainColumn {
  readonly name: string;
  readonly type: PlainType;
  readonly #isDouble: boolean;
  /** One bit a row: whether it has a value. */
  #present = new Uint8Array(levelBytes);
  #bytes: Buffer;
  #view: DataView;
  #at = 0;
  #rows = 0;
  /** Whether no row has a value here. */
  isEmpty = true;

  constructor(name: string, type: PlainType) {
    this.name = name;
    this.type = type;
    this.#isDouble = type === 'DOUBLE';
    this.#bytes = Buffer.allocUnsafeSlow(1 << 12);
    this.#view = viewOf(this.#bytes);
  }

  get byteLength(): number {
    return this.#at;
  }

  addNull(): void {
    this.#rows++;
  }

  addNumber(value: number): void {
    this.#mark();
    this.#room(8);
    const at = this.#at;
    if (this.#isDouble) this.#view.setFloat64(at, value, true);
    else {
      // In two's complement: the upper half of a negative integer is negative, the lower one never.
      const high = Math.floor(value / 2 ** 32);
      this.#view.setUint32(at, value - high * 2 ** 32, true);
      this.#view.setInt32(at + 4, high, true);
    }
    this.#at = at + 8;
  }

  addText(text: string): void {
    this.#mark();
    const { length } = text;
    // A UTF-16 unit takes at most three bytes.
    this.#room(4 + 3 * length);
    const bytes = this.#bytes;
    const begin = this.#at + 4;
    let end = begin;
    if (length <= shortTextMax) {
      for (let i = 0; i < length; i++) {
        const unit = text.charCodeAt(i);
        if (unit > 0x7f) break;
        bytes[end++] = unit;
      }
    }
    if (end - begin !== length) end = begin + bytes.write(text, begin);
    this.#close(end);
  }

  /** Of a text only where it is UTF-8. @param from @param to the range of the bytes that is added */
  addBytes(value: Uint8Array, from = 0, to = value.length): void {
    this.#mark();
    const length = to - from;
    this.#room(4 + length);
    const bytes = this.#bytes;
    const begin = this.#at + 4;
    if (length <= shortTextMax) for (let i = 0; i < length; i++) bytes[begin + i] = value[from + i] as number;
    else bytes.set(value.subarray(from, to), begin);
    this.#close(begin + length);
  }

  /** @returns the page of what was added, behind its header; the column is empty then */
  takePage(): Buffer[] {
    const groups = Math.ceil(this.#rows / 8);
    const run = varint((groups << 1) | 1);
    const levels = Buffer.alloc(4 + run.length + groups);
    levels.writeUInt32LE(run.length + groups, 0);
    levels.set(run, 4);
    levels.set(this.#present.subarray(0, groups), 4 + run.length);
    const values = Buffer.from(this.#bytes.subarray(0, this.#at));
    const size = levels.length + values.length;
    const header = struct([
      [1, i32(dataPage)],
      [2, i32(size)],
      [3, i32(size)],
      [
        5,
        struct([
          [1, i32(this.#rows)],
          [2, i32(plain)],
          [3, i32(rle)],
          [4, i32(rle)],
        ]),
      ],
    ]);
    this.#present = new Uint8Array(levelBytes);
    this.#at = 0;
    this.#rows = 0;
    return [header.bytes, levels, values];
  }

  #mark(): void {
    this.isEmpty = false;
    const row = this.#rows++;
    (this.#present[row >> 3] as number) |= 1 << (row & 7);
  }

  #close(end: number): void {
    this.#view.setUint32(this.#at, end - this.#at - 4, true);
    this.#at = end;
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(2 * this.#bytes.length, this.#at + bytes));
    larger.set(this.#bytes.subarray(0, this.#at));
    this.#bytes = larger;
    this.#view = viewOf(larger);
  }
}

function viewOf({ buffer, byteOffset, byteLength }: Buffer): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}

/** One finished row group. */
interface Group {
  readonly rows: number;
  /** By column: header, levels, values. */
  readonly pages: readonly (readonly Buffer[])[];
}

/** Rows column by column; add one value to every column, then call `endRow`. */
export class PlainParquet {
  readonly columns: readonly PlainColumn[];
  readonly #groups: Group[] = [];
  #rowsOfGroup = 0;
  #bytesOfGroups = 0;
  rows = 0;

  constructor(columns: readonly { name: string; type: PlainType }[]) {
    this.columns = columns.map(({ name, type }) => new PlainColumn(name, type));
  }

  /** Of what was added. */
  get byteLength(): number {
    let bytes = this.#bytesOfGroups;
    for (const column of this.columns) bytes += column.byteLength;
    return bytes;
  }

  endRow(): void {
    this.rows++;
    if (++this.#rowsOfGroup === rowsPerGroup) this.#endGroup();
  }

  /** The whole file, piece by piece; nothing can be added any more. */
  finish(): Buffer[] {
    this.#endGroup();
    const pieces: Buffer[] = [magic];
    let at = magic.length;
    const rowGroups = this.#groups.map(({ rows, pages }) => {
      const first = at;
      const chunks = pages.map((page, i) => {
        const begin = at;
        for (const piece of page) at += piece.length;
        pieces.push(...page);
        return columnChunk(this.columns[i] as PlainColumn, rows, begin, at - begin);
      });
      return struct([
        [1, list(chunks)],
        [2, i64(at - first)],
        [3, i64(rows)],
      ]);
    });
    const root = struct([
      [4, text('rows')],
      [5, i32(this.columns.length)],
    ]);
    const { bytes: footer } = struct([
      [1, i32(1)],
      [2, list([root, ...this.columns.map(schemaElement)])],
      [3, i64(this.rows)],
      [4, list(rowGroups)],
    ]);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(footer.length);
    return [...pieces, footer, length, magic];
  }

  #endGroup(): void {
    if (this.#rowsOfGroup === 0) return;
    const pages = this.columns.map((column) => column.takePage());
    this.#groups.push({ rows: this.#rowsOfGroup, pages });
    for (const page of pages) for (const piece of page) this.#bytesOfGroups += piece.length;
    this.#rowsOfGroup = 0;
  }
}

function schemaElement({ name, type }: PlainColumn): ThriftValue {
  return struct([[1, i32(physicalTypeOf(type))], [3, i32(optional)], [4, text(name)], ...annotationOf(type)]);
}

/** What the values mean beyond their physical type. */
function annotationOf(type: PlainType): (readonly [number, ThriftValue])[] {
  const [, precision, scale] = /^DECIMAL\((\d+),(\d+)\)$/.exec(type) ?? [];
  if (precision !== undefined && scale !== undefined)
    return [
      [6, i32(convertedDecimal)],
      [7, i32(Number(scale))],
      [8, i32(Number(precision))],
    ];
  if (type === 'VARCHAR') return [[6, i32(convertedUtf8)]];
  if (type !== 'TIMESTAMPTZ') return [];
  // A time in UTC, in milliseconds: only the newer of the two annotations can say so.
  const isUtc = [1, yes] as const;
  const unit = [2, struct([[1, struct([])]])] as const;
  return [
    [6, i32(convertedMillis)],
    [10, struct([[8, struct([isUtc, unit])]])],
  ];
}

function columnChunk({ name, type }: PlainColumn, rows: number, offset: number, size: number): ThriftValue {
  const metaData = struct([
    [1, i32(physicalTypeOf(type))],
    [2, list([i32(plain), i32(rle)])],
    [3, list([text(name)])],
    [4, i32(uncompressed)],
    [5, i64(rows)],
    [6, i64(size)],
    [7, i64(size)],
    [9, i64(offset)],
  ]);
  return struct([
    [2, i64(offset)],
    [3, metaData],
  ]);
}
