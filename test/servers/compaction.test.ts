/**
 * Compaction: the rows are the same before and after, for us, for delta-rs and for DuckDB's extension; beside appenders and a second
 * compactor nothing is lost; what is large is left alone.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ArchiveTable } from '../../batch/archive-table.ts';
import { compact } from '../../batch/compaction.ts';
import { eventColumns, RowBuffer } from '../../batch/event-table.ts';
import { parseStatistics } from '../../batch/file-statistics.ts';
import { DuckDb, quotePath } from '../../clients/duckdb.ts';
import { readUtf8 } from '../../clients/kafka.ts';
import { createDecoder } from '../../domain/decode.ts';
import { click, clicks } from '../support/commit-writer.ts';
import { eventually } from '../support/eventually.ts';
import { lakeKinds, useLakes } from '../support/lakes.ts';
import type { LakeKind } from '../support/lakes.ts';
import { readByOthers } from '../support/lake-readers.ts';

const decode = createDecoder(clicks, readUtf8);
const nowMs = 1_795_385_025_894;
const now = () => nowMs;
let folder: string;
const databases: DuckDb[] = [];
const openDatabase = async () => {
  const database = await DuckDb.open({
    memoryLimit: '256MB',
    threads: 1,
    tempDirectory: join(folder, 'spill'),
  });
  databases.push(database);
  return database;
};
let database: DuckDb;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'reckon-compaction-'));
  database = await openDatabase();
});
afterAll(() => {
  for (const one of databases) one.close();
  rmSync(folder, { recursive: true, force: true });
});

const newLake = useLakes();
async function newArchive(kind: LakeKind) {
  const { store, connection } = await newLake(kind);
  const archive = new ArchiveTable(store, clicks);
  await archive.create(null, nowMs);
  return { store, archive, connection };
}

async function append(archive: ArchiveTable, using: DuckDb, partition: number, from: number, count: number) {
  const rows = new RowBuffer(eventColumns(clicks));
  for (let offset = from; offset < from + count; offset++) {
    // Every seventh is broken, and event times run backwards.
    const { value, ...record } = click(partition, offset);
    const broken =
      offset % 7 === 0
        ? Buffer.from('{')
        : Buffer.from(JSON.stringify({ id: `e${offset}`, at: 1_000_000 - offset }));
    const made = { ...record, value: value.length > 0 ? broken : value };
    rows.add(made, decode(made));
  }
  const range = { partition, expectedOffset: from, nextOffset: from + count, rows };
  expect(await archive.append(using, [range], nowMs)).toBe(true);
}

/** Everything that the live files hold, by partition and offset. */
async function rowsOf(archive: ArchiveTable) {
  const files = await archive.files();
  if (files.length === 0) return [];
  const copies = await archive.localCopies(files);
  const rows = database.query(
    `SELECT _partition, _offset, _timestamp::VARCHAR AS stamped, _id, _time::VARCHAR AS at, _rejected, _raw::VARCHAR AS raw, id
     FROM read_parquet([${copies.files.map(quotePath).join(', ')}]) ORDER BY ALL`,
  );
  return rows.finally(() => copies.release());
}

