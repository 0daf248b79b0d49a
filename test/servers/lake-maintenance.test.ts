/**
 * Maintenance of the lake, on a disk and in a bucket: after each of its steps delta-rs, DuckDB's Delta extension and our own reader see the same
 * rows; a dry run changes nothing; what a lease holds stays.
 */
import { randomUUID } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ArchiveTable } from '../../batch/archive-table.ts';
import { compact } from '../../batch/compaction.ts';
import { DeltaTable } from '../../batch/delta-log.ts';
import { expire } from '../../batch/expiry.ts';
import { isCold } from '../../batch/file-statistics.ts';
import { LakeHistory } from '../../batch/history.ts';
import { holdLease, retentionMinMs } from '../../batch/lease.ts';
import { tier } from '../../batch/tiering.ts';
import { vacuum } from '../../batch/vacuum.ts';
import { DuckDb } from '../../clients/duckdb.ts';
import { LocalObjectStore } from '../../clients/object-store.ts';
import { clicks } from '../support/commit-writer.ts';
import { readByOthers, vacuumByOthers } from '../support/lake-readers.ts';
import { append, contentOf, dayMs, newArchive, rowsOf, treeOf } from '../support/lake-tables.ts';
import { lakeKinds, useLakes } from '../support/lakes.ts';
import type { Lake } from '../support/lakes.ts';

const root = `${clicks.name}/events`;
/** Files are as old on the disk as they are in the log: the clock of the tests runs ahead of the wall's. */
const startMs = Math.floor(Date.now() / dayMs) * dayMs;
let folder: string;
const databases: DuckDb[] = [];
const openDatabase = async () => {
  const tempDirectory = join(folder, 'spill');
  const database = await DuckDb.open({ memoryLimit: '256MB', threads: 1, tempDirectory });
  databases.push(database);
  return database;
};
let database: DuckDb;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'reckon-maintenance-'));
  database = await openDatabase();
});
afterAll(() => {
  for (const one of databases) one.close();
  rmSync(folder, { recursive: true, force: true });
});

const newLake = useLakes();
let lakes = 0;
const newRoot = () => join(folder, `lake-${++lakes}`);
const at = (days: number) => startMs + days * dayMs;
const clock = (days: number) => () => at(days);

/** Three days of two partitions, four files of ten rows a day. @returns the next offset of each partition */
async function fill(archive: ArchiveTable, days = 3): Promise<number> {
  let from = 0;
  for (let day = 0; day < days; day++)
    for (let file = 0; file < 4; file++, from += 10)
      for (const partition of [0, 1]) {
        const atMs = at(day) + file * 3_600_000;
        await append(archive, database, { partition, from, count: 10, atMs, nowMs: atMs });
      }
  return from;
}

/** What others see of the table must be what we see. */
async function expectSameForAll({ store, connection }: Lake, rows: readonly string[]): Promise<void> {
  expect(await rowsOf(store, database)).toEqual(rows);
  const offsets = rows.reduce((sum, row) => sum + Number(row.split(':')[1]), 0);
  const sums = { rows: rows.length, sums: { _offset: rows.length === 0 ? null : String(offsets) } };
  expect(await readByOthers(store.location(root), ['_offset'], connection)).toMatchObject({
    deltaRs: sums,
    duckDb: sums,
  });
}

