/**
 * What is done to a lake where tests kill it (`lake-worker.ts`), and the rows that must be in it all the same. A new operation is one
 * entry of `operations`: the test of kills (`test/servers/lake-kills.test.ts`) takes all of them, at every step of each. It has to do
 * its work whether the lake is as `prepared-lakes.ts` leaves it or as a killed run of the same operation did.
 */
import assert from 'node:assert/strict';
import { ArchiveTable } from '../../batch/archive-table.ts';
import type { ArchiveRange } from '../../batch/archive-table.ts';
import { compact } from '../../batch/compaction.ts';
import { eventColumns, RowBuffer } from '../../batch/event-table.ts';
import { expire } from '../../batch/expiry.ts';
import { isCold } from '../../batch/file-statistics.ts';
import { tier } from '../../batch/tiering.ts';
import { vacuum } from '../../batch/vacuum.ts';
import { publishViews } from '../../batch/view.ts';
import { ViewTable } from '../../batch/view-table.ts';
import { DuckDb, quotePath } from '../../clients/duckdb.ts';
import { readUtf8 } from '../../clients/kafka.ts';
import type { ObjectStore } from '../../clients/object-store.ts';
import { createDecoder } from '../../domain/decode.ts';
import type { LogRecord } from '../../domain/event.ts';
import { definePipeline } from '../../domain/pipeline.ts';
import type { Pipeline } from '../../domain/pipeline.ts';

export interface Lake {
  readonly store: ObjectStore;
  readonly archive: ArchiveTable;
  readonly database: DuckDb;
}

/** How a lake is before an operation: nothing at all, or one of `prepared-lakes.ts`. */
export type Beginning = 'nothing' | 'prepared' | 'replaced' | 'published';

interface LakeOperation {
  readonly run: (lake: Lake) => Promise<unknown>;
  readonly from: Beginning;
  /** Offsets of each partition when it has ended: from the first to before the second. A killed run leaves these or those of before. */
  readonly rows: readonly [number, number];
  /** What else it changes in one step, as texts: like the rows, a killed run leaves it as before or as when it has ended. */
  readonly state?: (lake: Lake) => Promise<string[]>;
  /** What else must hold, as a killed run has left the lake and when the operation has ended. */
  readonly check?: (lake: Lake) => Promise<void>;
  /** What else must hold when the operation has ended. */
  readonly ended?: (lake: Lake) => Promise<void>;
}

export const dayMs = 86_400_000;
export const nowMs = 1_795_385_025_894;
/** Vacuum compares times of the log with those of the disk. */
const diskMs = Math.max(nowMs, Date.now());
export const [vacuumMs, heldUntilMs, sweepMs] = [30, 100, 400].map((days) => diskMs + days * dayMs) as [
  number,
  number,
  number,
];
export const lakePartitions = [0, 1, 2];
/** Rows of a partition in a prepared lake: five files, each archived a day after the one before. */
export const preparedRows = 5 * 8;
/** Rows of a partition where the views reach to `preparedRows`. */
export const publishedRows = preparedRows + 10;
/** The first two files of a partition are older. */
const ageMs = 2.5 * dayMs;
const prepared = { from: 'prepared', rows: [0, preparedRows] } as const;
const shown = (values: readonly unknown[]) => values.map((value) => JSON.stringify(value));

