/**
 * The data files, as they were appended and as compaction has rewritten them, read by parquetjs-lite and hyparquet: every value of every
 * column is what was archived.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { ArchiveTable } from '../../batch/archive-table.ts';
import { compact } from '../../batch/compaction.ts';
import { eventColumns, RowBuffer } from '../../batch/event-table.ts';
import { DuckDb, quotePath } from '../../clients/duckdb.ts';
import { readUtf8 } from '../../clients/kafka.ts';
import { LocalObjectStore } from '../../clients/object-store.ts';
import { createDecoder } from '../../domain/decode.ts';
import type { LogRecord } from '../../domain/event.ts';
import { pipeline } from '../support/odd-pipeline.ts';
import { readByHyparquet, readByParquetjsLite } from '../support/parquet-readers.ts';
import type { ReadRow } from '../support/parquet-readers.ts';
import { anyLog } from '../support/random-log.ts';
import type { Entry } from '../support/random-log.ts';

const decode = createDecoder(pipeline, readUtf8);
const columns = eventColumns(pipeline).map(({ name }) => name);
const ownColumns = columns.filter((name) => name.startsWith('_'));
const files = 5;

let folder: string;
let database: DuckDb;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'reckon-readers-'));
  database = await DuckDb.open({ memoryLimit: '256MB', threads: 1, tempDirectory: join(folder, 'spill') });
});
afterAll(() => {
  database.close();
  rmSync(folder, { recursive: true, force: true });
});

const hex = (bytes: Uint8Array | null) => (bytes === null ? null : Buffer.from(bytes).toString('hex'));
/** Bytes that are no text in any encoding. */
const keyOf = (offset: number) => (offset % 3 === 0 ? null : Uint8Array.of(0xff, offset & 0xff, 0, 0xc3));

/** What the file must say of a record; `_detail` is for people. @param decimal of an unscaled integer */
function wanted({ plain, record }: Entry, decimal: (cents: bigint) => unknown): ReadRow {
  const { dead, fields } = plain;
  // JSON has no −0.
  const sent = (name: string) => (Object.is(fields[name], -0) ? 0 : (fields[name] ?? null));
  const value = (name: string) => (dead === null ? sent(name) : null);
  const own: ReadRow = {
    _partition: 0,
    _offset: BigInt(plain.offset),
    _timestamp: new Date(plain.timestampMs),
    _headers: null,
    _key: hex(record.key),
    _id: dead === null ? plain.id : null,
    _time: dead === null ? new Date(plain.timeMs) : null,
    _rejected: dead,
    _detail: dead === null ? null : (expect.any(String) as string),
    _raw: dead === null ? null : hex(record.value),
  };
  const ofFields = pipeline.fields.map(({ name, column }) => [column, value(name)] as const);
  const price = value('price');
  return {
    ...own,
    ...Object.fromEntries(ofFields),
    // These are the event's own columns, too.
    id: own['_id'],
    at: dead === null ? BigInt(plain.timeMs) : null,
    price: typeof price === 'bigint' ? decimal(price) : null,
  };
}

/** @param lake its number @returns the log, and where its files are before and after compaction */
async function archived(lake: string, log: readonly Entry[]) {
  const store = new LocalObjectStore(join(folder, lake));
  const archive = new ArchiveTable(store, pipeline);
  await archive.create(null, 1);
  const each = Math.ceil(log.length / files);
  let expectedOffset = 0;
  for (let from = 0; from < log.length; from += each) {
    const rows = new RowBuffer(eventColumns(pipeline));
    for (const { record } of log.slice(from, from + each)) rows.add(record, decode(record));
    const nextOffset = rows.lastOffset + 1;
    expect(await archive.append(database, [{ partition: 0, expectedOffset, nextOffset, rows }], 1)).toBe(
      true,
    );
    expectedOffset = nextOffset;
  }
  const locations = async () => (await archive.files()).map((file) => archive.locationOf(file));
  const fresh = await locations();
  await compact(archive.table, store, database);
  return { fresh, compacted: await locations() };
}

/** Of all columns: what a reader has to know. */
async function encodingsOf(file: string): Promise<unknown[]> {
  const rows = await database.query(
    `SELECT DISTINCT unnest(string_split(encodings, ', ')) AS encoding FROM parquet_metadata(${quotePath(file)}) ORDER BY 1`,
  );
  return rows.map(({ encoding }) => encoding);
}

