/**
 * Where the lake's files live: one narrow interface, today on local disk. Guarantee: `putIfAbsent` is atomic (of several
 * callers exactly one gets true) and durable; a file appears whole or not at all.
 */
import { randomUUID } from 'node:crypto';
import { link, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';

export interface ObjectStore {
  /** Names the store in messages. */
  readonly url: string;
  /** @returns the bytes, or null when there is no such object */
  get(path: string): Promise<Uint8Array | null>;
  /** Names (not paths) of the objects directly under a folder, sorted; empty when there is no such folder. */
  list(folder: string): Promise<string[]>;
  /** @returns whether this call created the object; false when it was there before */
  putIfAbsent(path: string, bytes: Uint8Array): Promise<boolean>;
  /** Takes a finished local file over under a new name. @returns its size in bytes */
  adopt(localFile: string, path: string): Promise<number>;
  /** What DuckDB opens to read the object. */
  location(path: string): string;
  /** A local file name to write to before `adopt`. */
  scratchFile(): Promise<string>;
}

/** Objects as files under a folder; put-if-absent by link(2), which fails where the name exists. */
export class LocalObjectStore implements ObjectStore {
  readonly url: string;
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
    this.url = root;
  }

  location(path: string): string {
    return join(this.#root, path);
  }

  async get(path: string): Promise<Uint8Array | null> {
    return readFile(this.location(path)).catch(ifMissing(null));
  }

  async list(folder: string): Promise<string[]> {
    const names = await readdir(this.location(folder)).catch(ifMissing([] as string[]));
    return names.sort();
  }

  async putIfAbsent(path: string, bytes: Uint8Array): Promise<boolean> {
    const target = this.location(path);
    const scratch = await this.scratchFile();
    const file = await open(scratch, 'wx');
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
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

  async scratchFile(): Promise<string> {
    const folder = this.location('_scratch');
    await mkdir(folder, { recursive: true });
    return join(folder, randomUUID());
  }
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
