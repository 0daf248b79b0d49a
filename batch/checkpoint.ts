/**
 * Checkpoints of a Delta log: the whole table at one version as a Parquet file, so that readers need not read every version.
 * Guarantee: a checkpoint says what the versions up to it say; it is announced (`_last_checkpoint`) when it is whole, and the log
 * is right without it.
 * Source: the Delta transaction log protocol, sections "Checkpoints" (V1) and "Last Checkpoint File".
 */
import { writeFile } from 'node:fs/promises';
import { parquetReadObjects } from 'hyparquet';
import { quoteLiteral } from '../clients/duckdb.ts';
import type { DuckDb } from '../clients/duckdb.ts';
import type { ObjectStore } from '../clients/object-store.ts';
import { corrupt } from './delta-actions.ts';
import type { ParsedAction, TableAction, TableSnapshot } from './delta-actions.ts';

/** One action a row: a column for each kind, null in all but one. */
const columns = {
  txn: 'STRUCT(appId VARCHAR, version BIGINT, lastUpdated BIGINT)',
  add: 'STRUCT(path VARCHAR, partitionValues MAP(VARCHAR, VARCHAR), size BIGINT, modificationTime BIGINT, dataChange BOOLEAN, stats VARCHAR)',
  remove: 'STRUCT(path VARCHAR, deletionTimestamp BIGINT, dataChange BOOLEAN)',
  metaData:
    'STRUCT(id VARCHAR, format STRUCT(provider VARCHAR, options MAP(VARCHAR, VARCHAR)), schemaString VARCHAR, partitionColumns VARCHAR[], configuration MAP(VARCHAR, VARCHAR), createdTime BIGINT)',
  protocol: 'STRUCT(minReaderVersion INTEGER, minWriterVersion INTEGER)',
};

/** What `_last_checkpoint` says; `size` is its number of actions. */
export interface LastCheckpoint {
  readonly version: number;
  readonly size: number;
}

/** @param logFolder `…/_delta_log` */
export function checkpointPath(logFolder: string, version: number): string {
  return `${logFolder}/${String(version).padStart(20, '0')}.checkpoint.parquet`;
}

export function lastCheckpointPath(logFolder: string): string {
  return `${logFolder}/_last_checkpoint`;
}

/**
 * Writes the checkpoint of a snapshot and announces it. Written twice it is the same.
 * @param tombstonesFromMs tombstones that are older have expired: nobody reads a version that needs their files
 */
export async function writeCheckpoint(
  store: ObjectStore,
  logFolder: string,
  snapshot: TableSnapshot,
  database: DuckDb,
  tombstonesFromMs: number,
): Promise<void> {
  const actions = actionsOf(snapshot, tombstonesFromMs);
  const [json, parquet] = [await store.scratchFile(), await store.scratchFile()];
  const types = Object.entries(columns).map(([name, type]) => `${name}: ${quoteLiteral(type)}`);
  try {
    await writeFile(json, actions.map((action) => `${JSON.stringify(action)}\n`).join(''));
    await database.run(
      `COPY (SELECT * FROM read_json(${quoteLiteral(json)}, format = 'newline_delimited', columns = {${types.join(', ')}}))
       TO ${quoteLiteral(parquet)} (FORMAT parquet, COMPRESSION snappy)`,
    );
    await store.adopt(parquet, checkpointPath(logFolder, snapshot.version));
  } finally {
    await store.discard(json);
    await store.discard(parquet);
  }
  // A slower writer must not lead readers back: the checkpoint that it would announce may be removed by now.
  if (((await readLastCheckpoint(store, logFolder))?.version ?? -1) > snapshot.version) return;
  const last: LastCheckpoint = { version: snapshot.version, size: actions.length };
  await store.put(lastCheckpointPath(logFolder), Buffer.from(JSON.stringify(last)));
}

function actionsOf(snapshot: TableSnapshot, tombstonesFromMs: number): TableAction[] {
  const { protocol, metaData, files, tombstones, transactions } = snapshot;
  return [
    ...(protocol === null ? [] : [{ protocol }]),
    ...(metaData === null ? [] : [{ metaData }]),
    ...[...transactions.values()].map((txn) => ({ txn })),
    ...[...files.values()].map((add) => ({ add: { ...add, dataChange: false } })),
    ...[...tombstones.values()]
      .filter(({ deletionTimestamp }) => deletionTimestamp >= tombstonesFromMs)
      .map((remove) => ({ remove: { ...remove, dataChange: false } })),
  ];
}

/** @returns what was announced last; null where nothing was, or where it cannot be read: the log is right without it */
export async function readLastCheckpoint(
  store: ObjectStore,
  logFolder: string,
): Promise<LastCheckpoint | null> {
  const bytes = await store.get(lastCheckpointPath(logFolder));
  if (bytes === null) return null;
  try {
    const { version, size } = JSON.parse(Buffer.from(bytes).toString()) as LastCheckpoint;
    return Number.isSafeInteger(version) && version >= 0 ? { version, size } : null;
  } catch {
    return null;
  }
}

/** @returns its actions; null where there is no such checkpoint @throws ReckonError `corrupt-lake` where it cannot be read */
export async function readCheckpoint(
  store: ObjectStore,
  logFolder: string,
  version: number,
): Promise<ParsedAction[] | null> {
  const path = checkpointPath(logFolder, version);
  const bytes = await store.get(path);
  if (bytes === null) return null;
  const file = new Uint8Array(bytes).buffer;
  try {
    const rows = await parquetReadObjects({ file, columns: Object.keys(columns) });
    return rows.map((row) => plain(row) as ParsedAction);
  } catch (cause) {
    throw corrupt(`${path} of the lake cannot be read.`, cause);
  }
}

/** Parquet's values as the version files have them: integers as numbers, absent members left out. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(plain);
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, member]) =>
      member === null || member === undefined ? [] : [[name, plain(member)]],
    ),
  );
}