const logs = fc
  .sample(anyLog(80), { seed: 7, numRuns: 200 })
  .filter((log) => log.length >= 60)
  .slice(0, 4)
  .map((log) =>
    log.map(({ plain, record }): Entry => {
      const keyed: LogRecord = { ...record, key: keyOf(record.offset) };
      return { plain, record: keyed };
    }),
  );

type Read = (file: string, columns: readonly string[]) => Promise<ReadRow[]>;
const readers: [string, Read, (cents: bigint) => unknown][] = [
  ['parquetjs-lite', readByParquetjsLite, (cents) => cents],
  // Decimals are doubles for it.
  ['hyparquet', readByHyparquet, (cents) => Number(cents) * 10 ** -2],
];

it.each(readers)('%s reads every value of appended and of compacted files', async (reader, read, decimal) => {
  expect(logs).toHaveLength(4);
  for (const [i, log] of logs.entries()) {
    const { fresh, compacted } = await archived(`${reader}-${i}`, log);
    expect([fresh.length, compacted.length]).toEqual([files, 1]);
    for (const file of [...fresh, ...compacted])
      expect(await encodingsOf(file)).toEqual(['PLAIN', 'PLAIN_DICTIONARY']);
    const rows = log.map((entry) => wanted(entry, decimal));
    const found = await Promise.all(fresh.map((file) => read(file, columns)));
    expect(found.flat()).toEqual(rows);
    const sorted = (await read(compacted[0] ?? '', columns)).sort(
      (a, b) => Number(a['_offset']) - Number(b['_offset']),
    );
    expect(sorted).toEqual(rows);
  }
  // What was compared holds values in every column that events have values for (headers: see below).
  const all = logs.flat().map((entry) => wanted(entry, decimal));
  const filled = columns.filter((name) => name === '_headers' || all.some((row) => row[name] !== null));
  expect(filled.length).toBeGreaterThanOrEqual(ownColumns.length + 12);
  expect(filled).toEqual(
    expect.arrayContaining([...ownColumns, 'price', 'late', 'score', 'vip', 'user_region']),
  );
});

/** A list of structs, which parquetjs-lite shows with the names of Parquet's levels. */
function headersOf(value: unknown): string[] {
  interface Pair {
    readonly key: string;
    readonly value?: Uint8Array | null;
  }
  const { list } = value as { list?: { element: Pair }[] };
  const pairs = list?.map(({ element }) => element) ?? (value as Pair[]);
  return pairs.map((pair) => `${pair.key}=${pair.value ? Buffer.from(pair.value).toString() : 'null'}`);
}

it.each(readers)(
  '%s reads columns of a thousand values, each many times in a row',
  async (reader, read) => {
    const records = 60_000;
    const shopOf = (offset: number) => `shop ${Math.floor(offset / 60)}`;
    const store = new LocalObjectStore(join(folder, `${reader}-many`));
    const archive = new ArchiveTable(store, pipeline);
    await archive.create(null, 1);
    for (let from = 0; from < records; from += records / 4) {
      const rows = new RowBuffer(eventColumns(pipeline));
      for (let offset = from; offset < from + records / 4; offset++) {
        const value = Buffer.from(JSON.stringify({ id: `e${offset}`, at: offset, shop: shopOf(offset) }));
        const headers =
          offset % 7 === 0
            ? { headers: { trace: Buffer.from(`t${offset}`), kind: [Buffer.from('a'), null] } }
            : {};
        const record = { partition: 0, offset, timestampMs: 1, key: null, value, ...headers };
        rows.add(record, decode(record));
      }
      const nextOffset = from + records / 4;
      expect(
        await archive.append(database, [{ partition: 0, expectedOffset: from, nextOffset, rows }], 1),
      ).toBe(true);
    }
    await compact(archive.table, store, database);
    const files = (await archive.files()).map((file) => archive.locationOf(file));
    expect(files).toHaveLength(1);
    const found = await read(files[0] ?? '', columns);
    expect(found).toHaveLength(records);
    expect(found.filter((row) => row['shop'] !== shopOf(Number(row['_offset'])))).toEqual([]);
    const traced = found.filter((row) => row['_headers'] !== null);
    expect(traced).toHaveLength(Math.ceil(records / 7));
    for (const row of traced)
      expect(headersOf(row['_headers'])).toEqual([`trace=t${String(row['_offset'])}`, 'kind=a', 'kind=null']);
  },
  60_000,
);
