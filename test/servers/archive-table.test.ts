/**
 * The lake: concurrent committers lose nothing, a torn log is told, ranges that do not fit are refused, and the files hold
 * what was decoded, read by DuckDB (by others: `parquet-readers.test.ts`).
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { ArchiveTable } from '../../batch/archive-table.ts';
import { DeltaTable } from '../../batch/delta-log.ts';
import { eventColumns, RowBuffer } from '../../batch/event-table.ts';
import { DuckDb, quotePath } from '../../clients/duckdb.ts';
import { readUtf8 } from '../../clients/kafka.ts';
import type { ObjectStore } from '../../clients/object-store.ts';
import { createDecoder } from '../../domain/decode.ts';
import { lakeKinds, truncateObject, useLakes } from '../support/lakes.ts';
import { pipeline } from '../support/odd-pipeline.ts';
import { anyLog } from '../support/random-log.ts';
import type { Entry } from '../support/random-log.ts';

let folder: string;
let database: DuckDb;
const decode = createDecoder(pipeline, readUtf8);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'reckon-lake-'));
  database = await DuckDb.open({ memoryLimit: '256MB', threads: 1, tempDirectory: join(folder, 'spill') });
});
afterAll(() => {
  database.close();
  rmSync(folder, { recursive: true, force: true });
});

const newLake = useLakes();
const versionPath = (version: number) => `t/_delta_log/${String(version).padStart(20, '0')}.json`;
const addOf = (path: string) => ({
  add: { path, partitionValues: {}, size: 1, modificationTime: 1, dataChange: true },
});
const written = { commitInfo: { operation: 'WRITE' } };

describe.each(lakeKinds)('the log, on %s', (kind) => {
  it('8 concurrent committers lose nothing, and every version is one of theirs', async () => {
    const { store, scratch } = await newLake(kind);
    const [committers, each] = [8, 25];
    const tables = Array.from({ length: committers }, () => new DeltaTable(store, 'events'));
    // They create it at once, too.
    await Promise.all(tables.map((table) => table.create([], {}, 1)));
    const versions = await Promise.all(
      tables.map(async (table, who) => {
        const mine: (number | null)[] = [];
        for (let i = 0; i < each; i++)
          mine.push(
            await table.commit((snapshot) => {
              const counted = (snapshot.transactions.get('counter')?.version ?? 0) + 1;
              return [
                written,
                addOf(`${who}-${i}`),
                { txn: { appId: 'counter', version: counted, lastUpdated: 1 } },
              ];
            }),
          );
        return mine;
      }),
    );
    const all = versions.flat().sort((a, b) => (a ?? 0) - (b ?? 0));
    expect(all).toEqual(Array.from({ length: committers * each }, (_, i) => i + 1));
    const snapshot = await new DeltaTable(store, 'events').refresh();
    expect(snapshot.files.size).toBe(committers * each);
    // Every commit was built on the one before it: none counted on a stale snapshot.
    expect(snapshot.transactions.get('counter')?.version).toBe(committers * each);
    expect(scratch()).toEqual([]);
  });

  it('no two versions are ever equal, also where two writers write the same', async () => {
    const { store } = await newLake(kind);
    const tables = [new DeltaTable(store, 't'), new DeltaTable(store, 't')];
    await tables[0]?.create([], {}, 1);
    for (const table of tables) await table.commit(() => [written, addOf('same')]);
    await tables[0]?.commit(() => [addOf('unsaid')]);
    const texts = await Promise.all(
      [0, 1, 2, 3].map(async (version) =>
        Buffer.from((await store.get(versionPath(version))) ?? []).toString(),
      ),
    );
    const ids = texts.map((text) => /^\{"commitInfo":\{[^}]*"txnId":"([0-9a-f-]{36})"\}\}\n/.exec(text)?.[1]);
    expect(ids).not.toContain(undefined);
    expect(new Set(ids).size).toBe(4);
  });

  it('is refreshed by those who only read', async () => {
    const { store } = await newLake(kind);
    const [writer, reader] = [new DeltaTable(store, 't'), new DeltaTable(store, 't')];
    expect((await reader.refresh()).version).toBe(-1);
    await writer.create([], {}, 1);
    await writer.commit(() => [written, addOf('a')]);
    expect([...(await reader.refresh()).files.keys()]).toEqual(['a']);
    expect(await writer.commit(() => null)).toBeNull();
    expect((await reader.refresh()).version).toBe(1);
  });

  const broken: [string, (store: ObjectStore) => Promise<void>][] = [
    ['torn in the middle', (store) => truncateObject(store, versionPath(1), 20)],
    ['empty', (store) => truncateObject(store, versionPath(1), 0)],
    ['not JSON', (store) => store.put(versionPath(1), Buffer.from('hello\n'))],
    ['JSON, but no action', (store) => store.put(versionPath(1), Buffer.from('null\n'))],
    ['missing', (store) => store.remove(versionPath(1))],
    ['missing at the start', (store) => store.remove(versionPath(0))],
  ];
  it.each(broken)(
    'a version that is %s makes the table unreadable, and nothing is written over it',
    async (_name, damage) => {
      const { store } = await newLake(kind);
      const table = new DeltaTable(store, 't');
      await table.create([], {}, 1);
      for (const name of ['a', 'b']) await table.commit(() => [written, addOf(name)]);
      await damage(store);
      const before = await store.list('t');
      const fresh = new DeltaTable(store, 't');
      await expect(fresh.refresh()).rejects.toMatchObject({ code: 'corrupt-lake' });
      await expect(fresh.create([], {}, 1)).rejects.toMatchObject({ code: 'corrupt-lake' });
      await expect(fresh.commit(() => [written])).rejects.toMatchObject({ code: 'corrupt-lake' });
      expect(await store.list('t')).toEqual(before);
    },
  );
});

const rowsOf = (log: readonly Entry[], partition = 0): RowBuffer => {
  const rows = new RowBuffer(eventColumns(pipeline));
  for (const { record } of log) rows.add({ ...record, partition }, decode(record));
  return rows;
};
const sample = (least: number, seed = 7): Entry[] => {
  const found = fc.sample(anyLog(80), { seed, numRuns: 100 }).find((log) => log.length >= least);
  if (found === undefined) throw new Error('no log is long enough');
  return found;
};
const rangeOf = (log: readonly Entry[], expectedOffset: number, partition = 0) => ({
  partition,
  expectedOffset,
  nextOffset: (log.at(-1)?.plain.offset ?? 0) + 1,
  rows: rowsOf(log, partition),
});

describe.each(lakeKinds)('append, on %s', (kind) => {
  it('refuses a range that does not begin where the archive ends, and commits nothing of it', async () => {
    const { store } = await newLake(kind);
    const archive = new ArchiveTable(store, pipeline);
    await archive.create(null, 1);
    const log = sample(20);
    const [a, b] = [log.slice(0, 10), log.slice(10, 20)];
    expect(await archive.append(database, [rangeOf(a, a[0]?.plain.offset ?? 0)], 1)).toBe(true);
    const next = (a.at(-1)?.plain.offset ?? 0) + 1;
    const before = [await archive.files(), await archive.reached()];
    for (const wrong of [next - 1, next + 1, 0, -1])
      expect(await archive.append(database, [rangeOf(b, wrong)], 1)).toBe(false);
    // All or nothing: a range that fits is not committed beside one that does not.
    expect(await archive.append(database, [rangeOf(b, 0, 1), rangeOf(b, next + 1, 0)], 1)).toBe(false);
    expect([await archive.files(), await archive.reached()]).toEqual(before);
    expect((await new ArchiveTable(store, pipeline).position(0))?.nextOffset).toBe(next);
    expect(await archive.append(database, [rangeOf(b, 0, 1), rangeOf(b, next, 0)], 1)).toBe(true);
    expect((await archive.position(0))?.nextOffset).toBe((b.at(-1)?.plain.offset ?? 0) + 1);
  });

  it('of 4 archivers with the same range one wins, so that every offset is there once', async () => {
    const { store } = await newLake(kind);
    const archives = Array.from({ length: 4 }, () => new ArchiveTable(store, pipeline));
    await Promise.all(archives.map((archive) => archive.create(null, 1)));
    const log = sample(20);
    // The archive has begun: only then can two archivers be told apart by where it ends.
    const first = log[0]?.plain.offset ?? 0;
    await archives[0]?.append(
      database,
      [{ partition: 0, expectedOffset: first, nextOffset: first, rows: null }],
      1,
    );
    const databases = await Promise.all(
      archives.map((_, i) =>
        DuckDb.open({ memoryLimit: '128MB', threads: 1, tempDirectory: join(folder, `spill-${i}`) }),
      ),
    );
    const won = await Promise.all(
      archives.map((archive, i) => archive.append(databases[i] as DuckDb, [rangeOf(log, first)], 1)),
    );
    for (const one of databases) one.close();
    expect(won.filter(Boolean)).toHaveLength(1);
    const archive = archives[0] as ArchiveTable;
    const copies = await archive.localCopies(await archive.files());
    expect(copies.files).toHaveLength(1);
    expect(
      await database.query(
        `SELECT count(*) AS n, count(DISTINCT _offset) AS d FROM read_parquet(${quotePath(copies.files[0] ?? '')})`,
      ),
    ).toEqual([{ n: BigInt(log.length), d: BigInt(log.length) }]);
    await copies.release();
  });
});

const hex = (text: unknown) =>
  typeof text === 'string' ? Buffer.from(text).toString('hex').toUpperCase() : null;

/** The one file of a log, in a lake of its own, and what the log says of it. */
async function archived(log: readonly Entry[]): Promise<{ location: string; stats: Stats }> {
  const { store } = await newLake();
  const archive = new ArchiveTable(store, pipeline);
  await archive.create(null, 1);
  expect(await archive.append(database, [rangeOf(log, 0, 3)], 1)).toBe(true);
  const [file] = await archive.files();
  const newest = (await store.list(`${archive.table.root}/_delta_log`)).at(-1)?.name ?? '';
  const bytes = await store.get(`${archive.table.root}/_delta_log/${newest}`);
  const lines = Buffer.from(bytes ?? [])
    .toString()
    .trim()
    .split('\n');
  const add = lines
    .map((line) => JSON.parse(line) as { add?: { stats: string } })
    .find((action) => action.add)?.add;
  return { location: file ? archive.locationOf(file) : '', stats: JSON.parse(add?.stats ?? '{}') as Stats };
}
interface Stats {
  numRecords: number;
  minValues: Record<string, unknown>;
  maxValues: Record<string, unknown>;
}

