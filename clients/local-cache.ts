/**
 * Local copies of a store's objects, which never change. Guarantee: a copy is whole; it stays as long as somebody uses it, whoever
 * makes room meanwhile, in this process or another; the copies that nobody uses take no more than the bound.
 *
 * A copy is used by a name of its own (a hard link), so that to make room is only to remove the cache's name of a file: how many
 * names it has tells everybody whether it is in use.
 */
import { createHash, randomUUID } from 'node:crypto';
import { link, mkdir, open, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { invariant } from '../domain/errors.ts';
import type { LocalCopies } from './object-store.ts';

/** Writes the object to the file. @throws where there is none */
export type Download = (path: string, file: string) => Promise<void>;

const downloadsMax = 6;
/** A process says so often that it is there; one that has been silent for so long has died. */
const beatMs = 60_000;
const deadMs = 3_600_000;

export class LocalCache {
  readonly #folder: string;
  readonly #store: string;
  readonly #maxBytes: number;
  readonly #underWay = new Map<string, Promise<void>>();
  readonly #waiting: (() => void)[] = [];
  #downloads = 0;
  /** Copies that are in use, and the folder of the names under which they are: another one after a time without any. */
  #used = 0;
  #leases = '';
  #beat: NodeJS.Timeout | null = null;
  /** Whether the copies may take more than the bound. */
  #isFull = true;

  /** @param store which names the objects' store: several may share the folder */
  constructor(folder: string, store: string, maxBytes: number) {
    this.#folder = folder;
    this.#store = store;
    this.#maxBytes = maxBytes;
  }

  async copies(paths: readonly string[], download: Download): Promise<LocalCopies> {
    if (paths.length === 0) return { files: [], release: () => Promise.resolve() };
    const leases = this.#use(paths.length);
    await mkdir(leases, { recursive: true });
    const taken = await Promise.allSettled(paths.map((path) => this.#take(path, leases, download)));
    const files = taken.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    let released = false;
    const release = async () => {
      if (released) return;
      released = true;
      await Promise.all(files.map((file) => rm(file, { force: true })));
      await this.#unuse(paths.length);
      await this.#makeRoom();
    };
    const failed = taken.find((one) => one.status === 'rejected');
    if (failed !== undefined) {
      await release();
      throw failed.reason;
    }
    await this.#makeRoom();
    return { files, release };
  }

  /** @returns a name of the copy that is the caller's alone */
  async #take(path: string, leases: string, download: Download): Promise<string> {
    const copy = join(this.#folder, createHash('sha256').update(`${this.#store}\n${path}`).digest('hex'));
    const lease = join(leases, randomUUID());
    // Somebody may make room between the download and our name for it, but not again and again.
    for (let tries = 1; tries <= 10; tries++) {
      if (await succeeds(link(copy, lease))) {
        const now = new Date();
        await utimes(lease, now, now);
        return lease;
      }
      // Those who want the same object share its download.
      let shared = this.#underWay.get(copy);
      if (shared === undefined) {
        shared = this.#fetch(path, copy, download).finally(() => this.#underWay.delete(copy));
        this.#underWay.set(copy, shared);
      }
      await shared;
    }
    invariant(false, `${path} does not stay in the cache ${this.#folder}`);
  }

  async #fetch(path: string, copy: string, download: Download): Promise<void> {
    await this.#downloadSlot();
    const part = `${copy}.${randomUUID()}.part`;
    try {
      await download(path, part);
      const file = await open(part, 'r+');
      await file.sync().finally(() => file.close());
      await rename(part, copy);
      this.#isFull = true;
    } finally {
      await rm(part, { force: true });
      this.#downloads--;
      this.#waiting.shift()?.();
    }
  }

  async #downloadSlot(): Promise<void> {
    while (this.#downloads >= downloadsMax) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#downloads++;
  }

  /** Removes the copies that were used the longest ago, and what killed processes have left. */
  async #makeRoom(): Promise<void> {
    if (!this.#isFull) return;
    this.#isFull = false;
    const nowMs = Date.now();
    const copies: { file: string; size: number; usedMs: number; inUse: boolean }[] = [];
    for (const name of await readdir(this.#folder)) {
      const file = join(this.#folder, name);
      const stats = await stat(file).catch(() => null);
      if (stats === null || !stats.isFile()) continue;
      if (name.endsWith('.part')) {
        if (nowMs - stats.mtimeMs > deadMs) await rm(file, { force: true });
      } else copies.push({ file, size: stats.size, usedMs: stats.mtimeMs, inUse: stats.nlink > 1 });
    }
    let bytes = copies.reduce((sum, { size }) => sum + size, 0);
    for (const { file, size, inUse } of copies.sort((a, b) => a.usedMs - b.usedMs)) {
      if (bytes <= this.#maxBytes) break;
      if (inUse) continue;
      await rm(file, { force: true });
      bytes -= size;
    }
    this.#isFull ||= bytes > this.#maxBytes;
    for (const name of await readdir(join(this.#folder, 'used')).catch(() => [])) {
      const folder = join(this.#folder, 'used', name);
      const stats = await stat(folder).catch(() => null);
      if (stats !== null && nowMs - stats.mtimeMs > deadMs)
        await rm(folder, { recursive: true, force: true });
    }
  }

  /** @returns the folder for the names; while copies are in use, other processes are told that this one lives */
  #use(count: number): string {
    if (this.#used === 0) {
      const leases = join(this.#folder, 'used', randomUUID());
      this.#leases = leases;
      const beat = () => {
        const now = new Date();
        utimes(leases, now, now).catch(() => undefined);
      };
      this.#beat = setInterval(beat, beatMs).unref();
    }
    this.#used += count;
    return this.#leases;
  }

  async #unuse(count: number): Promise<void> {
    this.#used -= count;
    if (this.#used > 0 || this.#beat === null) return;
    clearInterval(this.#beat);
    this.#beat = null;
    await rm(this.#leases, { recursive: true, force: true });
  }
}

/** @returns false where the file is not there */
async function succeeds(work: Promise<void>): Promise<boolean> {
  try {
    await work;
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}
