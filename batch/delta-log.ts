/**
 * The log of a Delta table (the open protocol of delta.io: reader version 1, writer version 2). Guarantee: a version is
 * written once, whole, by put-if-absent; data files and the `txn` that says how far they reach are in the same version,
 * so a crash at any step leaves neither a gap nor a double.
 * Source of the formats: the Delta transaction log protocol, sections "Actions" and "Per-file statistics".
 */
import { randomUUID } from 'node:crypto';
import type { DuckDb } from '../clients/duckdb.ts';
import type { ObjectStore } from '../clients/object-store.ts';
import { readCheckpoint, readLastCheckpoint, writeCheckpoint } from './checkpoint.ts';
import {
  corrupt,
  decodeActions,
  encodeActions,
  noTable,
  schemaString,
  SnapshotBuilder,
} from './delta-actions.ts';
import type { Action, DeltaColumn, TableSnapshot } from './delta-actions.ts';

const versionFile = /^(\d{20})\.json$/;
const checkpointFile = /^(\d{20})\.checkpoint\.parquet$/;

/** For so long older versions of a table can be read, unless vacuum is told otherwise. */
export const tombstoneRetentionMs = 7 * 86_400_000;
const versionsPerCheckpoint = 50;

export class DeltaTable {
  readonly root: string;
  readonly #store: ObjectStore;
  #snapshot: TableSnapshot = noTable;

  /** Whether this process has seen that no later version exists; from then on, versions only ever follow. */
  #endChecked = false;

  /** @param root folder of the table in the store, such as `flights/events` */
  constructor(store: ObjectStore, root: string) {
    this.#store = store;
    this.root = root;
  }

