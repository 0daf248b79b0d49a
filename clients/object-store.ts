/**
 * Where the lake's files live: one narrow interface, and the local disk as such a store (S3: `s3-store.ts`). Guarantee:
 * `putIfAbsent` is atomic (of several callers exactly one gets true) and durable; a file appears whole or not at all.
 */
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { copyFile, link, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { ReckonError } from '../domain/errors.ts';
import { linkColdFolder } from './cold-folder.ts';

export interface ObjectStore {
  /** Names the store in messages. */
  readonly url: string;
  /** @returns the bytes, or null when there is no such object */
  get(path: string): Promise<Uint8Array | null>;
  /** All objects under a folder, at any depth, by name; empty when there is no such folder. */
  list(folder: string): Promise<StoredObject[]>;
  /**
   * @param bytes which no other call may send: on a server, they tell a writer that an object is its own
   * @returns whether this call created the object; false when it was there before
   */
  putIfAbsent(path: string, bytes: Uint8Array): Promise<boolean>;
  /** Writes an object, or replaces it whole. */
  put(path: string, bytes: Uint8Array): Promise<void>;
  /** Removes an object; one that is not there is as good as removed. */
  remove(path: string): Promise<void>;
  /** Takes a finished local file over under a new name. @returns its size in bytes */
  adopt(localFile: string, path: string): Promise<number>;
  /** Where other programs find the object. */
  location(path: string): string;
  /** Objects as local files, for DuckDB. @throws ReckonError `corrupt-lake` when one of them is not there */
  localCopies(paths: readonly string[]): Promise<LocalCopies>;
  /**
   * Copies an object to the store's cold storage, durably, under a name that nobody else has.
   * @param to below a folder `cold` of the same table
   * @throws ReckonError `corrupt-lake` when there is no such object
   */
  copyCold(from: string, to: string): Promise<void>;
  /** SHA-256 of an object as it is read back, in hex. @throws ReckonError `corrupt-lake` when there is no such object */
  checksum(path: string): Promise<string>;
  /** A local file name to write to before `adopt`. */
  scratchFile(): Promise<string>;
  /** Removes a scratch file that was not adopted. */
  discard(localFile: string): Promise<void>;
}

export interface StoredObject {
  /** Relative to the folder that was asked for. */
  readonly name: string;
  readonly modifiedMs: number;
  readonly bytes: number;
}

/** Objects never change, so a copy is as good as the object; it stays until it is released. */
export interface LocalCopies {
  /** In the order in which they were asked for. */
  readonly files: readonly string[];
  release(): Promise<void>;
}

/** Objects as files under a folder; put-if-absent by link(2), which fails where the name exists. */
export class LocalObjectStore implements ObjectStore {
  readonly url: string;
  readonly #root: string;
  readonly #coldDir: string | null;

  /** @param coldDir folder on another disk for what becomes cold; null: it stays on this one */
  constructor(root: string, coldDir: string | null = null) {
    this.#root = root;
    this.#coldDir = coldDir;
    this.url = root;
  }

  location(path: string): string {
    return join(this.#root, path);
  }

  async get(path: string): Promise<Uint8Array | null> {
    return readFile(this.location(path)).catch(ifMissing(null));
  }

  async list(folder: string): Promise<StoredObject[]> {
    const names = await readdir(this.location(folder)).catch(ifMissing([] as string[]));
    const found = names.map(async (name): Promise<StoredObject[]> => {
      // A link to another disk is followed.
      const stats = await stat(join(this.location(folder), name)).catch(ifMissing(null));
      if (stats?.isFile() === true) return [{ name, modifiedMs: stats.mtimeMs, bytes: stats.size }];
      if (stats?.isDirectory() !== true) return [];
      const inside = await this.list(`${folder}/${name}`);
      return inside.map((object) => ({ ...object, name: `${name}/${object.name}` }));
    });
    return (await Promise.all(found)).flat().sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async localCopies(paths: readonly string[]): Promise<LocalCopies> {
    const files = paths.map((path) => this.location(path));
    for (const [i, file] of files.entries())
      if ((await stat(file).catch(ifMissing(null))) === null)
        throw missingObject(this.url, paths[i] as string);
    return { files, release: () => Promise.resolve() };
  }

  async put(path: string, bytes: Uint8Array): Promise<void> {
    await this.adopt(await this.#write(bytes), path);
  }

  async remove(path: string): Promise<void> {
    await rm(this.location(path), { force: true });
  }

  async putIfAbsent(path: string, bytes: Uint8Array): Promise<boolean> {
    const target = this.location(path);
    const scratch = await this.#write(bytes);
    try {
      await mkdir(dirname(target), { recursive: true });
      await link(scratch, target);
      await syncFolder(dirname(target));
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
      throw error;
    } finally {
      await rm(scratch, { force: true });
    }
  }

  async adopt(localFile: string, path: string): Promise<number> {
    const target = this.location(path);
    const file = await open(localFile, 'r');
    await file.sync();
    await file.close();
    await mkdir(dirname(target), { recursive: true });
    await rename(localFile, target);
    await syncFolder(dirname(target));
    return (await stat(target)).size;
  }

  async copyCold(from: string, to: string): Promise<void> {
    const cold = /^(.*)\/cold\//.exec(to)?.[1];
    if (this.#coldDir !== null && cold !== undefined)
      await linkColdFolder(this.location(`${cold}/cold`), resolve(this.#coldDir, cold));
    const target = this.location(to);
    await mkdir(dirname(target), { recursive: true });
    // On the disk of the copy, so that it appears whole; where this process dies here, vacuum finds it.
    const scratch = join(dirname(target), `_${randomUUID()}`);
    try {
      // The folder of the copy is there: what is missing is the source.
      if ((await copyFile(this.location(from), scratch).catch(ifMissing('missing'))) === 'missing')
        throw missingObject(this.url, from);
      const file = await open(scratch, 'r');
      await file.sync().finally(() => file.close());
      await rename(scratch, target);
      await syncFolder(dirname(target));
    } catch (error) {
      await rm(scratch, { force: true });
      throw error;
    }
  }

  async checksum(path: string): Promise<string> {
    const hash = createHash('sha256');
    const read = pipeline(createReadStream(this.location(path)), hash).then(() => 'read');
    if ((await read.catch(ifMissing('missing'))) === 'missing') throw missingObject(this.url, path);
    return hash.digest('hex');
  }

  async discard(localFile: string): Promise<void> {
    await rm(localFile, { force: true });
  }

  /** @returns a scratch file with these bytes, durable */
  async #write(bytes: Uint8Array): Promise<string> {
    const scratch = await this.scratchFile();
    const file = await open(scratch, 'wx');
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    return scratch;
  }

  async scratchFile(): Promise<string> {
    const folder = this.location('_scratch');
    await mkdir(folder, { recursive: true });
    return join(folder, randomUUID());
  }
}

/** For objects that the lake's log names. */
export function missingObject(url: string, path: string): ReckonError {
  return new ReckonError(
    'corrupt-lake',
    `${path} of the lake (${url}) is missing.`,
    'Restore it from a copy of the lake.',
  );
}

/** A name is durable once its folder is. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  await handle.sync().finally(() => handle.close());
}

function ifMissing<T>(value: T): (error: unknown) => T {
  return (error) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return value;
    throw error;
  };
}
