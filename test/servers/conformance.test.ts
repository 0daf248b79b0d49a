/**
 * Three implementations of the same rules on the same hostile logs: the fold with its Lua commit in a real Redis, DuckDB's
 * SQL over a real lake, and the naive model. All three must agree cell by cell, and a cell that was tampered with must
 * always be reported. RECKON_SEED repeats a failure, RECKON_RUNS widens the search.
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { ArchiveTable } from '../../batch/archive-table.ts';
import { eventColumns, RowBuffer } from '../../batch/event-table.ts';
import { compareLayers } from '../../batch/reconciliation.ts';
import { DuckDb } from '../../clients/duckdb.ts';
import { readUtf8 } from '../../clients/kafka.ts';
import { LocalObjectStore } from '../../clients/object-store.ts';
import { createDecoder } from '../../domain/decode.ts';
import type { Report } from '../../domain/report.ts';
import { metaKey, paneIndexKey, paneKey, sketchKey } from '../../stream/keys.ts';
import type { PaneCells } from '../../stream/pane-cells.ts';
import { PartitionFold } from '../../stream/fold.ts';
import { snapshotSpeed, withSnapshot } from '../../stream/snapshot.ts';
import { StateStore } from '../../stream/state-store.ts';
import { naiveOutcome } from '../support/naive-model.ts';
import { pipeline, rules } from '../support/odd-pipeline.ts';
import { anyLog } from '../support/random-log.ts';
import type { Entry } from '../support/random-log.ts';
import { startRedis } from '../support/redis-server.ts';
import type { RedisServer } from '../support/redis-server.ts';
import { plainWindows, readWindows } from '../support/window-outcome.ts';

const seed = Number(process.env['RECKON_SEED'] ?? Date.now() % 2 ** 31);
const decode = createDecoder(pipeline, readUtf8);
let server: RedisServer;
let database: DuckDb;

beforeAll(async () => {
  server = await startRedis();
  database = await DuckDb.open({
    memoryLimit: '512MB',
    threads: 2,
    tempDirectory: join(server.folder, 'spill'),
  });
});

afterAll(async () => {
  database.close();
  await server.stop();
});

/** Logs of several partitions in a fresh Redis and a fresh lake. */
async function fill(logs: readonly (readonly Entry[])[], commitEvery: number) {
  await server.redis.flushall();
  const store = new StateStore(server.redis, pipeline);
  // A path in which DuckDB could take characters for wildcards or quotes, and a folder for a column.
  const objects = new LocalObjectStore(join(server.folder, `shop=x`, `la[k]e*?'s ${randomUUID()}`));
  const archive = new ArchiveTable(objects, pipeline);
  await archive.create(null, 1);
  for (const [partition, log] of logs.entries()) {
    const records = log.map(({ record }) => ({ ...record, partition }));
    const first = records[0]?.offset ?? 0;
    const { position } = await store.acquire(partition, 'me', first, null);
    const fold = new PartitionFold(pipeline, decode, position, first);
    let rows = new RowBuffer(eventColumns(pipeline));
    let expectedOffset = first;
    for (const [i, record] of records.entries()) {
      fold.take(record);
      rows.add(record, decode(record));
      if (i % commitEvery !== commitEvery - 1 && i < records.length - 1) continue;
      expect(await store.commit(partition, 'me', fold.takeChanges())).toEqual({ kind: 'committed' });
      const range = { partition, expectedOffset, nextOffset: record.offset + 1, rows };
      expect(await archive.append(database, [range], 1)).toBe(true);
      expectedOffset = record.offset + 1;
      rows = new RowBuffer(eventColumns(pipeline));
    }
  }
  const compare = async (scope: 'all' | 'closed' = 'all', sliceRows?: number): Promise<Report> => {
    const log = logs.map((_, partition) => ({ partition, start: 0, end: 0 }));
    const deps = { store, database, log, objects };
    const snapshot = await snapshotSpeed(deps, pipeline, scope, randomUUID());
    return withSnapshot(objects, snapshot, (side) =>
      compareLayers(database, archive, pipeline, snapshot, side, sliceRows),
    );
  };
  return { store, compare };
}

/** What Redis holds of a partition. */
async function redisPanes(store: StateStore, partition: number): Promise<PaneCells[]> {
  return store.panes.read(
    partition,
    await server.redis.zrange(paneIndexKey(pipeline.name, partition), 0, '-1'),
  );
}

