/**
 * The batch view: whatever the order in which records were archived, compacted and published, its tables hold the windows that a naive
 * model finds in the whole log; days that did not change are not written again; delta-rs and DuckDB's extension read the same.
 * RECKON_SEED repeats a failure.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { compact } from '../../batch/compaction.ts';
import { expire } from '../../batch/expiry.ts';
import { publishViews } from '../../batch/view.ts';
import { DuckDb } from '../../clients/duckdb.ts';
import { LocalObjectStore } from '../../clients/object-store.ts';
import { readByOthers } from '../support/lake-readers.ts';
import {
  aggregateOf,
  firstMs,
  horizonMs,
  hour,
  latenessMs,
  nowMs,
  outOfOrderMs,
  pipeline,
  SalesLake,
} from '../support/sales.ts';
import type { Sale } from '../support/sales.ts';

const seed = Number(process.env['RECKON_SEED'] ?? Date.now() % 2 ** 31);
let folder: string;
let database: DuckDb;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'reckon-view-'));
  database = await DuckDb.open({ memoryLimit: '256MB', threads: 1, tempDirectory: join(folder, 'spill') });
});
afterAll(() => {
  database.close();
  rmSync(folder, { recursive: true, force: true });
});

/** What rules 2 and 3 make of a log: the sales that count, each with the watermark at its record. */
function judged(log: readonly Sale[]) {
  return log.flatMap((sale, i) => {
    const logTime = (end: number) => Math.max(...log.slice(0, end).map(({ stampMs }) => stampMs));
    const before = log.findLastIndex(({ id }, j) => j < i && id === sale.id);
    if (before >= 0 && logTime(i + 1) - logTime(before + 1) <= horizonMs) return [];
    return [{ ...sale, watermark: Math.max(...log.slice(0, i).map(({ timeMs }) => timeMs)) - outOfOrderMs }];
  });
}

/** `<start> <end> <shop>` → sales, of the windows that are closed; `late` ones with or without. */
function naiveWindows(name: string, logs: readonly (readonly Sale[])[], closedMs: number, withLate: boolean) {
  const { window, groupBy, allowedLatenessMs } = aggregateOf(name);
  expect(allowedLatenessMs).toBe(latenessMs);
  const sales = logs.flatMap(judged);
  const onTime = (endMs: number, watermark: number) => withLate || endMs + latenessMs > watermark;
  const groupOf = ({ shop }: Sale) => (groupBy.length === 0 ? '' : shop);
  const windows = new Map<string, Sale[]>();
  const put = (startMs: number, endMs: number, sale: Sale) => {
    const key = `${startMs} ${endMs} ${groupOf(sale)}`;
    windows.set(key, [...(windows.get(key) ?? []), sale]);
  };
  if (window.kind === 'session') {
    for (const shop of new Set(sales.map(groupOf))) {
      const own = sales
        .filter((sale) => groupOf(sale) === shop && onTime(sale.timeMs + window.gapMs, sale.watermark))
        .sort((a, b) => a.timeMs - b.timeMs);
      let session: Sale[] = [];
      const close = () => {
        const [first, last] = [session[0], session.at(-1)];
        if (first && last && last.timeMs + 2 * window.gapMs + latenessMs <= closedMs)
          for (const sale of session) put(first.timeMs, last.timeMs + window.gapMs, sale);
        session = [];
      };
      for (const sale of own) {
        if (session.length > 0 && sale.timeMs - (session.at(-1) as Sale).timeMs > window.gapMs) close();
        session.push(sale);
      }
      close();
    }
    return windows;
  }
  const slideMs = window.kind === 'hopping' ? window.slideMs : window.sizeMs;
  for (const sale of sales)
    for (
      let startMs = Math.floor(sale.timeMs / slideMs) * slideMs;
      startMs > sale.timeMs - window.sizeMs;
      startMs -= slideMs
    ) {
      const endMs = startMs + window.sizeMs;
      if (onTime(endMs, sale.watermark) && endMs + latenessMs <= closedMs) put(startMs, endMs, sale);
    }
  return windows;
}