it.each(lakeKinds)(
  'compaction, tiering, vacuum, checkpoint and expiry on %s: rows are the same for everybody, dry runs change nothing',
  async (kind) => {
    const lake = await newLake(kind);
    const { store, coldDir } = lake;
    const archive = await newArchive(store, startMs);
    const { table } = archive;
    const next = await fill(archive);
    const rows = await rowsOf(store, database);
    expect(rows).toHaveLength(2 * next);
    const unchanged = async <T>(dryRun: () => Promise<T>): Promise<T> => {
      const before = await contentOf(store);
      const result = await dryRun();
      expect(await contentOf(store)).toEqual(before);
      return result;
    };

    // 1. Compaction: a file a day of each partition.
    const now = clock(3);
    const plan = await unchanged(() => compact(table, store, database, { now, dryRun: true }));
    const compacted = await compact(table, store, database, { now });
    expect(compacted).toMatchObject({ removed: 24, added: 6, rows: 240 });
    expect(plan.runs).toEqual(compacted.runs);
    await expectSameForAll(lake, rows);

    // 2. Tiering: the first two days become cold, by way of a link to the other folder.
    const hotMs = dayMs;
    const planned = await unchanged(() => tier(table, store, { hotMs, now, dryRun: true }));
    expect(planned.files).toHaveLength(4);
    const before = new Map((await table.refresh()).files);
    expect(await tier(table, store, { hotMs, now })).toEqual({ files: planned.files, damaged: [] });
    if (coldDir !== null)
      expect(readlinkSync(store.location(`${root}/cold`))).toMatch(
        new RegExp(`^${join(coldDir, root)}-.{36}$`),
      );
    const files = await archive.files();
    expect(files.map(isCold)).toEqual([true, true, false, true, true, false]);
    for (const { path, archivedMs, firstOffset, partition } of files) {
      const twin = planned.files.find(
        (file) => file.firstOffset === firstOffset && file.partition === partition,
      );
      if (isCold({ path })) expect(archivedMs).toBe(before.get(twin?.path ?? '')?.modificationTime);
    }
    await expectSameForAll(lake, rows);
    expect(await tier(table, store, { hotMs, now })).toEqual({ files: [], damaged: [] });
    expect((await compact(table, store, database, { now })).runs).toEqual([]);

    // 3. Vacuum: nothing before its time; then the small files and the hot twins of the cold ones, and the versions.
    const before4 = { now: clock(3.9), retentionMs: dayMs, dryRun: true };
    const early = await unchanged(() => vacuum(table, store, database, before4));
    expect([early.removed, early.orphans]).toEqual([[], []]);
    const later = { now: clock(4.5), retentionMs: dayMs };
    const doomed = await unchanged(() => vacuum(table, store, database, { ...later, dryRun: true }));
    const vacuumed = await vacuum(table, store, database, later);
    expect(vacuumed.removed).toEqual(doomed.removed);
    expect(vacuumed).toMatchObject({ orphans: [], leases: [], held: 0, expiredTombstones: 28 });
    expect(vacuumed.removed).toHaveLength(28);
    expect(vacuumed.removed.reduce((sum, { bytes }) => sum + bytes, 0)).toBeGreaterThan(10_000);
    expect(vacuumed.log.length).toBeGreaterThan(20);
    for (const { path } of [...vacuumed.removed, ...vacuumed.log])
      expect(await store.get(`${root}/${path}`)).toBeNull();
    await expectSameForAll(lake, rows);
    const fresh = await new DeltaTable(store, root).refresh();
    expect([fresh.files.size, fresh.tombstones.size]).toEqual([6, 0]);
    const again = await unchanged(() => vacuum(new DeltaTable(store, root), store, database, later));
    expect([again.removed, again.orphans, again.log, again.expiredTombstones]).toEqual([[], [], [], 0]);

    // 4. Expiry: the first day goes, and what the rest has to know of it stays.
    const lakeMs = 2 * dayMs;
    const nowMs = at(2.5);
    const first = files.filter((file) => file.firstOffset === 0);
    const toExpire = await unchanged(() => expire(table, { lakeMs, now: () => nowMs, dryRun: true }));
    expect(toExpire.map(({ firstOffset }) => firstOffset)).toEqual([0, 0]);
    expect(await expire(table, { lakeMs, now: () => nowMs })).toEqual(toExpire);
    const kept = rows.filter((row) => Number(row.split(':')[1]) >= 40);
    await expectSameForAll(lake, kept);
    const { maxTimeMs = 0, newestMs = 0 } = first[0] ?? {};
    const known = { nextOffset: 40, maxTimeMs, logTimeMs: newestMs, rows: 40 };
    expect([...(await archive.expired())]).toEqual([
      [0, known],
      [1, known],
    ]);
    expect(await new LakeHistory(archive, clicks, openDatabase).range(0)).toEqual({ start: 40, end: 120 });

    // 5. All of it goes, and the archive goes on where it was.
    expect(await expire(table, { lakeMs, now: clock(30) })).toHaveLength(4);
    await expectSameForAll(lake, []);
    const logTimeMs = Math.max(...files.map((file) => file.newestMs));
    expect(await new ArchiveTable(store, clicks).position(1)).toEqual({ nextOffset: 120, logTimeMs });
    expect(await new LakeHistory(archive, clicks, openDatabase).range(0)).toEqual({ start: 120, end: 120 });
    await append(archive, database, { partition: 1, from: 120, count: 10, atMs: at(30), nowMs: at(30) });
    await vacuum(table, store, database, { now: clock(40) });
    expect(await store.list(`${root}/cold`)).toEqual([]);
    if (coldDir !== null) expect(treeOf(coldDir)).toEqual([]);
    expect(lake.scratch()).toEqual([]);
    await expectSameForAll(
      lake,
      Array.from(
        { length: 10 },
        (_, i) => `1:${120 + i}:${(120 + i) % 7 === 6 ? 'invalid-json' : `e1-${120 + i}`}`,
      ),
    );
    expect((await new ArchiveTable(store, clicks).expired()).get(1)).toMatchObject({
      rows: 120,
      nextOffset: 120,
    });
  },
  120_000,
);