export const operations: Readonly<Record<string, LakeOperation>> = {
  begin: { run: (lake) => appendUpTo(lake, lakePartitions, 10), from: 'nothing', rows: [0, 10] },
  append: {
    ...prepared,
    run: (lake) => appendUpTo(lake, lakePartitions, preparedRows + 9),
    rows: [0, preparedRows + 9],
  },
  compact: {
    ...prepared,
    run: ({ archive, store, database }) => compact(archive.table, store, database, { now: () => nowMs }),
    ended: async ({ archive }) => assert.equal((await archive.files()).length, lakePartitions.length),
  },
  checkpoint: { ...prepared, run: ({ archive, database }) => archive.table.checkpoint(database, 0) },
  cleanLog: { ...prepared, run: ({ archive }) => archive.table.cleanLog(Number.MAX_SAFE_INTEGER) },
  tier: {
    ...prepared,
    run: ({ archive, store }) => tier(archive.table, store, { hotMs: ageMs, now: () => nowMs }),
    state: async ({ archive }) =>
      shown(
        (await archive.files()).map((file) => [
          file.partition,
          file.firstOffset,
          file.archivedMs,
          isCold(file),
        ]),
      ),
  },
  expire: {
    ...prepared,
    run: ({ archive }) => expire(archive.table, { lakeMs: ageMs, now: () => nowMs }),
    rows: [16, preparedRows],
    state: async ({ archive }) => shown([...(await archive.expired())]),
    // What it says of what went fits what is left.
    check: async ({ archive }) => {
      const expired = await archive.expired();
      for (const partition of lakePartitions) {
        const { nextOffset, rows, maxTimeMs, logTimeMs } = expired.get(partition) ?? {};
        const first = (await archive.filesOf(partition))[0]?.firstOffset ?? Number.NaN;
        assert.deepEqual([nextOffset ?? 0, rows ?? 0], [first, first]);
        if (first > 0) assert.deepEqual([maxTimeMs, logTimeMs], [atOf(1), stampOf(first - 1)]);
      }
    },
  },
  vacuum: {
    from: 'replaced',
    rows: [0, preparedRows],
    run: ({ archive, store, database }) =>
      vacuum(archive.table, store, database, { now: () => vacuumMs, retentionMs: dayMs }),
    check: async (lake) => {
      const [held, there] = [await heldFiles(lake), await dataFilesIn(lake)];
      assert.equal(held.length, 2);
      const live = (await lake.archive.files()).map(({ path }) => path);
      assert.deepEqual(
        [...held, ...live].filter((path) => !there.includes(path)),
        [],
      );
    },
    ended: async (lake) => {
      const live = (await lake.archive.files()).map(({ path }) => path);
      assert.deepEqual(await dataFilesIn(lake), [...live, ...(await heldFiles(lake))].sort());
      assert.equal((await lake.store.list('_scratch')).length, 0);
    },
  },
  publish: {
    from: 'published',
    rows: [0, publishedRows],
    run: publish,
    state: async (lake) => [...(await viewRows(lake)), JSON.stringify(await viewOf(lake).published())],
    // There is nothing left to do.
    ended: async (lake) =>
      assert.deepEqual(
        (await publish(lake)).map(({ days, windows }) => [days, windows]),
        [[0, 0]],
      ),
  },
};

/** What many processes do at once, until there are `rows` of the partitions. */
export const loops = {
  append: async (lake: Lake, partitions: readonly number[], rows: number): Promise<void> => {
    for (let upTo = 5; upTo <= rows; upTo += 5) await appendUpTo(lake, partitions, upTo);
  },
  /** @returns how many files were replaced */
  compact: async (lake: Lake, partitions: readonly number[], rows: number): Promise<number> => {
    const { archive, store, database } = lake;
    for (let removed = 0; ;) {
      const reached = await archive.reached();
      removed += (await compact(archive.table, store, database, { now: () => nowMs })).removed;
      if (partitions.every((partition) => reached[String(partition)] === String(rows))) return removed;
    }
  },
};

/** @param topic the records' topic; of no interest where there is no Kafka */
export function clicksAs(name: string, topic: string): Pipeline {
  return definePipeline({
    name,
    topic,
    event: {
      schema: {
        type: 'object',
        required: ['id', 'at'],
        properties: { id: { type: 'string' }, at: { type: 'integer' } },
      },
      id: 'id',
      time: { field: 'at', format: 'epoch-ms' },
    },
    aggregates: { total: { window: { tumbling: '1d' }, measures: { n: 'count' } } },
  });
}

export type Loop = keyof typeof loops;

export const clicks = clicksAs('clicks', 'clicks');
const decode = createDecoder(clicks, readUtf8);

export function openLake(store: ObjectStore, database: DuckDb): Lake {
  return { store, archive: new ArchiveTable(store, clicks), database };
}

export function openDatabase(tempDirectory: string): Promise<DuckDb> {
  return DuckDb.open({ memoryLimit: '256MB', threads: 1, tempDirectory });
}

