/**
 * The actions of a Delta table's log, and the table that they add up to. Guarantee: pure; what this version of the protocol does
 * not know is kept in the log and not looked at.
 * Source: the Delta transaction log protocol, sections "Actions" and "Action Reconciliation".
 */
import { ReckonError } from '../domain/errors.ts';

export interface DeltaColumn {
  readonly name: string;
  /** Delta's names: integer, long, double, boolean, string, binary, timestamp, decimal(p,s); nested types as objects. */
  readonly type: string | { readonly type: 'array' | 'struct' | 'map' };
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

/** A tombstone: the file is no longer part of the table, but older versions may be read until it expires. */
export interface RemoveFile {
  readonly path: string;
  /** Epoch milliseconds. */
  readonly deletionTimestamp: number;
  readonly dataChange: boolean;
}

/** How far an application has written: here, the last archived offset of a partition. */
export interface Transaction {
  readonly appId: string;
  readonly version: number;
  /** Epoch milliseconds. */
  readonly lastUpdated: number;
}

export interface Protocol {
  readonly minReaderVersion: number;
  readonly minWriterVersion: number;
}

export interface MetaData {
  readonly id: string;
  readonly format: { readonly provider: string; readonly options: Readonly<Record<string, string>> };
  readonly schemaString: string;
  readonly partitionColumns: readonly string[];
  /** The table's properties. */
  readonly configuration: Readonly<Record<string, string>>;
  readonly createdTime: number;
}

/** Actions that change the table. */
export type TableAction =
  | { readonly add: AddFile }
  | { readonly remove: RemoveFile }
  | { readonly txn: Transaction }
  | { readonly protocol: Protocol }
  | { readonly metaData: MetaData };

export type Action = TableAction | { readonly commitInfo: Readonly<Record<string, unknown>> };

/** The table as of a version; −1 = there is none yet. */
export interface TableSnapshot {
  readonly version: number;
  readonly protocol: Protocol | null;
  readonly metaData: MetaData | null;
  readonly files: ReadonlyMap<string, AddFile>;
  readonly tombstones: ReadonlyMap<string, RemoveFile>;
  readonly transactions: ReadonlyMap<string, Transaction>;
}

export const noTable: TableSnapshot = {
  version: -1,
  protocol: null,
  metaData: null,
  files: new Map(),
  tombstones: new Map(),
  transactions: new Map(),
};

/** What is known of one parsed line: any of the actions, or none. */
export type ParsedAction = {
  readonly [Kind in 'add' | 'remove' | 'txn' | 'protocol' | 'metaData']?:
    Extract<TableAction, Record<Kind, unknown>>[Kind] | null;
};

/** A snapshot on its way to a later version; the one that it began with stays as it is. */
export class SnapshotBuilder {
  readonly #files: Map<string, AddFile>;
  readonly #tombstones: Map<string, RemoveFile>;
  readonly #transactions: Map<string, Transaction>;
  #protocol: Protocol | null;
  #metaData: MetaData | null;
  version: number;

  constructor(from: TableSnapshot) {
    this.version = from.version;
    this.#protocol = from.protocol;
    this.#metaData = from.metaData;
    this.#files = new Map(from.files);
    this.#tombstones = new Map(from.tombstones);
    this.#transactions = new Map(from.transactions);
  }

  /** @param version that the actions make */
  apply(version: number, actions: readonly ParsedAction[]): void {
    this.version = version;
    for (const { add, remove, txn, protocol, metaData } of actions) {
      if (add) {
        this.#files.set(add.path, add);
        this.#tombstones.delete(add.path);
      }
      if (remove) {
        this.#files.delete(remove.path);
        this.#tombstones.set(remove.path, remove);
      }
      if (txn) this.#transactions.set(txn.appId, txn);
      if (protocol) this.#protocol = protocol;
      if (metaData) this.#metaData = metaData;
    }
  }

  build(): TableSnapshot {
    return {
      version: this.version,
      protocol: this.#protocol,
      metaData: this.#metaData,
      files: this.#files,
      tombstones: this.#tombstones,
      transactions: this.#transactions,
    };
  }
}

/** One action a line, as version files hold them. */
export function encodeActions(actions: readonly Action[]): Uint8Array {
  return Buffer.from(actions.map((action) => `${JSON.stringify(action)}\n`).join(''));
}

/** @throws ReckonError `corrupt-lake` */
export function decodeActions(bytes: Uint8Array, path: string): ParsedAction[] {
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

export function corrupt(message: string, cause?: unknown): ReckonError {
  return new ReckonError('corrupt-lake', message, 'Restore it from a copy of the lake.', { cause });
}

export function schemaString(columns: readonly DeltaColumn[]): string {
  return JSON.stringify({
    type: 'struct',
    fields: columns.map(({ name, type, nullable }) => ({ name, type, nullable, metadata: {} })),
  });
}
