/**
 * Maintenance of the lake in any order, cut short anywhere, or all at once, on a disk and in a bucket: no row is lost and none is there
 * twice, what a lease holds can be read, and in the end vacuum leaves nothing behind.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { ArchiveTable } from '../../batch/archive-table.ts';
import { compact } from '../../batch/compaction.ts';
import { DeltaTable } from '../../batch/delta-log.ts';
import { expire } from '../../batch/expiry.ts';
import { isCold } from '../../batch/file-statistics.ts';
import { holdLease } from '../../batch/lease.ts';
import type { Lease } from '../../batch/lease.ts';
import { tier } from '../../batch/tiering.ts';
import { vacuum } from '../../batch/vacuum.ts';
import { DuckDb } from '../../clients/duckdb.ts';
import { LocalObjectStore } from '../../clients/object-store.ts';
import { clicks } from '../support/commit-writer.ts';
import { append, dayMs, MortalStore, newArchive, rowsOf } from '../support/lake-tables.ts';
import { readByOthers } from '../support/lake-readers.ts';
import { lakeKinds, useLakes } from '../support/lakes.ts';
import type { Lake } from '../support/lakes.ts';

const root = `${clicks.name}/events`;
const startMs = Math.floor(Date.now() / dayMs) * dayMs;
const clock = (days: number) => () => startMs + days * dayMs;
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
  folder = mkdtempSync(join(tmpdir(), 'reckon-any-order-'));
  database = await openDatabase();
});
afterAll(() => {
  for (const one of databases) one.close();
  rmSync(folder, { recursive: true, force: true });
});
let lakes = 0;
const newRoot = () => join(folder, `lake-${++lakes}`);
const newLake = useLakes();

/** Data files that lie there and no version names, scratch files, leases. */
async function leftBehind({ store, scratch }: Lake): Promise<string[]> {
  const live = new Set((await new ArchiveTable(store, clicks).files()).map(({ path }) => path));
  const found = (await store.list(root)).map(({ name }) => name);
  return [...found.filter((path) => !path.startsWith('_delta_log/') && !live.has(path)), ...scratch()];
}

const move = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('append' as const), partition: fc.nat(1) }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('wait' as const), hours: fc.integer({ min: 1, max: 40 }) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom('compact' as const, 'tier' as const, 'vacuum' as const, 'expire' as const),
      /** Where it is killed; most are not. */
      killAt: fc.oneof(
        { weight: 2, arbitrary: fc.constant(Infinity) },
        { weight: 1, arbitrary: fc.integer({ min: 1, max: 12 }) },
      ),
      after: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.constantFrom({ kind: 'hold' as const }, { kind: 'release' as const }) },
);

type Move = typeof move extends fc.Arbitrary<infer T> ? T : never;
const whole = { killAt: Infinity, after: false };
/** One history that holds, moves, expires and is killed, so that the property never rests on what chance brings. */
const everyKind: Move[] = [
  { kind: 'append', partition: 0 },
  { kind: 'hold' },
  { kind: 'wait', hours: 40 },
  { kind: 'append', partition: 1 },
  { kind: 'append', partition: 1 },
  { kind: 'wait', hours: 40 },
  { kind: 'compact', killAt: 1, after: false },
  { kind: 'compact', ...whole },
  { kind: 'expire', ...whole },
  { kind: 'tier', ...whole },
  { kind: 'vacuum', ...whole },
];