it('files hold every record exactly, as DuckDB reads them, and their statistics bound them', async () => {
  for (const seed of [1, 2, 3, 4]) {
    const log = sample(15, seed);
    const { location, stats } = await archived(log);
    const rows = await database.query(
      `SELECT *, epoch_ms(_time) AS t, epoch_ms(_timestamp) AS ts, (price * 100)::HUGEINT AS cents, octet_length(_raw) AS size, hex(shop) AS shop_hex FROM read_parquet(${quotePath(location)}) ORDER BY _offset`,
    );
    expect(rows).toHaveLength(log.length);
    for (const [i, { plain, record }] of log.entries()) {
      const row = rows[i] ?? {};
      expect(row).toMatchObject({
        _partition: 3,
        _offset: BigInt(plain.offset),
        ts: BigInt(plain.timestampMs),
        _rejected: plain.dead,
      });
      if (plain.dead === null)
        expect(row).toMatchObject({
          _id: plain.id,
          t: BigInt(plain.timeMs),
          cents: plain.fields['price'],
          late: plain.fields['late'],
          // By its bytes: the driver's decoding of texts drops a leading byte order mark.
          shop_hex: hex(plain.fields['shop']),
          score: plain.fields['score'],
          vip: plain.fields['vip'],
          user_region: plain.fields['user.region'],
          _raw: null,
        });
      else
        expect([row['_id'], row['_time'], row['size']]).toEqual([
          null,
          null,
          record.value === null ? null : BigInt(record.value.length),
        ]);
    }
    const times = log.filter(({ plain }) => plain.dead === null).map(({ plain }) => plain.timeMs);
    const stamps = log.map(({ plain }) => plain.timestampMs);
    const iso = (ms: number) => new Date(ms).toISOString();
    const bounds = (pick: (...values: number[]) => number, offset: number | undefined) => ({
      _partition: 3,
      _offset: offset,
      _timestamp: iso(pick(...stamps)),
      ...(times.length === 0 ? {} : { _time: iso(pick(...times)) }),
    });
    expect(stats).toMatchObject({
      numRecords: log.length,
      minValues: bounds(Math.min, log[0]?.plain.offset),
      maxValues: bounds(Math.max, log.at(-1)?.plain.offset),
    });
  }
});