it.each(lakeKinds)(
  'on %s, rows are the same, for others too; files are fewer, sorted by event time, with bounds that bound',
  async (kind) => {
    const { store, archive, connection } = await newArchive(kind);
    for (let i = 0; i < 9; i++) await append(archive, database, i % 2, 10 * Math.floor(i / 2), 10);
    const before = await rowsOf(archive);
    expect(before).toHaveLength(90);
    const done = await compact(archive.table, store, database, { now });
    expect(done).toMatchObject({ removed: 9, added: 2, rows: 90 });
    expect(await rowsOf(archive)).toEqual(before);
    const copies = await archive.localCopies(await archive.files());
    for (const location of copies.files) {
      const times = await database.query(
        `SELECT epoch_ms(_time)::DOUBLE AS t FROM read_parquet(${quotePath(location)})`,
      );
      const known = times.flatMap(({ t }) => (typeof t === 'number' ? [t] : []));
      expect(known).toEqual([...known].sort((a, b) => a - b));
      expect(known.length).toBeGreaterThan(30);
    }
    await copies.release();
    for (const { stats } of (await archive.table.refresh()).files.values()) {
      const { minValues, maxValues, numRecords } = parseStatistics(stats);
      const inFile = before.filter(({ _partition }) => _partition === minValues._partition);
      expect(numRecords).toBe(inFile.length);
      expect([minValues._offset, maxValues._offset]).toEqual([0, inFile.length - 1]);
      const times = inFile.flatMap(({ at }) =>
        at === null ? [] : [Date.parse(`${String(at).replace(' ', 'T')}:00`)],
      );
      expect(Date.parse(minValues._time ?? '')).toBe(Math.min(...times));
      expect(Date.parse(maxValues._time ?? '')).toBe(Math.max(...times));
    }
    const sums = {
      rows: 90,
      sums: { _offset: String(before.reduce((sum, row) => sum + Number(row['_offset']), 0)) },
    };
    const others = await readByOthers(store.location(`${clicks.name}/events`), ['_offset'], connection);
    expect(others).toMatchObject({ deltaRs: sums, duckDb: sums });
    // Nothing is left to do.
    expect(await compact(archive.table, store, database, { now })).toMatchObject({
      removed: 0,
      added: 0,
      rows: 0,
    });
    // The archive goes on where it was.
    await append(archive, database, 0, 50, 10);
    expect(await rowsOf(archive)).toHaveLength(100);
  },
  120_000,
);

it.each(lakeKinds)(
  'on %s, 8 appenders and 2 compactors at once: no row is lost, none is there twice',
  async (kind) => {
    const { store, archive } = await newArchive(kind);
    const each = 12;
    let [appending, removed] = [8, 0];
    const appenders = Array.from({ length: 8 }, async (_, partition) => {
      const own = new ArchiveTable(store, clicks);
      const using = await openDatabase();
      for (let i = 0; i < each; i++) {
        await append(own, using, partition, 5 * i, 5);
        // The second half is appended beside compactions that have begun, however slow the machine is.
        if (i === each / 2) await eventually(() => expect(removed).toBeGreaterThan(8), 60_000);
      }
      appending--;
    });
    const compactors = Array.from({ length: 2 }, async () => {
      const own = new ArchiveTable(store, clicks);
      const using = await openDatabase();
      while (appending > 0) removed += (await compact(own.table, store, using, { now })).removed;
    });
    await Promise.all([...appenders, ...compactors]);
    await compact(archive.table, store, database, { now });
    expect(removed).toBeGreaterThan(8);
    const rows = (await rowsOf(archive)).map(
      ({ _partition, _offset }) => `${Number(_partition)}:${Number(_offset)}`,
    );
    const all = Array.from({ length: 8 }, (_, p) => Array.from({ length: 5 * each }, (__, o) => `${p}:${o}`));
    expect(rows).toEqual(all.flat());
  },
  120_000,
);

it('stops between two runs when it is told to, and says what it would do without doing it', async () => {
  const { store, archive } = await newArchive('a local disk');
  for (let i = 0; i < 12; i++) await append(archive, database, i % 3, 10 * Math.floor(i / 3), 10);
  const before = await rowsOf(archive);
  const planned = await compact(archive.table, store, database, { now, dryRun: true });
  expect(planned).toMatchObject({ removed: 0, added: 0, rows: 0 });
  expect(planned.runs.map(({ partition, rows }) => [partition, rows])).toEqual([
    [0, 40],
    [1, 40],
    [2, 40],
  ]);
  expect(await archive.files()).toHaveLength(12);
  const stop = new AbortController();
  const onRun = () => stop.abort();
  const done = await compact(archive.table, store, database, { now, signal: stop.signal, onRun });
  expect(done).toMatchObject({ removed: 4, added: 1, rows: 40 });
  expect(await archive.files()).toHaveLength(9);
  // A later one goes on.
  expect(await compact(archive.table, store, database, { now })).toMatchObject({ removed: 8, added: 2 });
  expect(await rowsOf(archive)).toEqual(before);
});