it('in any order, killed anywhere: every offset that has not expired is there once, and what a lease holds can be read', async () => {
  const seen = { expired: 0, held: 0, cold: 0, killed: 0 };
  await fc.assert(
    fc.asyncProperty(fc.array(move, { minLength: 10, maxLength: 40 }), async (moves) => {
      const lake = newRoot();
      const store = new LocalObjectStore(lake);
      let nowMs = startMs;
      const now = () => nowMs;
      const archive = await newArchive(store, nowMs);
      const next = [0, 0];
      let lease: { readonly lease: Lease; readonly files: readonly string[] } | null = null;
      for (const one of moves) {
        if (one.kind === 'append') {
          const from = next[one.partition] as number;
          await append(archive, database, { partition: one.partition, from, count: 3, atMs: nowMs, nowMs });
          next[one.partition] = from + 3;
        } else if (one.kind === 'wait') nowMs += one.hours * 3_600_000;
        else if (one.kind === 'hold' && lease === null) {
          const files = (await archive.files()).map(({ path }) => path);
          // Renewed at once, whenever the clock moves on.
          lease = {
            files,
            lease: await holdLease(archive.table, store, files, () => nowMs + 365 * dayMs, 1e9),
          };
        } else if (one.kind === 'release') {
          await lease?.lease.release();
          lease = null;
        } else if ('killAt' in one) {
          const mortal = new MortalStore(lake, one.killAt, one.after);
          const table = new DeltaTable(mortal, root);
          const work = {
            compact: () => compact(table, mortal, database, { now }),
            tier: () => tier(table, mortal, { hotMs: dayMs, now }),
            vacuum: () => vacuum(table, mortal, database, { now, retentionMs: 3_600_000 }),
            expire: () => expire(table, { lakeMs: 3 * dayMs, now }),
          };
          await work[one.kind]().catch((error: Error) => {
            if (error.message !== 'killed') throw error;
            seen.killed++;
          });
        }
        // 1. Every offset from where it expired to the end, once.
        const expired = await new ArchiveTable(store, clicks).expired();
        const rows = (await rowsOf(store, database)).map((row) => row.split(':').slice(0, 2).join(':'));
        const wanted = next.flatMap((end, partition) => {
          const first = expired.get(partition)?.nextOffset ?? 0;
          expect(expired.get(partition)?.rows ?? 0).toBe(first);
          return Array.from({ length: end - first }, (_, i) => `${partition}:${first + i}`);
        });
        expect(rows).toEqual(wanted);
        // 2. What is held is there, whatever became of it.
        if (lease !== null) await store.localCopies(lease.files.map((path) => `${root}/${path}`));
        seen.held += lease === null ? 0 : lease.files.length;
        seen.expired += expired.size;
      }
      seen.cold += (await archive.files()).filter(isCold).length;
      await lease?.lease.release();
      rmSync(lake, { recursive: true });
    }),
    { numRuns: 25, examples: [[everyKind]] },
  );
  for (const [what, times] of Object.entries(seen)) expect([what, times > 0]).toEqual([what, true]);
}, 240_000);

it.each(lakeKinds)(
  '8 appenders, a compactor, a tierer and a vacuum at once on %s: no row is lost, none is there twice',
  async (kind) => {
    const lake = await newLake(kind);
    const { store, connection } = lake;
    // Archived long ago, as far as ages go; on the disk they are new, so that nothing under way looks like an orphan.
    const baseMs = Date.now();
    const archivedMs = baseMs - 2 * dayMs;
    await newArchive(store, archivedMs);
    const each = 12;
    let appending = 8;
    const appenders = Array.from({ length: 8 }, async (_, partition) => {
      const own = new ArchiveTable(store, clicks);
      const using = await openDatabase();
      for (let i = 0; i < each; i++)
        await append(own, using, { partition, from: 5 * i, count: 5, atMs: archivedMs, nowMs: archivedMs });
      appending--;
    });
    const done = { compacted: 0, tiered: 0, vacuumed: 0 };
    const [compactor, tierer, sweeper] = [
      await openDatabase(),
      new DeltaTable(store, root),
      await openDatabase(),
    ];
    // Round by round, so that what one has removed is old enough to go while the next ones are at work.
    for (let round = 0; appending > 0 || round < 3; round++) {
      const now = () => baseMs + Math.min(round, 20) * 65 * 60_000;
      const [compacted, tiered, vacuumed] = await Promise.all([
        compact(new DeltaTable(store, root), store, compactor, { now }),
        tier(tierer, store, { hotMs: dayMs, now }),
        vacuum(new DeltaTable(store, root), store, sweeper, { now, retentionMs: 3_600_000 }),
      ]);
      done.compacted += compacted.removed;
      done.tiered += tiered.files.length;
      done.vacuumed += vacuumed.removed.length;
    }
    await Promise.all(appenders);
    const rows = (await rowsOf(store, database)).map((row) => row.split(':').slice(0, 2).join(':'));
    const all = Array.from({ length: 8 }, (_, p) => Array.from({ length: 5 * each }, (__, o) => `${p}:${o}`));
    expect(rows).toEqual(all.flat());
    for (const [what, times] of Object.entries(done)) expect([what, times > 0]).toEqual([what, true]);
    for (const days of [40, 60])
      await vacuum(new DeltaTable(store, root), store, database, { now: clock(days) });
    expect(await leftBehind(lake)).toEqual([]);
    const sums = { rows: all.flat().length, sums: { _offset: String((8 * 5 * each * (5 * each - 1)) / 2) } };
    const others = await readByOthers(store.location(root), ['_offset'], connection);
    expect(others).toMatchObject({ deltaRs: sums, duckDb: sums });
  },
  120_000,
);
