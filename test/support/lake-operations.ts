/**
 * What is done to a lake where tests kill it (`lake-worker.ts`), and the rows that must be in it all the same. A new operation is one
 * line in `operations`: the test of kills (`test/servers/lake-kills.test.ts`) takes all of them, at every step of each. It has to do
 * its work whether the lake is as `prepareLake` leaves it or as a killed run of the same operation did.
 */
import { ArchiveTable } from '../../batch/archive-table.ts';
import type { ArchiveRange } from '../../batch/archive-table.ts';
import { compact } from '../../batch/compaction.ts';
import { eventColumns, RowBuffer } from '../../batch/event-table.ts';
import { DuckDb, quotePath } from '../../clients/duckdb.ts';
import { readUtf8 } from '../../clients/kafka.ts';
import { LocalObjectStore } from '../../clients/object-store.ts';
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

interface LakeOperation {
  readonly run: (lake: Lake) => Promise<unknown>;
  /** The lake that it begins with: nothing at all, or what `prepareLake` makes. */
  readonly from: 'nothing' | 'prepared';
  /** Offsets of each partition when it has ended: from the first to before the second. A killed run leaves these or those of before. */
  readonly rows: readonly [number, number];
  /** What else must hold, as a killed run has left the lake and when the operation has ended. */
  readonly check?: (lake: Lake) => Promise<void>;
}

const nowMs = 1_795_385_025_894;
export const lakePartitions = [0, 1, 2];
/** Rows of a partition in a prepared lake: five files. */
export const preparedRows = 5 * 8;
const prepared = { from: 'prepared', rows: [0, preparedRows] } as const;

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
  },
  checkpoint: { ...prepared, run: ({ archive, database }) => archive.table.checkpoint(database, 0) },
  cleanLog: { ...prepared, run: ({ archive }) => archive.table.cleanLog(Number.MAX_SAFE_INTEGER) },
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

/** Five files of every partition, and a checkpoint with versions before and after it. */
export async function prepareLake(folder: string, database: DuckDb): Promise<void> {
  const lake = openLake(new LocalObjectStore(folder), database);
  for (let rows = 8; rows <= preparedRows; rows += 8) {
    await appendUpTo(lake, lakePartitions, rows);
    if (rows === 24) await lake.archive.table.checkpoint(database, 0);
  }
}

/** As the archiver: the lake says where to go on, and all partitions move in one version. */
async function appendUpTo({ archive, database }: Lake, partitions: readonly number[], upTo: number) {
  await archive.create(null, nowMs);
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
  if (ranges.length > 0 && !(await archive.append(database, ranges, nowMs)))
    throw new Error('another archiver has moved on');
}

/** Event times run backwards, and every seventh record is broken. */
function recordOf(partition: number, offset: number): LogRecord {
  const text = offset % 7 === 0 ? `{${offset}` : `{"id":"${idOf(partition, offset)}","at":${atOf(offset)}}`;
  const key = Buffer.from(String(partition));
  return { partition, offset, timestampMs: 2_000_000 + offset, key, value: Buffer.from(text) };
}

const idOf = (partition: number, offset: number) => `e${partition}-${offset}`;
const atOf = (offset: number) => 1_000_000 - offset;

/** What `rowsOf` must find in a lake whose partitions have the offsets `from` to before `to`. */
export function expectedRows(partitions: readonly number[], to: number, from = 0): string[] {
  return partitions.flatMap((partition) =>
    Array.from({ length: to - from }, (_, i) => {
      const offset = from + i;
      const own =
        offset % 7 === 0
          ? [null, null, 'invalid-json', `{${offset}`, null, null]
          : [idOf(partition, offset), atOf(offset), null, null, idOf(partition, offset), atOf(offset)];
      return JSON.stringify([partition, offset, 2_000_000 + offset, String(partition), ...own]);
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
