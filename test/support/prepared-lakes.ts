/**
 * Lakes as the operations find them that tests kill (`lake-operations.ts`). Guarantee: each of them has work for its operations, and
 * something besides that they must leave alone.
 */
import { cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { compact } from '../../batch/compaction.ts';
import type { DuckDb } from '../../clients/duckdb.ts';
import { LocalObjectStore } from '../../clients/object-store.ts';
import {
  appendUpTo,
  dayMs,
  heldLease,
  heldUntilMs,
  lakePartitions,
  nowMs,
  openLake,
  preparedRows,
  publish,
  publishedRows,
} from './lake-operations.ts';
import type { Beginning, Lake } from './lake-operations.ts';

/** Rows of each partition. */
export const rowsBefore: Readonly<Record<Beginning, number>> = {
  nothing: 0,
  prepared: preparedRows,
  replaced: preparedRows,
  published: publishedRows,
};

/** Makes all of them, each in a folder of its name. */
export async function prepareLakes(folder: string, database: DuckDb): Promise<void> {
  mkdirSync(join(folder, 'nothing'));
  await prepare(lakeAt(join(folder, 'prepared'), database));
  for (const [name, change] of [
    ['replaced', replace],
    ['published', publishAndGoOn],
  ] as const) {
    cpSync(join(folder, 'prepared'), join(folder, name), { recursive: true });
    await change(lakeAt(join(folder, name), database));
  }
}

function lakeAt(at: string, database: DuckDb): Lake {
  return openLake(new LocalObjectStore(at), database);
}

/** Five files of every partition, a day apart, and a checkpoint with versions before and after it. */
async function prepare(lake: Lake): Promise<void> {
  for (let rows = 8; rows <= preparedRows; rows += 8) {
    await appendUpTo(lake, lakePartitions, rows, nowMs - ((preparedRows - rows) / 8) * dayMs);
    if (rows === 24) await lake.archive.table.checkpoint(lake.database, 0);
  }
}

/** Files that were replaced, two of them held by a lease; and what processes that died have left: a file, a lease, scratch. */
async function replace({ archive, store, database }: Lake): Promise<void> {
  const { root } = archive.table;
  const sources = (await archive.files()).map(({ path }) => path);
  await compact(archive.table, store, database, { now: () => nowMs });
  const lease = (expiresMs: number, files: readonly string[]) =>
    Buffer.from(JSON.stringify({ expiresMs, files }));
  await store.put(`${root}/${heldLease}`, lease(heldUntilMs, [sources.at(0), sources.at(-1)] as string[]));
  await store.put(`${root}/_leases/22222222-2222-4222-8222-222222222222.json`, lease(nowMs, sources));
  await store.put(`${root}/p1/7-8-33333333-3333-4333-8333-333333333333.parquet`, Buffer.from('orphan'));
  await store.put('_scratch/44444444-4444-4444-8444-444444444444', Buffer.from('scratch'));
}

/** The views are behind the log: of four days they hold, one has changed, and one is new. */
async function publishAndGoOn(lake: Lake): Promise<void> {
  await publish(lake);
  await appendUpTo(lake, lakePartitions, publishedRows);
}