/** As the archiver: the lake says where to go on, and all partitions move in one version. */
export async function appendUpTo(
  { archive, database }: Lake,
  partitions: readonly number[],
  upTo: number,
  archivedMs = nowMs,
): Promise<void> {
  await archive.create(null, archivedMs);
  const ranges: ArchiveRange[] = [];
  for (const partition of partitions) {
    const expectedOffset = (await archive.position(partition))?.nextOffset ?? 0;
    if (expectedOffset >= upTo) continue;
    const rows = new RowBuffer(eventColumns(clicks));
    for (let offset = expectedOffset; offset < upTo; offset++) {
      const record = recordOf(partition, offset);
      rows.add(record, decode(record));
    }
    ranges.push({ partition, expectedOffset, nextOffset: upTo, rows });
  }
  if (ranges.length > 0 && !(await archive.append(database, ranges, archivedMs)))
    throw new Error('another archiver has moved on');
}

/** Event times run backwards, two hours a record, and every seventh record is broken. */
function recordOf(partition: number, offset: number): LogRecord {
  const text = offset % 7 === 0 ? `{${offset}` : `{"id":"${idOf(partition, offset)}","at":${atOf(offset)}}`;
  const key = Buffer.from(String(partition));
  return { partition, offset, timestampMs: stampOf(offset), key, value: Buffer.from(text) };
}

const idOf = (partition: number, offset: number) => `e${partition}-${offset}`;
const stampOf = (offset: number) => 10 * dayMs + offset;
const atOf = (offset: number) => 10 * dayMs - offset * 7_200_000;

/** What `rowsOf` must find in a lake whose partitions have the offsets `from` to before `to`. */
export function expectedRows(partitions: readonly number[], to: number, from = 0): string[] {
  return partitions.flatMap((partition) =>
    Array.from({ length: to - from }, (_, i) => {
      const offset = from + i;
      const own =
        offset % 7 === 0
          ? [null, null, 'invalid-json', `{${offset}`, null, null]
          : [idOf(partition, offset), atOf(offset), null, null, idOf(partition, offset), atOf(offset)];
      return JSON.stringify([partition, offset, stampOf(offset), String(partition), ...own]);
    }),
  );
}

/** Every row of the live files, with all that the lake says of it, by partition and offset. */
export async function rowsOf({ archive, database }: Lake): Promise<string[]> {
  const files = await archive.files();
  if (files.length === 0) return [];
  const rows = await database.query(
    `SELECT _partition, _offset::DOUBLE AS _offset, epoch_ms(_timestamp)::DOUBLE AS stamp, decode(_key) AS key, _id,
       epoch_ms(_time)::DOUBLE AS time, _rejected, decode(_raw) AS raw, id, "at"::DOUBLE AS happened
     FROM read_parquet([${files.map((file) => quotePath(archive.locationOf(file))).join(', ')}]) ORDER BY ALL`,
  );
  return rows.map((row) => JSON.stringify(Object.values(row)));
}

export function publish({ archive, store, database }: Lake) {
  return publishViews({ archive, store, database, pipeline: clicks }, { nowMs });
}

function viewOf({ store }: Lake): ViewTable {
  const [aggregate] = clicks.aggregates;
  assert(aggregate);
  return new ViewTable(store, clicks, aggregate);
}

/** `[start, end, n, complete_n]` of every window of the batch view. */
export async function viewRows(lake: Lake): Promise<string[]> {
  const { table } = viewOf(lake);
  const paths = [...(await table.refresh()).files.keys()];
  if (paths.length === 0) return [];
  const files = paths.map((path) => quotePath(lake.store.location(`${table.root}/${path}`)));
  const rows = await lake.database.query(
    `SELECT epoch_ms(window_start)::DOUBLE AS low, epoch_ms(window_end)::DOUBLE AS high, n::DOUBLE AS n, complete_n::DOUBLE AS complete_n
     FROM read_parquet([${files.join(', ')}], hive_partitioning = false) ORDER BY ALL`,
  );
  return shown(rows.map((row) => Object.values(row)));
}

/** What the lease holds that outlives `vacuumMs`. */
async function heldFiles({ archive, store }: Lake): Promise<string[]> {
  const bytes = await store.get(`${archive.table.root}/${heldLease}`);
  assert(bytes);
  return (JSON.parse(Buffer.from(bytes).toString()) as { files: string[] }).files;
}
export const heldLease = '_leases/11111111-1111-4111-8111-111111111111.json';

async function dataFilesIn({ archive, store }: Lake): Promise<string[]> {
  const names = (await store.list(archive.table.root)).map(({ name }) => name);
  return names.filter((name) => !name.startsWith('_')).sort();
}
