/**
 * Lakes of real files for the tests of their maintenance: appends of made-up clicks at chosen times, all rows of a table as text, and
 * a store that fails from a chosen step on, as a killed process does.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ArchiveTable } from '../../batch/archive-table.ts';
import { eventColumns, RowBuffer } from '../../batch/event-table.ts';
import { quotePath } from '../../clients/duckdb.ts';
import type { DuckDb } from '../../clients/duckdb.ts';
import { LocalObjectStore } from '../../clients/object-store.ts';
import type { ObjectStore } from '../../clients/object-store.ts';
import { clicks, decode } from './commit-writer.ts';

export const dayMs = 86_400_000;

export interface Append {
  readonly partition: number;
  readonly from: number;
  readonly count: number;
  /** Broker's timestamp of the first; each later one is a second later. */
  readonly atMs: number;
  /** When it is archived. */
  readonly nowMs: number;
  /** Event time of the first; each later one is a second later. */
  readonly timeMs?: number;
}

/** Every seventh record is broken. */
export async function append(archive: ArchiveTable, database: DuckDb, one: Append): Promise<void> {
  const { partition, from, count, atMs, nowMs, timeMs = atMs } = one;
  const rows = new RowBuffer(eventColumns(clicks));
  for (let i = 0; i < count; i++) {
    const offset = from + i;
    const event = JSON.stringify({ id: `e${partition}-${offset}`, at: timeMs + 1_000 * i });
    const value = Buffer.from(offset % 7 === 6 ? '{' : event);
    const record = { partition, offset, timestampMs: atMs + 1_000 * i, key: null, value };
    rows.add(record, decode(record));
  }
  const range = { partition, expectedOffset: from, nextOffset: from + count, rows };
  expect(await archive.append(database, [range], nowMs)).toBe(true);
}

export async function newArchive(store: ObjectStore, nowMs: number): Promise<ArchiveTable> {
  const archive = new ArchiveTable(store, clicks);
  await archive.create(null, nowMs);
  return archive;
}

/** `partition:offset:id` of every row of the live files, as a fresh reader of the table sees them, in order. */
export async function rowsOf(store: ObjectStore, database: DuckDb): Promise<string[]> {
  const archive = new ArchiveTable(store, clicks);
  const found = await archive.files();
  if (found.length === 0) return [];
  const copies = await archive.localCopies(found);
  const rows = await database
    .query(
      `SELECT _partition || ':' || _offset || ':' || coalesce(_id, _rejected) AS shown
       FROM read_parquet([${copies.files.map(quotePath).join(', ')}]) ORDER BY _partition, _offset`,
    )
    .finally(() => copies.release());
  return rows.map(({ shown }) => String(shown));
}

/** Every object of the lake with its content's hash. */
export async function contentOf(store: ObjectStore): Promise<string[]> {
  const content: string[] = [];
  for (const folder of [clicks.name, '_scratch'])
    for (const { name } of await store.list(folder))
      content.push(`${folder}/${name} ${await store.checksum(`${folder}/${name}`)}`);
  return content;
}

/** Every file below a folder with its content's hash; links are followed. */
export function treeOf(folder: string, prefix = ''): string[] {
  return readdirSync(folder)
    .sort()
    .flatMap((name) => {
      const path = join(folder, name);
      // A dangling link is a file that is not there.
      if (!existsSync(path)) return [`${prefix}${name} -> nowhere`];
      if (statSync(path).isDirectory()) return treeOf(path, `${prefix}${name}/`);
      return [`${prefix}${name} ${createHash('sha256').update(readFileSync(path)).digest('hex')}`];
    });
}

/** Calls of a store that change something, in the order in which `MortalStore` counts them. */
const changes = ['putIfAbsent', 'put', 'remove', 'adopt', 'copyCold', 'discard'] as const;

/**
 * A store of a process that is killed at its n-th change: before the change is made, or after it and before anybody hears of it. From
 * then on every call fails.
 */
export class MortalStore extends LocalObjectStore {
  changes = 0;
  readonly #killAt: number;
  readonly #after: boolean;

  constructor(root: string, killAt: number, after: boolean) {
    super(root);
    this.#killAt = killAt;
    this.#after = after;
    for (const name of [...changes, 'get', 'list', 'scratchFile', 'localCopies', 'checksum'] as const) {
      const call = (LocalObjectStore.prototype[name] as (...args: unknown[]) => Promise<unknown>).bind(this);
      const isChange = (changes as readonly string[]).includes(name);
      Object.defineProperty(this, name, {
        value: (...args: unknown[]) => this.#step(isChange, () => call(...args)),
      });
    }
  }

  get isDead(): boolean {
    return this.changes >= this.#killAt;
  }

  async #step(isChange: boolean, call: () => Promise<unknown>): Promise<unknown> {
    if (this.isDead) throw new Error('killed');
    if (!isChange) return call();
    this.changes++;
    if (!this.isDead) return call();
    if (this.#after) await call();
    throw new Error('killed');
  }
}
