/**
 * Opens the store that LAKE_URL names. Guarantee: a store that would let two writers have the same version of a table is refused
 * before anything is written to it.
 */
import { randomUUID } from 'node:crypto';
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ReckonError } from '../domain/errors.ts';
import { LocalObjectStore } from './object-store.ts';
import type { ObjectStore } from './object-store.ts';

export interface LakeSettings {
  /** `s3://bucket[/prefix]`, or the path of a folder. */
  readonly lakeUrl: string;
  /** What copies of a lake that is not on a local disk may take. */
  readonly lakeCacheBytes: number;
  /** Folder on another disk for the cold files of a local lake; null: they stay below the lake. */
  readonly lakeColdDir: string | null;
  /** Storage class of the cold files of a lake in a bucket; null: the bucket's own. */
  readonly lakeColdClass: string | null;
  /** Local folder of the process's own files. */
  readonly home: string;
}

/**
 * @param use `read` leaves the store as it is: no probe, and a folder that is not there is not made
 * @throws ReckonError `unsafe-server`, `unreachable`, or `invalid-config` where bucket, region or credentials are wrong
 */
export async function openLakeStore(
  settings: LakeSettings,
  use: 'read' | 'write' = 'write',
): Promise<ObjectStore> {
  const { lakeUrl, lakeCacheBytes, lakeColdDir, lakeColdClass, home } = settings;
  const folder = join(home, 'tmp', 'lake');
  const isBucket = lakeUrl.startsWith('s3://');
  const store = isBucket
    ? // Loaded where it is needed: the SDK takes a moment.
      new (await import('./s3-store.ts')).S3ObjectStore({
        url: lakeUrl,
        folder,
        cacheBytes: lakeCacheBytes,
        coldClass: lakeColdClass,
      })
    : new LocalObjectStore(lakeUrl, lakeColdDir);
  if (use === 'read') {
    await store.get('_scratch/none').catch((error: unknown) => {
      throw notUsable(store, 'read', error);
    });
    return store;
  }
  if (isBucket) await removeAbandoned(join(folder, 'scratch'), Date.now());
  await probePutIfAbsent(store);
  return store;
}

/** No file is being written for so long. */
const abandonedMs = 86_400_000;

/** Removes what killed processes had begun to write. (Of a local lake vacuum does that: its scratch files lie in the lake.) */
async function removeAbandoned(folder: string, nowMs: number): Promise<void> {
  for (const name of await readdir(folder).catch(() => [] as string[])) {
    const file = join(folder, name);
    // Another process may remove it, too.
    const stats = await stat(file).catch(() => null);
    if (stats?.isFile() === true && nowMs - stats.mtimeMs > abandonedMs) await rm(file, { force: true });
  }
}

/** @returns what to throw instead: the error itself where the folder is not to blame */
function notUsable(store: ObjectStore, how: 'read' | 'written to', error: unknown): unknown {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  if (!notOurs.has(code)) return error;
  return new ReckonError(
    'invalid-config',
    `LAKE_URL: ${store.url} cannot be ${how} (${code}).`,
    `Make it ${how === 'read' ? 'readable' : 'writable'}, or name another folder.`,
    { cause: error },
  );
}

/** Errors of link(2) on file systems that have none. */
const noLinks = new Set(['EPERM', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP', 'EMLINK', 'EXDEV']);
/** Of folders that are not ours to read or to write to. */
const notOurs = new Set(['EACCES', 'EROFS', 'ENOTDIR', 'EEXIST', 'ENOSPC', 'EDQUOT']);

/**
 * @throws ReckonError `unsafe-server` unless the second of two puts of one name is told that it was not the first; `invalid-config`
 *   where nothing can be put
 */
export async function probePutIfAbsent(store: ObjectStore): Promise<void> {
  const path = `_scratch/probe-${randomUUID()}`;
  const unsafe = (why: string, cause?: unknown) =>
    new ReckonError(
      'unsafe-server',
      `The lake at ${store.url} is not safe for several writers: ${why}.`,
      'Two of them could write the same version of a table, and one would be lost. Use another store.',
      { cause },
    );
  const put = (text: string) => store.putIfAbsent(path, Buffer.from(`${text} ${randomUUID()}`));
  try {
    const first = await put('first');
    const before = await store.get(path);
    if (!first || before === null) throw unsafe('an object that was just written is not there');
    const second = await put('second');
    const after = await store.get(path);
    if (second || after === null || Buffer.compare(before, after) !== 0)
      throw unsafe('it replaces an object that must not be replaced (If-None-Match is ignored)');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    if (noLinks.has(code)) throw unsafe(`its file system has no hard links (${code})`, error);
    throw notUsable(store, 'written to', error);
  } finally {
    // What went wrong is told above; a probe that is left behind harms nobody.
    await store.remove(path).catch(() => undefined);
  }
}