const upTo90 = fc.integer({ min: 1, max: 90 });

it('speed, batch and the naive model agree to the last digit', async () => {
  await fc.assert(
    fc.asyncProperty(anyLog(80), anyLog(80), upTo90, upTo90, async (a, b, commitEvery, sliceRows) => {
      const logs = [a, b];
      const { compare, store } = await fill(logs, commitEvery);
      for (const [partition, log] of logs.entries()) {
        const expected = naiveOutcome(
          rules,
          log.map(({ plain }) => plain),
        );
        expect(readWindows(pipeline, await redisPanes(store, partition))).toEqual(
          plainWindows(expected.windows),
        );
        expect(Object.fromEntries((await store.read(partition))?.counters ?? [])).toEqual(expected.counters);
      }
      const all = await compare('all');
      // Slices of any size come to the same; the files end where the commits do.
      expect(await compare('all', sliceRows)).toEqual(all);
      expect({ ...all, sql: [], files: [] }).toMatchObject({
        verdict: 'exact',
        unexplained: 0,
        differences: [],
      });
      expect(all.accounting.every(({ holds }) => holds)).toBe(true);
      expect(all.records).toBe(String(a.length + b.length));
      const panes = (await Promise.all([0, 1].map((partition) => redisPanes(store, partition)))).flat();
      const cells = panes.flatMap(({ integers, sketches }) => [
        ...integers.filter((_, i) => i % 2 === 0),
        ...Object.keys(sketches),
      ]);
      expect(all.aggregates.reduce((sum, { matched }) => sum + matched, 0)).toBe(cells.length);
      expect(await compare('closed')).toMatchObject({ verdict: 'exact', unexplained: 0 });
    }),
    { numRuns: Number(process.env['RECKON_RUNS'] ?? 15), seed },
  );
}, 180_000);

