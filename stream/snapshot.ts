/**
 * Reads the speed layer's state with its offset vector, while events flow. Guarantee: what is written is the state at
 * exactly that vector. Open windows are read together with the vector by one script; closed ones cannot change any more
 * (every later record is late for them), so they may be read after it, in portions.
 */
import { randomUUID } from 'node:crypto';
import { quoteLiteral } from '../clients/duckdb.ts';
import type { DuckDb, DuckDBValue } from '../clients/duckdb.ts';
import { missingObject } from '../clients/object-store.ts';
import type { ObjectStore } from '../clients/object-store.ts';
import type { SpeedSnapshot } from '../domain/contracts.ts';
import { toOffsetVector } from '../domain/offset-vector.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import type { ReconciliationScope } from '../domain/report.ts';
import { countersFileOf } from '../domain/speed-snapshot.ts';
import type { SnapshotPartition, SpeedSide } from '../domain/speed-snapshot.ts';
import { noEventTime } from '../domain/watermark.ts';
import { digestOf } from './hash.ts';
import { parsePaneField, parsePaneMember } from './keys.ts';
import type { PaneCells } from './pane-cells.ts';
import type { PartitionSnapshot, StateStore } from './state-store.ts';

export interface SnapshotDeps {
  readonly store: StateStore;
  readonly database: DuckDb;
  /** First and next offset of each partition of the log. */
  readonly log: readonly { readonly partition: number; readonly start: number; readonly end: number }[];
  /** Where the newest snapshots are kept, for workers on all machines. */
  readonly objects: ObjectStore;
}

/** Panes read in one round trip. */
const panesPerRead = 200;
/** Cells staged before they go to DuckDB. */
const cellsPerAppend = 50_000;
/** A reconciliation waits for the archive for up to an hour; its snapshot stays longer than that. */
const snapshotsKeptMs = 3 * 3_600_000;

export async function snapshotSpeed(
  deps: SnapshotDeps,
  pipeline: Pipeline,
  scope: ReconciliationScope,
  runId: string,
): Promise<SpeedSnapshot> {
  const cells = new CellTable(deps.database, `speed_${runId.replaceAll(/[^a-zA-Z0-9]/g, '_')}`);
  await cells.create();
  const partitions: SnapshotPartition[] = [];
  for (const { partition, start: logStart } of deps.log) {
    const snapshot = await deps.store.snapshot(partition, scope === 'all');
    if (snapshot === null) {
      partitions.push({
        partition,
        begun: false,
        baseOffset: logStart,
        nextOffset: logStart,
        maxEventTimeMs: null,
        counters: {},
      });
      continue;
    }
    partitions.push(describe(snapshot));
    for (const pane of snapshot.open) await cells.add(partition, pane);
    for (let first = 0; first < snapshot.closed.length; first += panesPerRead) {
      const members = snapshot.closed.slice(first, first + panesPerRead);
      for (const pane of await deps.store.panes.read(partition, members)) await cells.add(partition, pane);
    }
  }
  const folder = `${pipeline.name}/snapshots`;
  // A snapshot that is taken again is another one: objects never change.
  const path = `${folder}/${runId}-${randomUUID()}.parquet`;
  await cells.write(deps.objects, path);
  await deps.objects.put(countersFileOf(path), Buffer.from(`${JSON.stringify({ partitions }, null, 1)}\n`));
  await forgetOldSnapshots(deps.objects, folder);
  const vector = toOffsetVector(partitions.map(({ partition, nextOffset }) => [partition, nextOffset]));
  const behind = deps.log.map(({ partition, end }) => Math.max(0, end - Number(vector[partition] ?? end)));
  const lag = String(behind.reduce((sum, records) => sum + records, 0));
  return { pipeline: pipeline.name, scope, vector, lag, path };
}

/**
 * Brings a snapshot here, for as long as the work takes.
 * @throws ReckonError `corrupt-lake` when it is not there (any more)
 */