/** Half to even, four digits more than the field's two. */
const meanOf = (sales: readonly Sale[]) => {
  const [sum, count] = [sales.reduce((total, { cents }) => total + cents, 0), sales.length];
  return sum / count / 100;
};

const sale = fc.record({
  /** Hours that the clock goes on before it, and that it is behind the clock. */
  tick: fc.oneof({ weight: 6, arbitrary: fc.integer({ min: 0, max: 3 }) }, fc.constantFrom(11, 30, 80)),
  behind: fc.oneof({ weight: 5, arbitrary: fc.nat(2) }, fc.constantFrom(5, 8, 20, 50, 100)),
  shop: fc.constantFrom('a', 'b'),
  cents: fc.constantFrom(5, 100, 250),
  repeats: fc.option(fc.nat(8), { freq: 4 }),
});
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('append' as const),
      partition: fc.nat(1),
      sales: fc.array(sale, { minLength: 1, maxLength: 8 }),
    }),
  },
  { weight: 3, arbitrary: fc.constant({ kind: 'publish' as const }) },
  { weight: 2, arbitrary: fc.constant({ kind: 'compact' as const }) },
);

it(`holds the windows of the whole log, strict and complete, however it came about (seed ${seed})`, async () => {
  let [lateSeen, windowsSeen] = [0, 0];
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 6, maxLength: 14 }), async (steps) => {
      const lake = new SalesLake(folder, database);
      const clocks = [firstMs, firstMs];
      let closedMs = Number.NEGATIVE_INFINITY;
      const publish = async () => {
        await lake.publish();
        const begun = lake.logs.filter((log) => log.length > 0);
        const newest = begun.map((log) => Math.max(...log.map(({ timeMs }) => timeMs)));
        if (begun.length > 0) closedMs = Math.max(closedMs, Math.min(...newest) - outOfOrderMs);
      };
      for (const one of steps)
        if (one.kind === 'publish') await publish();
        else if (one.kind === 'compact')
          await compact(lake.archive.table, lake.store, database, { now: () => nowMs });
        else {
          const log = lake.logs[one.partition] as Sale[];
          const fresh: Sale[] = [];
          for (const { tick, behind, shop, cents, repeats } of one.sales) {
            const clock = (clocks[one.partition] = (clocks[one.partition] as number) + tick * hour);
            const at = log.length + fresh.length;
            const repeated = repeats === null ? undefined : [...log, ...fresh][at - 1 - repeats];
            fresh.push({
              id: repeated?.id ?? `${one.partition}-${at}`,
              timeMs: clock - behind * hour,
              stampMs: clock,
              shop: `${shop}${one.partition}`,
              cents,
            });
          }
          await lake.append(one.partition, fresh);
        }
      await publish();
      // Nothing is left to do.
      if (lake.logs.some((log) => log.length > 0))
        expect((await lake.publish()).map(({ days }) => days)).toEqual([0, 0, 0, 0]);
      for (const { name, groupBy } of pipeline.aggregates) {
        const strict = naiveWindows(name, lake.logs, closedMs, false);
        const complete = naiveWindows(name, lake.logs, closedMs, true);
        const expected = new Map<string, { n: string; complete_n: string }>();
        for (const key of new Set([...strict.keys(), ...complete.keys()]))
          expected.set(key, {
            n: strict.get(key)?.length.toString() ?? '0',
            complete_n: complete.get(key)?.length.toString() ?? '0',
          });
        const rows = await lake.rows(name);
        const found = rows.map(
          (row) =>
            [
              `${row['start']} ${row['end']} ${groupBy.length === 0 ? '' : row['shop']}`,
              { n: row['n'], complete_n: row['complete_n'] },
            ] as const,
        );
        expect([...found].sort(byKey)).toEqual([...expected].sort(byKey));
        for (const [i, row] of rows.entries()) {
          const sales = strict.get(found[i]?.[0] ?? '') ?? [];
          const cents = sales.reduce((sum, one) => sum + one.cents, 0);
          if (name === 'hourly')
            expect(row['total']).toBe(sales.length === 0 ? null : (cents / 100).toFixed(2));
          if (name === 'long')
            expect(row['prices']).toBe(String(new Set(sales.map((one) => one.cents)).size));
          if (name === 'hops' && sales.length > 0)
            expect(Math.abs(Number(row['mean']) - meanOf(sales))).toBeLessThanOrEqual(5e-7);
          windowsSeen++;
          if (row['n'] !== row['complete_n']) lateSeen++;
        }
      }
    }),
    { numRuns: Number(process.env['RECKON_RUNS'] ?? 25), seed },
  );
  expect(windowsSeen).toBeGreaterThan(100);
  expect(lateSeen).toBeGreaterThan(5);
}, 180_000);

