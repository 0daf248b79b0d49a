/**
 * What vacuum deletes, what becomes cold and what expires, as plans: for any table, any listing and any leases nothing goes that
 * somebody may still read, and of a partition the oldest offsets go first.
 */
import * as fc from 'fast-check';
import { noTable, SnapshotBuilder } from '../../batch/delta-actions.ts';
import { addExpired, planExpiry } from '../../batch/expiry.ts';
import type { DataFile } from '../../batch/file-statistics.ts';
import { ageFromMs, isCold } from '../../batch/file-statistics.ts';
import { retentionMinMs } from '../../batch/lease.ts';
import { planTiering } from '../../batch/tiering.ts';
import { planVacuum } from '../../batch/vacuum.ts';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const nowMs = Date.UTC(2026, 0, 1);
const name: fc.Arbitrary<string> = fc.constantFrom(
  'p0/a',
  'p1/b',
  'p12/c',
  'cold/p0/d',
  'cold/p3/e',
  '_leases/x',
  '_delta_log/0',
  'notes',
  'px/f',
);
const agoMs = fc.oneof(
  fc.integer({ min: -hourMs, max: 3 * hourMs }),
  fc.integer({ min: 0, max: 20 * dayMs }),
);
const table = fc.record({
  live: fc.uniqueArray(name, { maxLength: 4 }),
  removed: fc.uniqueArray(fc.record({ path: name, agoMs }), { selector: ({ path }) => path }),
  listed: fc.uniqueArray(fc.record({ path: name, agoMs }), { selector: ({ path }) => path }),
  leases: fc.array(
    fc.record({
      files: fc.oneof(
        { weight: 9, arbitrary: fc.array(name) },
        { weight: 1, arbitrary: fc.constant('all' as const) },
      ),
      isExpired: fc.boolean(),
    }),
    { maxLength: 3 },
  ),
  retentionMs: fc.constantFrom(0, hourMs, dayMs, 7 * dayMs),
});

it('vacuum deletes data that was removed, or never committed, long enough ago; never what is live, held or not its own', () => {
  const seen = { removed: 0, orphans: 0, held: 0, kept: 0 };
  fc.assert(
    fc.property(table, ({ live, removed, listed, leases, retentionMs }) => {
      const builder = new SnapshotBuilder(noTable);
      for (const { path, agoMs } of removed)
        builder.apply(1, [{ remove: { path, deletionTimestamp: nowMs - agoMs, dataChange: true } }]);
      for (const path of live)
        builder.apply(2, [
          { add: { path, partitionValues: {}, size: 1, modificationTime: 1, dataChange: true } },
        ]);
      const listing = listed.map(({ path, agoMs }) => ({ name: path, modifiedMs: nowMs - agoMs, bytes: 5 }));
      const given = leases.map((lease, i) => ({ ...lease, path: `_leases/${i}` }));
      const plan = planVacuum(builder.build(), listing, given, retentionMs, nowMs);
      const doomed = new Set([...plan.removed, ...plan.orphans].map(({ path }) => path));
      const isHeld = (path: string) =>
        leases.some(({ files, isExpired }) => !isExpired && (files === 'all' || files.includes(path)));
      for (const { path, agoMs } of listed) {
        const tombstone = removed.find((file) => file.path === path);
        const isOld = tombstone
          ? tombstone.agoMs > Math.max(retentionMs, retentionMinMs)
          : agoMs > Math.max(retentionMs, dayMs);
        const wanted = /^(cold\/)?p\d+\//.test(path) && !live.includes(path) && isOld;
        expect([path, doomed.has(path)]).toEqual([path, wanted && !isHeld(path)]);
        if (!wanted) seen.kept++;
      }
      expect(plan.removed.every(({ path }) => removed.some((file) => file.path === path))).toBe(true);
      expect(doomed.size).toBeLessThanOrEqual(listed.length);
      expect(plan.leases).toEqual(given.filter(({ isExpired }) => isExpired).map(({ path }) => path));
      seen.removed += plan.removed.length;
      seen.orphans += plan.orphans.length;
      seen.held += plan.held;
    }),
    { numRuns: 1_000 },
  );
  for (const [what, times] of Object.entries(seen)) expect([what, times > 20]).toEqual([what, true]);
});