  /** Creates the table (version 0) unless it exists. @returns what is there then */
  async create(
    columns: readonly DeltaColumn[],
    configuration: Readonly<Record<string, string>>,
    nowMs: number,
    partitionColumns: readonly string[] = [],
  ): Promise<TableSnapshot> {
    await this.refresh();
    if (this.#snapshot.version >= 0) return this.#snapshot;
    const actions: Action[] = [
      { commitInfo: { timestamp: nowMs, operation: 'CREATE TABLE', engineInfo: 'Reckon' } },
      { protocol: { minReaderVersion: 1, minWriterVersion: 2 } },
      {
        metaData: {
          id: randomUUID(),
          format: { provider: 'parquet', options: {} },
          schemaString: schemaString(columns),
          partitionColumns,
          configuration,
          createdTime: nowMs,
        },
      },
    ];
    await this.#write(0, actions);
    return this.refresh();
  }

  /** Reads what is new since the last call. @returns the newest snapshot; version −1 = no table */
  async refresh(): Promise<TableSnapshot> {
    if (this.#snapshot.version < 0) await this.#loadCheckpoint();
    do await this.#readVersions();
    while (
      // The versions that come next may be gone, and be in a checkpoint: then the log does not end here.
      this.#snapshot.version >= 0 &&
      (await this.#loadCheckpoint())
    );
    return this.#checkEnd();
  }

  /**
   * Writes the next version, built from the newest snapshot; built again when another writer was faster.
   * @param build returns the actions, or null to give up (someone else has done it, or the writer is fenced)
   * @returns the version, or null when `build` gave up
   */
  async commit(build: (snapshot: TableSnapshot) => readonly Action[] | null): Promise<number | null> {
    for (;;) {
      const snapshot = await this.refresh();
      const actions = build(snapshot);
      if (actions === null) return null;
      const version = snapshot.version + 1;
      if (await this.#write(version, actions)) {
        await this.refresh();
        return version;
      }
    }
  }

  /**
   * Writes a checkpoint of the newest version.
   * @param tombstonesFromMs tombstones that are older have expired
   */
  async checkpoint(database: DuckDb, tombstonesFromMs: number): Promise<void> {
    const snapshot = await this.refresh();
    if (snapshot.version >= 0)
      await writeCheckpoint(this.#store, this.#logFolder, snapshot, database, tombstonesFromMs);
  }

  /**
   * Now and then a checkpoint, so that nobody has to read every version. It keeps all tombstones: how long they are wanted only vacuum
   * knows, and a file without one would be an orphan.
   * @param version that was just committed
   */
  async checkpointWhenDue(version: number, database: DuckDb): Promise<void> {
    if (version % versionsPerCheckpoint === 0) await this.checkpoint(database, 0);
  }

  /**
   * Deletes versions and checkpoints that the last checkpoint has made superfluous. The oldest go first: wherever it is cut
   * short, the versions that are left follow each other.
   * @param beforeMs only those that were written before, as older versions of the table can be read as long as they are there
   * @returns how many files were deleted
   */
  async cleanLog(beforeMs: number): Promise<number> {
    const superfluous = await this.superfluousLog(beforeMs);
    for (const { path } of superfluous) await this.#store.remove(`${this.root}/${path}`);
    return superfluous.length;
  }

  /** What `cleanLog` would delete, in its order; paths in the table's folder. */
  async superfluousLog(beforeMs: number): Promise<{ path: string; bytes: number }[]> {
    const lastVersion = await this.lastCheckpoint();
    const entries = await this.#store.list(this.#logFolder);
    const superfluous = entries
      .map((entry) => {
        const version = (versionFile.exec(entry.name) ?? checkpointFile.exec(entry.name))?.[1];
        return { ...entry, version: Number(version ?? Infinity) };
      })
      .filter(({ version }) => version < lastVersion)
      .sort((a, b) => a.version - b.version);
    const young = superfluous.findIndex(({ modifiedMs }) => modifiedMs >= beforeMs);
    return superfluous
      .slice(0, young < 0 ? superfluous.length : young)
      .map(({ name, bytes }) => ({ path: `_delta_log/${name}`, bytes }));
  }

  /** The version of the last checkpoint; −1 where there is none. */
  async lastCheckpoint(): Promise<number> {
    return (await readLastCheckpoint(this.#store, this.#logFolder))?.version ?? -1;
  }

  /** @returns whether the version is ours; no two are ever equal, so that a store can tell whose one is */
  #write(version: number, actions: readonly Action[]): Promise<boolean> {
    const txnId = randomUUID();
    const named = actions.map((action) =>
      'commitInfo' in action ? { commitInfo: { ...action.commitInfo, txnId } } : action,
    );
    const isNamed = actions.some((action) => 'commitInfo' in action);
    const all = isNamed ? named : [{ commitInfo: { txnId } }, ...actions];
    return this.#store.putIfAbsent(this.#versionPath(version), encodeActions(all));
  }

  async #readVersions(): Promise<void> {
    // Snapshots that were handed out stay as they are: they are copied once, however many versions are new.
    let next: SnapshotBuilder | null = null;
    for (;;) {
      const version = (next ?? this.#snapshot).version + 1;
      const path = this.#versionPath(version);
      const bytes = await this.#store.get(path);
      if (bytes === null) break;
      next ??= new SnapshotBuilder(this.#snapshot);
      next.apply(version, decodeActions(bytes, path));
    }
    // Another call may have come further meanwhile.
    if (next !== null && next.version > this.#snapshot.version) this.#snapshot = next.build();
  }

  /** @returns whether there was one that is newer than what is known */
  async #loadCheckpoint(): Promise<boolean> {
    // Versions are removed from the oldest on: as long as this one is there, so is what follows it.
    const here = this.#versionPath(Math.max(0, this.#snapshot.version));
    const [last, isHere] = await Promise.all([
      readLastCheckpoint(this.#store, this.#logFolder),
      this.#store.get(here).then((bytes) => bytes !== null),
    ]);
    const announced = last?.version ?? -1;
    if (isHere && announced <= this.#snapshot.version) return false;
    if (await this.#takeCheckpoint(announced)) return true;
    // What is announced may be lost, stale, or replaced meanwhile: what lies in the log counts.
    for (let tried = -1; ;) {
      const newest = await this.#newestOf(checkpointFile);
      if (newest <= Math.max(tried, this.#snapshot.version)) return false;
      if (await this.#takeCheckpoint(newest)) return true;
      tried = newest;
    }
  }

  /** @returns false where there is no such checkpoint, or where it is no news */
  async #takeCheckpoint(version: number): Promise<boolean> {
    if (version <= this.#snapshot.version) return false;
    const actions = await readCheckpoint(this.#store, this.#logFolder, version);
    if (actions === null) return false;
    const loaded = new SnapshotBuilder(noTable);
    loaded.apply(version, actions);
    // Another call may have come further meanwhile.
    if (version > this.#snapshot.version) this.#snapshot = loaded.build();
    return true;
  }

  /** @returns the highest version with such a file in the log; −1 where there is none */
  async #newestOf(file: RegExp): Promise<number> {
    const names = await this.#store.list(this.#logFolder);
    return Math.max(-1, ...names.map(({ name }) => Number(file.exec(name)?.[1] ?? -1)));
  }

  /** The log ends where a version is missing, unless later ones exist: to write into that gap would bring back the past. */
  async #checkEnd(): Promise<TableSnapshot> {
    if (this.#endChecked) return this.#snapshot;
    const newest = await this.#newestOf(versionFile);
    // A version that another writer added since is no gap: it is the next one to read.
    if (
      newest > this.#snapshot.version &&
      (await this.#store.get(this.#versionPath(this.#snapshot.version + 1))) === null
    ) {
      // Nor is one that went into a checkpoint since.
      if (await this.#loadCheckpoint()) return this.refresh();
      throw corrupt(`${this.#versionPath(this.#snapshot.version + 1)} of the lake is missing.`);
    }
    this.#endChecked = true;
    return newest > this.#snapshot.version ? this.refresh() : this.#snapshot;
  }

  get #logFolder(): string {
    return `${this.root}/_delta_log`;
  }

  #versionPath(version: number): string {
    return `${this.#logFolder}/${String(version).padStart(20, '0')}.json`;
  }
}