it('replayed history with timestamps of long ago lives as long as live data does, compacted and cold, too', async () => {
  const store = new LocalObjectStore(newRoot());
  const archive = await newArchive(store, startMs);
  const longAgo = Date.UTC(2001, 0, 1);
  for (let i = 0; i < 4; i++)
    await append(archive, database, { partition: 0, from: 10 * i, count: 10, atMs: longAgo, nowMs: at(i) });
  const options = { lakeMs: 10 * dayMs, hotMs: 5 * dayMs };
  expect(await expire(archive.table, { ...options, now: clock(8) })).toEqual([]);
  expect(await compact(archive.table, store, database, { now: clock(8) })).toMatchObject({ removed: 4 });
  expect((await archive.files()).map(({ archivedMs }) => archivedMs)).toEqual([at(3)]);
  expect((await tier(archive.table, store, { ...options, now: clock(7.9) })).files).toEqual([]);
  expect((await tier(archive.table, store, { ...options, now: clock(8.1) })).files).toHaveLength(1);
  expect(await expire(archive.table, { ...options, now: clock(12.9) })).toEqual([]);
  expect(await expire(archive.table, { ...options, now: clock(13.1) })).toHaveLength(1);
});

describe('leases', () => {
  /** A lake whose first four files were replaced by one, at day 1. */
  const replaced = async () => {
    const store = new LocalObjectStore(newRoot());
    const archive = await newArchive(store, startMs);
    await fill(archive, 1);
    const sources = (await archive.filesOf(0)).map(({ path }) => path);
    return {
      store,
      archive,
      sources,
      exists: (path: string) => existsSync(store.location(`${root}/${path}`)),
    };
  };
  const shortest = { retentionMs: retentionMinMs };

  it('a held file survives the shortest retention, and goes after the end of the lease', async () => {
    const { store, archive, sources, exists } = await replaced();
    const lease = await holdLease(archive.table, store, sources.slice(0, 2), clock(1));
    await compact(archive.table, store, database, { now: clock(1) });
    const other = new DeltaTable(store, root);
    const kept = await vacuum(other, store, database, { ...shortest, now: () => at(1) + retentionMinMs - 1 });
    expect([kept.removed, kept.held]).toEqual([[], 0]);
    // Renewed since, as a reader does that lives.
    await lease.release();
    const late = () => at(1) + 2 * retentionMinMs;
    const second = await holdLease(archive.table, store, [], late);
    const path = (await store.list(`${root}/_leases`))[0]?.name ?? '';
    const held = Buffer.from(JSON.stringify({ expiresMs: late() + 60_000, files: sources.slice(0, 2) }));
    await store.put(`${root}/_leases/${path}`, held);
    const done = await vacuum(other, store, database, { ...shortest, now: late });
    expect(done.held).toBe(2);
    expect(sources.map(exists)).toEqual([true, true, false, false]);
    await second.release();
    // Their tombstones have left the log: they are found all the same, as no version names them.
    const fresh = new DeltaTable(store, root);
    const after = await vacuum(fresh, store, database, { ...shortest, now: clock(3) });
    expect(after.orphans.map((file) => file.path).sort()).toEqual(sources.slice(0, 2).sort());
    expect(sources.map(exists)).toEqual([false, false, false, false]);
    expect(await store.list(`${root}/_leases`)).toEqual([]);
  });

  it('of a process that is gone, expires and is removed', async () => {
    const { store, archive, sources, exists } = await replaced();
    // A timer that never comes, as of a process that was killed.
    const lease = await holdLease(archive.table, store, sources, clock(1), 1_000_000_000);
    await compact(archive.table, store, database, { now: clock(1) });
    const done = await vacuum(archive.table, store, database, { ...shortest, now: clock(1.5) });
    expect(done).toMatchObject({ held: 0, leases: [expect.stringContaining('_leases/')] });
    expect(sources.map(exists)).toEqual([false, false, false, false]);
    expect(await store.list(`${root}/_leases`)).toEqual([]);
    await lease.release();
  });

  it('is renewed while it is held; where that fails for too long its holder is told', async () => {
    const { store, archive, sources } = await replaced();
    let nowMs = at(1);
    const lease = await holdLease(archive.table, store, sources, () => nowMs, 5);
    const expiry = async () => {
      const [found] = await store.list(`${root}/_leases`);
      const bytes = await store.get(`${root}/_leases/${found?.name}`);
      return (JSON.parse(Buffer.from(bytes ?? []).toString()) as { expiresMs: number }).expiresMs;
    };
    const first = await expiry();
    nowMs += 60_000;
    while ((await expiry()) < first + 60_000);
    expect(lease.signal.aborted).toBe(false);
    const lost = new Promise((resolve) => lease.signal.addEventListener('abort', resolve));
    store.put = () => Promise.reject(new Error('the disk is gone'));
    nowMs += 600_000;
    await lost;
    expect(lease.signal.aborted).toBe(true);
    await lease.release();
  });

  it('is refused for files that were replaced long ago, which vacuum may delete before it sees the lease', async () => {
    const { store, archive, sources } = await replaced();
    await compact(archive.table, store, database, { now: clock(1) });
    const soon = await holdLease(archive.table, store, sources, () => at(1) + retentionMinMs / 4);
    await soon.release();
    const late = holdLease(archive.table, store, sources, () => at(1) + retentionMinMs / 2);
    await expect(late).rejects.toMatchObject({ code: 'archive-behind', retryable: true });
    expect(await store.list(`${root}/_leases`)).toEqual([]);
  });

  it('history holds what it reads, until it has read or is left', async () => {
    const { store, archive } = await replaced();
    const history = new LakeHistory(archive, clicks, openDatabase);
    const held = async () => (await store.list(`${root}/_leases`)).length;
    let records = 0;
    for await (const batch of history.read(0, 5, 35)) {
      expect(await held()).toBe(1);
      records += batch.length;
    }
    expect([records, await held()]).toEqual([30, 0]);
    for await (const batch of history.read(0, 0, 40)) {
      expect(batch.length).toBeGreaterThan(0);
      break;
    }
    expect(await held()).toBe(0);
  });
});