const files = fc
  .array(
    fc.record({
      partition: fc.nat(2),
      archivedAgoMs: fc.integer({ min: 0, max: 20 * dayMs }),
      newestAgoMs: fc.oneof(
        fc.integer({ min: -400 * dayMs, max: 0 }),
        fc.integer({ min: 0, max: 9_000 * dayMs }),
      ),
      cold: fc.boolean(),
      bytes: fc.integer({ min: 1, max: 900 << 20 }),
      maxTimeMs: fc.oneof(fc.constant(-Infinity), fc.integer({ min: -1e12, max: 1e12 })),
    }),
    { maxLength: 200 },
  )
  .map((all) =>
    all
      .map(({ partition, archivedAgoMs, newestAgoMs, cold, bytes, maxTimeMs }, i): DataFile => ({
        path: `${cold ? 'cold/' : ''}p${partition}/${i}`,
        partition,
        firstOffset: 10 * i,
        lastOffset: 10 * i + 4,
        rows: 5,
        minTimeMs: 0,
        maxTimeMs,
        oldestMs: 0,
        newestMs: nowMs - newestAgoMs,
        archivedMs: nowMs - archivedAgoMs,
        bytes,
      }))
      .sort((a, b) => a.partition - b.partition || a.firstOffset - b.firstOffset),
  );

it('of a partition the first files expire, up to the first that is young; what is known of them adds up, however they went', () => {
  let expired = 0;
  fc.assert(
    fc.property(files, fc.integer({ min: 0, max: 20 }), fc.nat(200), (all, days, cut) => {
      const gone = planExpiry(all, days * dayMs, nowMs);
      expired += gone.length;
      for (const partition of [0, 1, 2]) {
        const own = all.filter((file) => file.partition === partition);
        const went = gone.filter((file) => file.partition === partition);
        expect(went).toEqual(own.slice(0, went.length));
        expect(went.every((file) => ageFromMs(file) < nowMs - days * dayMs)).toBe(true);
        const next = own[went.length];
        if (next !== undefined) expect(ageFromMs(next)).toBeGreaterThanOrEqual(nowMs - days * dayMs);
        const known = addExpired(new Map(), gone).get(partition);
        expect(known).toEqual(
          went.length === 0
            ? undefined
            : {
                nextOffset: (went.at(-1)?.lastOffset ?? 0) + 1,
                maxTimeMs: went.some(({ maxTimeMs }) => maxTimeMs > -Infinity)
                  ? Math.max(...went.map(({ maxTimeMs }) => maxTimeMs))
                  : null,
                logTimeMs: Math.max(...went.map(({ newestMs }) => newestMs)),
                rows: 5 * went.length,
              },
        );
      }
      const inTwo = addExpired(addExpired(new Map(), gone.slice(0, cut)), gone.slice(cut));
      expect(inTwo).toEqual(addExpired(new Map(), gone));
    }),
    { numRuns: 300 },
  );
  expect(expired).toBeGreaterThan(300);
});

it('all that is hot and old enough becomes cold, in bounded groups; a clock that is ahead holds a file for a day at most', () => {
  fc.assert(
    fc.property(files, fc.integer({ min: 0, max: 20 }), (all, days) => {
      const groups = planTiering(all, days * dayMs, nowMs);
      const wanted = all.filter((file) => !isCold(file) && ageFromMs(file) < nowMs - days * dayMs);
      expect(groups.flat()).toEqual(wanted);
      for (const group of groups) {
        expect(group.length).toBeLessThanOrEqual(64);
        const bytes = group.reduce((sum, file) => sum + file.bytes, 0);
        expect(group.length === 1 || bytes <= 1 << 30).toBe(true);
      }
      for (const file of all)
        if (file.archivedMs < nowMs - (days + 1) * dayMs && !isCold(file)) expect(wanted).toContain(file);
    }),
    { numRuns: 300 },
  );
});