const byKey = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]) =>
  a < b ? -1 : Number(a > b);

it('a day without new events keeps its file; others read the same rows', async () => {
  const lake = new SalesLake(folder, database);
  const sales = Array.from({ length: 200 }, (_, i): Sale => ({
    id: `s${i}`,
    timeMs: firstMs + i * hour,
    stampMs: firstMs + i * hour,
    shop: 'a',
    cents: 100 + i,
  }));
  await lake.append(0, sales.slice(0, 100));
  await lake.publish();
  const { table } = lake.viewOf('hourly');
  const before = new Set((await table.refresh()).files.keys());
  expect(before.size).toBe(4);
  await lake.append(0, sales.slice(100));
  await lake.publish();
  const after = [...(await table.refresh()).files.keys()];
  // The first three days are closed, and nothing of them is new; the fourth has windows that close only now.
  expect(after.filter((path) => before.has(path))).toHaveLength(3);
  const rows = await lake.rows('hourly');
  // Closed: those that end two hours (disorder) and four (lateness) before the newest event.
  expect(rows).toHaveLength(193);
  const counts = {
    n: '193',
    complete_n: '193',
    total: rows.reduce((sum, row) => sum + Number(row['total']), 0).toFixed(2),
  };
  const others = await readByOthers(lake.store.location(table.root), ['n', 'complete_n', 'total']);
  expect(others.deltaRs).toEqual({ rows: 193, sums: counts });
  expect(others.duckDb).toEqual({ rows: 193, sums: counts });
}, 120_000);

it('windows of which records have expired stay as they were published, also where late ones come', async () => {
  const lake = new SalesLake(folder, database);
  const at = (i: number): Sale => {
    const timeMs = firstMs + i * hour;
    return { id: `s${i}`, timeMs, stampMs: timeMs, shop: 'a', cents: 100 + i };
  };
  const sales = Array.from({ length: 200 }, (_, i) => at(i));
  const days = (count: number) => nowMs - count * 24 * hour;
  await lake.append(0, sales.slice(0, 60), days(5));
  for (let i = 60; i < 200; i += 20) await lake.append(0, sales.slice(i, i + 20));
  await lake.publish();
  const names = pipeline.aggregates.map(({ name }) => name);
  const before = await Promise.all(names.map((name) => lake.rows(name)));
  expect(await expire(lake.archive.table, { lakeMs: 24 * hour, now: () => nowMs })).toHaveLength(1);
  // Days of expired records, and those whose records may repeat one of their ids, stay; a later day takes a late record, too.
  const late = [10, 50, 130].map((i) => ({ ...at(i), id: `late-${i}`, stampMs: sales.at(-1)?.stampMs ?? 0 }));
  await lake.append(0, [...late, ...Array.from({ length: 30 }, (_, i) => at(200 + i))]);
  await lake.publish();
  const expiredUpTo = Date.UTC(2026, 0, 15);
  const isOld = ({ start }: Record<string, string | null>) => Number(start) < expiredUpTo;
  const sorted = (rows: readonly unknown[]) => rows.map((row) => JSON.stringify(row)).sort();
  for (const [i, name] of names.entries()) {
    const after = await lake.rows(name);
    const old = (before[i] ?? []).filter(isOld);
    expect(old.length > 0 || name === 'visits').toBe(true);
    expect(sorted(after.filter(isOld))).toEqual(sorted(old));
  }
  const hourly = (await lake.rows('hourly')).filter((row) => !isOld(row));
  const closedMs = at(229).timeMs - outOfOrderMs;
  const wanted = [...naiveWindows('hourly', lake.logs, closedMs, true)].filter(
    ([key]) => !isOld({ start: key.split(' ')[0] ?? '' }),
  );
  expect(
    hourly.map((row) => [`${row['start']} ${row['end']} ${row['shop']}`, row['complete_n']]).sort(),
  ).toEqual(wanted.map(([key, list]) => [key, String(list.length)]).sort());
  expect(hourly.filter((row) => row['n'] !== row['complete_n'])).toHaveLength(1);
  expect((await lake.publish()).map(({ days: written }) => written)).toEqual([0, 0, 0, 0]);
}, 120_000);