it('what is no data is left alone: by us, what others have put there; by others, our leases and cold files', async () => {
  const store = new LocalObjectStore(newRoot(), newRoot());
  const archive = await newArchive(store, startMs);
  await fill(archive, 1);
  await tier(archive.table, store, { hotMs: dayMs, now: clock(2) });
  const lease = await holdLease(archive.table, store, []);
  const put = async (name: string) => {
    await store.put(`${root}/${name}`, Buffer.from('x'));
    return name;
  };
  const foreign = [await put('notes.txt'), await put('_spark_metadata/0'), await put('part-0.parquet')];
  const orphans = [await put('p0/7-8-x.parquet'), await put('cold/p1/_copying')];
  const removed = [...(await archive.table.refresh()).tombstones.keys()];
  expect(removed).toHaveLength(8);
  const others = await vacuumByOthers(store.location(root));
  // They delete only what no version names.
  expect(others.filter((path) => /_leases|_delta_log|_spark/.test(path))).toEqual([]);
  const live = (await archive.files()).map(({ path }) => path);
  expect(others.filter((path) => live.some((one) => path.endsWith(one)))).toEqual([]);
  expect(others).toContainEqual(expect.stringContaining('p0/7-8-x.parquet'));
  const young = await vacuum(archive.table, store, database, { now: () => Date.now(), dryRun: true });
  expect(young.orphans).toEqual([]);
  const done = await vacuum(archive.table, store, database, { now: clock(20) });
  expect(done.orphans.map(({ path }) => path).sort()).toEqual([...orphans].sort());
  expect(done.removed.map(({ path }) => path).sort()).toEqual(removed.sort());
  for (const path of foreign) expect(await store.get(`${root}/${path}`)).not.toBeNull();
  expect(await rowsOf(store, database)).toHaveLength(80);
  await lease.release();
});