describe(`a tampered state is never exact (seed ${seed})`, () => {
  /** A log with counted cells; the seed decides which. */
  const log = () => {
    const found = fc.sample(anyLog(80), { seed, numRuns: 200 }).find(
      (entries) =>
        Object.keys(
          naiveOutcome(
            rules,
            entries.map(({ plain }) => plain),
          ).windows,
        ).length > 60,
    );
    if (found === undefined) throw new Error('no log with enough windows');
    return found;
  };
  let compare: () => Promise<Report>;
  let cells: { key: string; member: string; field: string; value: bigint }[];
  let sketches: { key: string; member: string; field: string }[];
  let dump: () => Promise<void>;

  beforeAll(async () => {
    const filled = await fill([log()], 1_000);
    compare = filled.compare;
    const panes = await redisPanes(filled.store, 0);
    cells = panes.flatMap(({ member, integers }) =>
      integers.flatMap((field, i) =>
        i % 2 === 1
          ? []
          : [{ key: paneKey(pipeline.name, 0, member), member, field, value: BigInt(integers[i + 1] ?? '') }],
      ),
    );
    sketches = panes.flatMap(({ member, sketches: own }) =>
      Object.keys(own).map((field) => ({ member, field, key: sketchKey(pipeline.name, 0, member, field) })),
    );
    const keys = await server.redis.keys('*');
    const saved = await Promise.all(
      keys.map(async (key) => [key, await server.redis.dumpBuffer(key)] as const),
    );
    dump = async () => {
      await server.redis.flushall();
      for (const [key, bytes] of saved) await server.redis.restore(key, 0, bytes);
    };
    expect(await compare()).toMatchObject({ verdict: 'exact' });
  });

  afterEach(() => dump());

  const sampled = () =>
    fc.sample(fc.nat(cells.length - 1), { seed, numRuns: 8 }).map((i) => cells[i] as (typeof cells)[number]);

  it.each([1n, -1n])(
    'by %d in any cell',
    async (change) => {
      for (const { key, field, value, member } of sampled()) {
        await server.redis.hset(key, field, String(value + change));
        const report = await compare();
        expect(report).toMatchObject({ verdict: 'unexplained', unexplained: 1, differencesTotal: 1 });
        const [slot] = field.split('|');
        expect(report.differences[0]).toMatchObject({
          aggregate: member.split('|')[0],
          slot,
          speed: String(value + change),
          batch: String(value),
          windowStart: new Date(Number(member.split('|')[1])).toISOString(),
          group: field.slice((slot?.length ?? 0) + 1),
          class: slot !== 'rows' ? 'unexplained' : change > 0n ? 'overcounted-in-speed' : 'missing-in-speed',
        });
        await server.redis.hset(key, field, String(value));
      }
    },
    120_000,
  );

  it('by a deleted field', async () => {
    for (const { key, field, value } of sampled()) {
      await server.redis.hdel(key, field);
      expect(await compare()).toMatchObject({
        unexplained: 1,
        differences: [{ speed: null, batch: String(value) }],
      });
      await dump();
    }
  }, 120_000);

  it('by a text where a number belongs', async () => {
    const { key, field, value } = sampled()[0] as (typeof cells)[number];
    await server.redis.hset(key, field, 'many');
    expect(await compare()).toMatchObject({
      unexplained: 1,
      differences: [{ speed: null, batch: String(value) }],
    });
    await dump();
  });

  it('by a deleted window, with or without its entry in the index', async () => {
    const { key, member } = sampled()[0] as (typeof cells)[number];
    const lost = [...cells, ...sketches].filter((cell) => cell.member === member).length;
    await server.redis.del(key);
    expect(await compare()).toMatchObject({ verdict: 'unexplained', differencesTotal: lost });
    await server.redis.zrem(paneIndexKey(pipeline.name, 0), member);
    expect(await compare()).toMatchObject({ verdict: 'unexplained', differencesTotal: lost });
  });

  it('by a deleted index', async () => {
    await server.redis.del(paneIndexKey(pipeline.name, 0));
    expect(await compare()).toMatchObject({
      verdict: 'unexplained',
      differencesTotal: cells.length + sketches.length,
    });
  });

  it('by an extra field, group or window', async () => {
    const { key, field } = cells[0] as (typeof cells)[number];
    await server.redis.hset(key, `sum:nothing|${field.split('|')[1]}`, '0');
    expect(await compare()).toMatchObject({
      differencesTotal: 1,
      differences: [{ speed: '0', batch: null }],
    });
    await dump();
    await server.redis.hset(key, 'rows|["never seen"]', '0');
    expect(await compare()).toMatchObject({ differencesTotal: 1 });
    await dump();
    const member = 'total|86400000000|86486400000';
    await server.redis.zadd(paneIndexKey(pipeline.name, 0), 86400000000 + 86_400_000, member);
    await server.redis.hset(paneKey(pipeline.name, 0, member), 'rows|[]', '1');
    expect(await compare()).toMatchObject({ differencesTotal: 1 });
  });

  it('by any register of a sketch, small or large, and by a missing one', async () => {
    const { key, field } = sketches[seed % sketches.length] as (typeof sketches)[number];
    const [register = '', state = ''] = Object.entries(await server.redis.hgetall(key))[0] ?? [];
    const slot = field.split('|')[0];
    const isReported = async () =>
      expect(await compare()).toMatchObject({
        verdict: 'unexplained',
        differencesTotal: 1,
        differences: [{ slot }],
      });
    await server.redis.hset(key, register, String(Number(state) ^ 1));
    await isReported();
    await server.redis.del(key);
    await isReported();
    const dense = Buffer.alloc(2 ** 14);
    dense[Number(register)] = Number(state) ^ 1;
    await server.redis.set(key, dense);
    await isReported();
    await dump();
  }, 120_000);

  it('by any counter', async () => {
    const counters = Object.keys(await server.redis.hgetall(metaKey(pipeline.name, 0))).filter((name) =>
      /^(consumed|duplicate|gaps|(dead|counted|filtered|late):.*)$/.test(name),
    );
    expect(counters.length).toBeGreaterThan(10);
    for (const counter of counters.filter((_, i) => i % 5 === seed % 5)) {
      await server.redis.hincrby(metaKey(pipeline.name, 0), counter, 1);
      expect([counter, (await compare()).verdict]).toEqual([counter, 'unexplained']);
      await server.redis.hincrby(metaKey(pipeline.name, 0), counter, -1);
    }
  }, 120_000);

  it('by a moved offset or base', async () => {
    for (const field of ['offset', 'base']) {
      await server.redis.hincrby(metaKey(pipeline.name, 0), field, -1);
      expect([field, (await compare()).verdict]).toEqual([field, 'unexplained']);
      await dump();
    }
  });
});