export async function withSnapshot<T>(
  objects: ObjectStore,
  { path }: SpeedSnapshot,
  work: (side: SpeedSide) => Promise<T>,
): Promise<T> {
  const counters = await objects.get(countersFileOf(path));
  if (counters === null) throw missingObject(objects.url, countersFileOf(path));
  const { partitions } = JSON.parse(Buffer.from(counters).toString()) as { partitions: SnapshotPartition[] };
  const copies = await objects.localCopies([path]);
  try {
    return await work({ partitions, cellsFile: copies.files[0] ?? '' });
  } finally {
    await copies.release();
  }
}

/** Labels what a reconciliation found exact; called after a report whose verdict is `exact`. */
export async function confirmSnapshot(
  store: StateStore,
  partitions: readonly SnapshotPartition[],
): Promise<void> {
  for (const { partition, maxEventTimeMs } of partitions)
    if (maxEventTimeMs !== null) await store.noteReconciled(partition, maxEventTimeMs);
}

function describe({ partition, state }: PartitionSnapshot): SnapshotPartition {
  const { position, baseOffset, counters } = state;
  return {
    partition,
    begun: true,
    baseOffset,
    nextOffset: position.nextOffset,
    maxEventTimeMs: position.maxEventTimeMs === noEventTime ? null : position.maxEventTimeMs,
    counters: Object.fromEntries([...counters].map(([name, value]) => [name, String(value)])),
  };
}

/** Cells on their way to Parquet: aggregate, partition, start and end of the pane (ms), group (JSON), slot, value. */
class CellTable {
  readonly #database: DuckDb;
  readonly #table: string;
  #columns: DuckDBValue[][] = emptyColumns();

  constructor(database: DuckDb, table: string) {
    this.#database = database;
    this.#table = table;
  }

  async create(): Promise<void> {
    await this.#database.run(
      `CREATE OR REPLACE TEMP TABLE ${this.#table} (aggregate VARCHAR, "partition" DOUBLE, start_ms DOUBLE, end_ms DOUBLE, grp VARCHAR, slot VARCHAR, "value" VARCHAR)`,
    );
  }

  async add(partition: number, { member, integers, sketches }: PaneCells): Promise<void> {
    const { aggregate, startMs, endMs } = parsePaneMember(member);
    const put = (field: string, value: string | null) => {
      const { slot, group } = parsePaneField(field);
      [aggregate, partition, startMs, endMs, group, slot, value].forEach((cell, i) =>
        this.#columns[i]?.push(cell),
      );
    };
    for (let i = 0; i < integers.length; i += 2) put(integers[i] as string, integers[i + 1] as string);
    for (const [field, sketch] of Object.entries(sketches))
      put(field, sketch === null ? null : digestOf(sketch));
    if ((this.#columns[0]?.length ?? 0) >= cellsPerAppend) await this.#append();
  }

  /** Ends the table: what it held is in the object, whole or not at all. A cell that is no integer has no value there. */
  async write(objects: ObjectStore, path: string): Promise<void> {
    await this.#append();
    const scratch = await objects.scratchFile();
    await this.#database.run(
      `COPY (SELECT aggregate, "partition"::INTEGER AS "partition", start_ms::BIGINT AS start_ms, end_ms::BIGINT AS end_ms, grp, slot, TRY_CAST("value" AS BIGINT) AS "value" FROM ${this.#table}) TO ${quoteLiteral(scratch)} (FORMAT parquet, COMPRESSION zstd)`,
    );
    await this.#database.run(`DROP TABLE ${this.#table}`);
    await objects.adopt(scratch, path);
  }

  async #append(): Promise<void> {
    if (this.#columns[0]?.length === 0) return;
    await this.#database.append(this.#table, this.#columns);
    this.#columns = emptyColumns();
  }
}

function emptyColumns(): DuckDBValue[][] {
  return [[], [], [], [], [], [], []];
}

/** Deletes what no reconciliation waits for any more; another worker may be deleting the same. */
async function forgetOldSnapshots(objects: ObjectStore, folder: string): Promise<void> {
  for (const { name, modifiedMs } of await objects.list(folder))
    if (Date.now() - modifiedMs > snapshotsKeptMs) await objects.remove(`${folder}/${name}`);
}
