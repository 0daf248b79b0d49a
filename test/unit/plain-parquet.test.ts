/** Parquet in its plain form, read back by hyparquet, which shares no code with it: every kind of value, nulls, and the borders of row groups. */
import { parquetReadObjects } from 'hyparquet';
import { PlainParquet } from '../../batch/plain-parquet.ts';
import type { PlainType } from '../../batch/plain-parquet.ts';

async function readBack(parquet: PlainParquet): Promise<Record<string, unknown>[]> {
  const { buffer } = new Uint8Array(Buffer.concat(parquet.finish()));
  return parquetReadObjects({ file: buffer, utf8: false });
}

const largest = Number.MAX_SAFE_INTEGER;
const integers = [
  0,
  1,
  -1,
  255,
  -256,
  2 ** 31,
  -(2 ** 31),
  2 ** 32,
  -(2 ** 32),
  2 ** 32 - 1,
  1 - 2 ** 32,
  largest,
  -largest,
];
const texts = [
  '',
  'a',
  '\u0000',
  'é',
  '\u{1F600}',
  'x'.repeat(47),
  'y'.repeat(48),
  'z'.repeat(49),
  `${'ascii '.repeat(7)}漢`,
  'n'.repeat(100_000),
];
const doubles = [0, -0, 0.1, 5e-324, -1.7976931348623157e308, 1e300];

const cases: [PlainType, readonly unknown[], (value: never) => unknown][] = [
  ['BIGINT', integers, (value: number) => BigInt(value)],
  // Of a decimal the reader makes a double.
  ['DECIMAL(18,2)', [0, 1, -1, 12_345, -12_345], (value: number) => value / 100],
  [
    'TIMESTAMPTZ',
    [0, -1, 1_795_385_025_894, -62_135_596_700_000, 253_402_300_799_999],
    (value: number) => new Date(value),
  ],
  ['DOUBLE', doubles, (value: number) => value],
  ['VARCHAR', texts, (value: string) => value],
  ['BLOB', texts, (value: string) => new Uint8Array(Buffer.from(value))],
];

it.each(cases)('%s', async (type, values, read) => {
  const parquet = new PlainParquet([{ name: 'c', type }]);
  const [column] = parquet.columns;
  for (const value of values) {
    if (typeof value === 'number') column?.addNumber(value);
    else if (type === 'BLOB') column?.addBytes(Buffer.from(value as string));
    else column?.addText(value as string);
    parquet.endRow();
    column?.addNull();
    parquet.endRow();
  }
  const rows = await readBack(parquet);
  expect(rows).toHaveLength(2 * values.length);
  for (const [i, value] of values.entries()) {
    expect(rows[2 * i]?.['c']).toEqual(read(value as never));
    expect(rows[2 * i + 1]?.['c'] ?? null).toBeNull();
  }
});

it.each([0, 1, 7, 8, 9, 32_767, 32_768, 32_769, 100_000])(
  '%i rows: all are there, in their order',
  async (count) => {
    const names = Array.from({ length: 20 }, (_, i) => `column ${i} "'é`);
    const parquet = new PlainParquet(names.map((name) => ({ name, type: 'BIGINT' as const })));
    for (let row = 0; row < count; row++) {
      for (const [i, column] of parquet.columns.entries())
        if (i === 1 || (row + i) % 5 === 0) column.addNull();
        else column.addNumber(row * i);
      parquet.endRow();
    }
    expect(parquet.rows).toBe(count);
    expect(parquet.columns.map(({ isEmpty }) => isEmpty)).toEqual(
      names.map((_, i) => i === 1 || count === 0 || (count === 1 && i % 5 === 0)),
    );
    const rows = await readBack(parquet);
    expect(rows).toHaveLength(count);
    const wrong = rows.flatMap((found, row) =>
      names.flatMap((name, i) => {
        const wanted = i === 1 || (row + i) % 5 === 0 ? null : BigInt(row * i);
        return (found[name] ?? null) === wanted ? [] : [[row, name, found[name]]];
      }),
    );
    expect(wrong).toEqual([]);
  },
);

it('counts the bytes that it holds', () => {
  const parquet = new PlainParquet([{ name: 'c', type: 'VARCHAR' }]);
  for (let row = 0; row < 40_000; row++) {
    parquet.columns[0]?.addText('0123456789');
    parquet.endRow();
  }
  expect(parquet.byteLength).toBeGreaterThanOrEqual(40_000 * 14);
  expect(parquet.byteLength).toBeLessThan(40_000 * 15);
});
