/**
 * The batch view: whatever the order in which records were archived, compacted and published, its tables hold the windows that a naive
 * model finds in the whole log; days that did not change are not written again; delta-rs and DuckDB's extension read the same.
 * RECKON_SEED repeats a failure.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { ArchiveTable } from '../../batch/archive-table.ts';
import { compact } from '../../batch/compaction.ts';
import { eventColumns, RowBuffer } from '../../batch/event-table.ts';
import { expire } from '../../batch/expiry.ts';
import { publishViews } from '../../batch/view.ts';
import { ViewTable } from '../../batch/view-table.ts';
import { DuckDb, quotePath } from '../../clients/duckdb.ts';
import { readUtf8 } from '../../clients/kafka.ts';
import { LocalObjectStore } from '../../clients/object-store.ts';
import { createDecoder } from '../../domain/decode.ts';
import { definePipeline } from '../../domain/pipeline.ts';
import { readByOthers } from '../support/lake-readers.ts';

const seed = Number(process.env['RECKON_SEED'] ?? Date.now() % 2 ** 31);
const hour = 3_600_000;
const firstMs = Date.UTC(2026, 0, 10);
const nowMs = Date.UTC(2026, 1, 1);
const pipeline = definePipeline({
  name: 'sales',
  event: {
    schema: {
      type: 'object',
      required: ['id', 'at', 'shop', 'price'],
      properties: {
        id: { type: 'string' },
        at: { type: 'integer' },
        shop: { type: 'string' },
        price: { type: 'number' },
      },
    },
    id: 'id',
    key: 'shop',
    time: { field: 'at', format: 'epoch-ms' },
    decimals: { price: 2 },
  },
  aggregates: {
    hourly: {
      window: { tumbling: '1h' },
      groupBy: 'shop',
      measures: { n: 'count', total: { sum: 'price' } },
    },
    long: { window: { tumbling: '3d' }, measures: { n: 'count', prices: { distinct: 'price' } } },
    hops: {
      window: { hopping: '36h', slide: '12h' },
      groupBy: 'shop',
      measures: { n: 'count', mean: { avg: 'price' } },
    },
    visits: {
      window: { session: '9h' },
      groupBy: 'shop',
      measures: { n: 'count', top: { topK: 'price', k: 2 } },
    },
  },
  outOfOrder: '2h',
  allowedLateness: '4h',
  dedupHorizon: '20h',
  maxFuture: '1d',
});
const [outOfOrderMs, latenessMs, horizonMs] = [2 * hour, 4 * hour, 20 * hour];
const decode = createDecoder(pipeline, readUtf8);

interface Sale {
  readonly id: string;
  readonly timeMs: number;
  readonly stampMs: number;
  readonly shop: string;
  readonly cents: number;
}

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

let lakes = 0;
class Lake {
  readonly store = new LocalObjectStore(join(folder, `lake-${++lakes}`));
  readonly archive = new ArchiveTable(this.store, pipeline);
  readonly logs: Sale[][] = [[], []];

  async append(partition: number, sales: readonly Sale[], archivedMs = nowMs): Promise<void> {
    await this.archive.create(null, nowMs);
    const log = this.logs[partition] as Sale[];
    const rows = new RowBuffer(eventColumns(pipeline));
    const expectedOffset = log.length;
    for (const sale of sales) {
      const json = JSON.stringify({ id: sale.id, at: sale.timeMs, shop: sale.shop, price: sale.cents / 100 });
      const record = {
        partition,
        offset: log.length,
        timestampMs: sale.stampMs,
        key: null,
        value: Buffer.from(json),
      };
      rows.add(record, decode(record));
      log.push(sale);
    }
    const range = { partition, expectedOffset, nextOffset: log.length, rows };
    expect(await this.archive.append(database, [range], archivedMs)).toBe(true);
  }

  publish() {
    return publishViews({ store: this.store, archive: this.archive, pipeline, database }, { nowMs });
  }

  viewOf(name: string): ViewTable {
    return new ViewTable(this.store, pipeline, aggregateOf(name));
  }

  /** The view's rows as texts, sorted. */
  async rows(name: string): Promise<Record<string, string | null>[]> {
    const { table } = this.viewOf(name);
    const files = [...(await table.refresh()).files.keys()];
    if (files.length === 0) return [];
    const list = files.map((path) => quotePath(this.store.location(`${table.root}/${path}`)));
    const found = await database.query(
      `SELECT epoch_ms(window_start)::VARCHAR AS start, epoch_ms(window_end)::VARCHAR AS "end", * EXCLUDE (window_start, window_end), columns('^(n|complete_n)$')::VARCHAR
       FROM read_parquet([${list.join(', ')}], hive_partitioning = false)`,
    );
    return found.map((row) =>
      Object.fromEntries(
        Object.entries(row).map(([column, value]) => [column, value === null ? null : String(value)]),
      ),
    );
  }
}

function aggregateOf(name: string) {
  const found = pipeline.aggregates.find((aggregate) => aggregate.name === name);
  if (found === undefined) throw new Error(`no aggregate ${name}`);
  return found;
}

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
      const lake = new Lake();
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
        const expected = new Map<string, { n: string | null; complete_n: string | null }>();
        for (const key of new Set([...strict.keys(), ...complete.keys()]))
          expected.set(key, {
            n: strict.get(key)?.length.toString() ?? null,
            complete_n: complete.get(key)?.length.toString() ?? null,
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
            expect(row['prices']).toBe(
              sales.length === 0 ? null : String(new Set(sales.map((one) => one.cents)).size),
            );
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
  const lake = new Lake();
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
  const lake = new Lake();
  const at = (i: number): Sale => {
    const timeMs = firstMs + i * hour;
    return { id: `s${i}`, timeMs, stampMs: timeMs, shop: 'a', cents: 100 + i };
  };
  const sales = Array.from({ length: 200 }, (_, i) => at(i));
  const days = (count: number) => nowMs - count * 24 * hour;
  await lake.append(0, sales.slice(0, 60), days(5));
  await lake.append(0, sales.slice(60));
  await lake.publish();
  const names = pipeline.aggregates.map(({ name }) => name);
  const before = await Promise.all(names.map((name) => lake.rows(name)));
  expect(await expire(lake.archive.table, { lakeMs: 24 * hour, now: () => nowMs })).toHaveLength(1);
  // The last record that has expired is of the third day, as are these two; a later day takes a late one, too.
  const late = [10, 50, 100].map((i) => ({ ...at(i), id: `late-${i}`, stampMs: sales.at(-1)?.stampMs ?? 0 }));
  await lake.append(0, [...late, ...Array.from({ length: 30 }, (_, i) => at(200 + i))]);
  await lake.publish();
  const expiredUpTo = Date.UTC(2026, 0, 13);
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