it('what was removed stays as long as vacuum is told, whatever checkpoints appends write meanwhile', async () => {
  const store = new LocalObjectStore(newRoot());
  const archive = await newArchive(store, startMs);
  await fill(archive, 1);
  await compact(archive.table, store, database, { now: clock(2) });
  await archive.table.checkpointWhenDue(50, database);
  expect(await archive.table.lastCheckpoint()).toBe((await archive.table.refresh()).version);
  const vacuumAt = (days: number) =>
    vacuum(new DeltaTable(store, root), store, database, { retentionMs: 30 * dayMs, now: clock(days) });
  const early = await vacuumAt(31.5);
  expect([early.removed, early.orphans]).toEqual([[], []]);
  const late = await vacuumAt(32.5);
  expect([late.removed.length, late.orphans]).toEqual([8, []]);
}, 30_000);

describe('tiering', () => {
  it('discards a copy that is not the same, says so, and leaves the hot file where it was', async () => {
    const store = new LocalObjectStore(newRoot());
    const archive = await newArchive(store, startMs);
    await fill(archive, 1);
    const before = await rowsOf(store, database);
    const copyCold = store.copyCold.bind(store);
    let copied = 0;
    store.copyCold = async (from, to) => {
      await copyCold(from, to);
      if (++copied === 3) writeFileSync(store.location(to), 'what the other disk made of it');
    };
    const told: string[] = [];
    const options = { hotMs: dayMs, now: clock(2), onDamaged: (path: string) => told.push(path) };
    const done = await tier(archive.table, store, options);
    expect(done).toMatchObject({ damaged: [expect.stringMatching(/^p\d\//)] });
    expect(done.damaged).toEqual(told);
    expect(done.files).toHaveLength(7);
    expect((await archive.files()).filter((file) => !isCold(file)).map(({ path }) => path)).toEqual(told);
    const cold = await store.list(`${root}/cold`);
    expect(cold).toHaveLength(7);
    expect(await rowsOf(store, database)).toEqual(before);
  });

  it.each<[string, (folder: string, coldDir: string) => void, RegExp]>([
    ['a folder', (cold) => mkdirSync(cold), /is not a link to/],
    ['a link to elsewhere', (cold) => symlinkSync(tmpdir(), cold), /is not a link to/],
    [
      "a link to a folder that is nobody's own",
      (cold, dir) => symlinkSync(join(dir, root), cold),
      /is not a link to/,
    ],
    [
      'a link to a disk that is away',
      (cold, dir) => symlinkSync(`${join(dir, root)}-${randomUUID()}`, cold),
      /is not there/,
    ],
  ])('is refused with one line where the cold folder is %s', async (_name, prepare, line) => {
    const [lake, coldDir] = [newRoot(), newRoot()];
    const store = new LocalObjectStore(lake, coldDir);
    const archive = await newArchive(store, startMs);
    await fill(archive, 1);
    prepare(store.location(`${root}/cold`), coldDir);
    const refused = tier(archive.table, store, { hotMs: dayMs, now: clock(2) });
    const error = await refused.catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'invalid-config' });
    expect((error as Error).message).toMatch(line);
    expect(await rowsOf(store, database)).toHaveLength(80);
  });

  it("of two lakes to one disk: neither takes the other's cold files for its orphans", async () => {
    const coldDir = newRoot();
    const stores = [new LocalObjectStore(newRoot(), coldDir), new LocalObjectStore(newRoot(), coldDir)];
    const rows: string[][] = [];
    for (const store of stores) {
      const archive = await newArchive(store, startMs);
      await fill(archive, 1);
      rows.push(await rowsOf(store, database));
      expect((await tier(archive.table, store, { hotMs: dayMs, now: clock(2) })).files).toHaveLength(8);
    }
    for (const store of stores) {
      const inTenDays = () => Date.now() + 10 * dayMs;
      const done = await vacuum(new DeltaTable(store, root), store, database, { now: inTenDays });
      expect([done.removed.length, done.orphans]).toEqual([8, []]);
    }
    expect(await Promise.all(stores.map((store) => rowsOf(store, database)))).toEqual(rows);
  });

  it('by several processes of one lake at once: they use one folder, and leave no other', async () => {
    const [lake, coldDir] = [newRoot(), newRoot()];
    const first = new LocalObjectStore(lake);
    for (let i = 0; i < 8; i++) await first.put(`${root}/p0/${i}`, Buffer.from(`${i}`));
    const copies = Array.from({ length: 8 }, (_, i) =>
      new LocalObjectStore(lake, coldDir).copyCold(`${root}/p0/${i}`, `${root}/cold/p0/${i}`),
    );
    await Promise.all(copies);
    expect((await first.list(`${root}/cold`)).map(({ name }) => name)).toHaveLength(8);
    expect(readdirSync(join(coldDir, clicks.name))).toHaveLength(1);
  });
});
