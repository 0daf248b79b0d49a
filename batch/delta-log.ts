/**
 * The log of a Delta table (the open protocol of delta.io: reader version 1, writer version 2). Guarantee: a version is
 * written once, whole, by put-if-absent; data files and the `txn` that says how far they reach are in the same version,
 * so a crash at any step leaves neither a gap nor a double.
 * Source of the formats: the Delta transaction log protocol, sections "Actions" and "Per-file statistics".
 */
import { randomUUID } from 'node:crypto';
import type { ObjectStore } from '../clients/object-store.ts';
import { ReckonError } from '../domain/errors.ts';

export interface DeltaColumn {
  readonly name: string;
  /** Delta's names: integer, long, double, boolean, string, binary, timestamp, decimal(p,s). */
  readonly type: string;
  readonly nullable: boolean;
}

export interface AddFile {
  readonly path: string;
  readonly partitionValues: Readonly<Record<string, string>>;
  readonly size: number;
  readonly modificationTime: number;
  readonly dataChange: boolean;
  /** JSON text: numRecords, minValues, maxValues, nullCount. */
  readonly stats?: string;
}

/** How far an application has written: here, the last archived offset of a partition. */
export interface Transaction {
  readonly appId: string;
  readonly version: number;
}

export type Action =
  | { readonly add: AddFile }
  | { readonly txn: Transaction & { readonly lastUpdated: number } }
  | { readonly protocol: { readonly minReaderVersion: number; readonly minWriterVersion: number } }
  | { readonly metaData: Readonly<Record<string, unknown>> }
  | { readonly commitInfo: Readonly<Record<string, unknown>> };

/** The table as of a version. */
export interface TableSnapshot {
  readonly version: number;
  readonly files: ReadonlyMap<string, AddFile>;
  readonly transactions: ReadonlyMap<string, number>;
  /** The table's properties. */
  readonly configuration: Readonly<Record<string, string>>;
}

export class DeltaTable {
  readonly root: string;
  readonly #store: ObjectStore;
  #snapshot: TableSnapshot = { version: -1, files: new Map(), transactions: new Map(), configuration: {} };

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
          partitionColumns: [],
          configuration,
          createdTime: nowMs,
        },
      },
    ];
    await this.#store.putIfAbsent(this.#versionPath(0), encode(actions));
    return this.refresh();
  }

  /** Reads the versions that are new since the last call. @returns the newest snapshot; version −1 = no table */
  async refresh(): Promise<TableSnapshot> {
    // Snapshots that were handed out stay as they are: the maps are copied once, however many versions are new.
    let next: MutableSnapshot | null = null;
    for (;;) {
      const path = this.#versionPath((next ?? this.#snapshot).version + 1);
      const bytes = await this.#store.get(path);
      if (bytes === null) break;
      next ??= copyOf(this.#snapshot);
      apply(next, decode(bytes, path));
    }
    if (next !== null && next.version > this.#snapshot.version) this.#snapshot = next;
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
      if (await this.#store.putIfAbsent(this.#versionPath(version), encode(actions))) {
        await this.refresh();
        return version;
      }
    }
  }

  /** The log ends where a version is missing, unless later ones exist: to write into that gap would bring back the past. */
  async #checkEnd(): Promise<TableSnapshot> {
    if (this.#endChecked) return this.#snapshot;
    const names = await this.#store.list(`${this.root}/_delta_log`);
    const newest = Math.max(
      -1,
      ...names.filter((name) => /^\d{20}\.json$/.test(name)).map((name) => parseInt(name, 10)),
    );
    // A version that another writer added since is no gap: it is the next one to read.
    if (
      newest > this.#snapshot.version &&
      (await this.#store.get(this.#versionPath(this.#snapshot.version + 1))) === null
    )
      throw corrupt(`${this.#versionPath(this.#snapshot.version + 1)} of the lake is missing.`);
    this.#endChecked = true;
    return newest > this.#snapshot.version ? this.refresh() : this.#snapshot;
  }

  #versionPath(version: number): string {
    return `${this.root}/_delta_log/${String(version).padStart(20, '0')}.json`;
  }
}

interface MutableSnapshot extends TableSnapshot {
  version: number;
  files: Map<string, AddFile>;
  transactions: Map<string, number>;
  configuration: Readonly<Record<string, string>>;
}

function copyOf({ version, files, transactions, configuration }: TableSnapshot): MutableSnapshot {
  return { version, files: new Map(files), transactions: new Map(transactions), configuration };
}

function apply(snapshot: MutableSnapshot, actions: readonly ParsedAction[]): void {
  snapshot.version++;
  for (const { add, remove, txn, metaData } of actions) {
    if (add !== undefined) snapshot.files.set(add.path, add);
    if (remove !== undefined) snapshot.files.delete(remove.path);
    if (txn !== undefined) snapshot.transactions.set(txn.appId, txn.version);
    if (metaData?.configuration !== undefined) snapshot.configuration = metaData.configuration;
  }
}

/** The actions that change a snapshot; others are kept in the log and not looked at. */
interface ParsedAction {
  readonly add?: AddFile;
  readonly remove?: { readonly path: string };
  readonly txn?: Transaction;
  readonly metaData?: { readonly configuration?: Readonly<Record<string, string>> };
}

function encode(actions: readonly Action[]): Uint8Array {
  return Buffer.from(actions.map((action) => `${JSON.stringify(action)}\n`).join(''));
}

function decode(bytes: Uint8Array, path: string): ParsedAction[] {
  const lines = Buffer.from(bytes).toString('utf8').split('\n');
  const actions: unknown[] = [];
  try {
    for (const line of lines) if (line !== '') actions.push(JSON.parse(line));
  } catch (cause) {
    throw corrupt(`${path} of the lake is not valid JSON.`, cause);
  }
  // Every version says at least who wrote it: an empty one was torn.
  if (actions.length === 0 || actions.some((action) => typeof action !== 'object' || action === null))
    throw corrupt(`${path} of the lake holds no actions.`);
  return actions as ParsedAction[];
}

function corrupt(message: string, cause?: unknown): ReckonError {
  return new ReckonError('corrupt-lake', message, 'Restore it from a copy of the lake.', { cause });
}

function schemaString(columns: readonly DeltaColumn[]): string {
  return JSON.stringify({
    type: 'struct',
    fields: columns.map(({ name, type, nullable }) => ({ name, type, nullable, metadata: {} })),
  });
}