/** Hours after the first one; the broker's clock is further on. */
const saleAt = (id: string, hours: number, shop = 'a'): Sale => ({
  id,
  timeMs: firstMs + hours * hour,
  stampMs: firstMs + 600 * hour,
  shop,
  cents: 100,
});

it('a late event that joins a session of the next day takes it along: nothing is there twice', async () => {
  const lake = new SalesLake(folder, database);
  await lake.append(0, [saleAt('x', 25), saleAt('y', 26), saleAt('z', 150)]);
  await lake.publish();
  expect(await lake.rows('visits')).toMatchObject([{ n: '2', complete_n: '2' }]);
  await lake.append(0, [saleAt('late', 20)]);
  await lake.publish();
  const sums = (rows: readonly Record<string, string | null>[], column: string) =>
    rows.reduce((sum, row) => sum + Number(row[column]), 0);
  const rows = await lake.rows('visits');
  expect([sums(rows, 'n'), sums(rows, 'complete_n')]).toEqual([2, 3]);
});

it('a publisher that was overtaken does not take back what the faster one has closed', async () => {
  const lake = new SalesLake(folder, database);
  await lake.append(0, [saleAt('x', 521), saleAt('z', 523)]);
  await lake.publish();
  expect(await lake.rows('hourly')).toEqual([]);
  let overtaken = 0;
  class SlowStore extends LocalObjectStore {
    override async adopt(file: string, path: string): Promise<number> {
      // All partitions are idle, so that the clock closes windows: more of them for the faster one.
      if (path.includes('aggregates/hourly') && overtaken++ === 0) {
        const other = await DuckDb.open({
          memoryLimit: '256MB',
          threads: 1,
          tempDirectory: join(folder, 'spill'),
        });
        await lake.publish(nowMs + 3 * hour, lake.store, other).finally(() => other.close());
      }
      return super.adopt(file, path);
    }
  }
  await lake.publish(nowMs + 120_000, new SlowStore(lake.store.url));
  expect(overtaken).toBeGreaterThan(0);
  expect(await lake.rows('hourly')).toHaveLength(2);
});

it('windows of another definition are never mixed into a view', async () => {
  const lake = new SalesLake(folder, database);
  await lake.append(0, [saleAt('x', 1), saleAt('z', 150)]);
  await lake.publish();
  const hourly = aggregateOf('hourly');
  const changed = {
    ...pipeline,
    aggregates: [{ ...hourly, window: { kind: 'tumbling', sizeMs: 2 * hour } as const }],
  };
  const { store, archive } = lake;
  await expect(
    publishViews({ store, archive, pipeline: changed, database }, { nowMs }),
  ).rejects.toMatchObject({
    code: 'invalid-definition',
    message: 'aggregates.hourly: its batch view in the lake was published by another definition.',
  });
});
