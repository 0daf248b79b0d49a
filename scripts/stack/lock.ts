/**
 * A lock between processes: a file that names its holder. Guarantee: while a live holder keeps it, nobody else gets it;
 * a holder that died (also by kill -9) does not block anyone. What is done under it must still be safe to do twice
 * (a machine that slept through its own lock), so results are published by an atomic rename.
 */
import { link, mkdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isAlive, startTimeOf } from './process.ts';

/** The holder touches its lock this often; one that was not touched for `staleMs` has lost its holder. */
const touchMs = 5_000;
const staleMs = 60_000;

/** Runs `work` while holding the lock. `onWait` is told once, when another process holds it. */
export async function withLock<T>(
  lockFile: string,
  onWait: (holder: string) => void,
  work: () => Promise<T>,
): Promise<T> {
  await mkdir(dirname(lockFile), { recursive: true });
  const mine = await acquire(lockFile, onWait);
  const touch = setInterval(() => {
    const now = new Date();
    utimes(lockFile, now, now).catch(() => undefined);
  }, touchMs);
  touch.unref();
  try {
    return await work();
  } finally {
    clearInterval(touch);
    if ((await contentOf(lockFile)) === mine) await rm(lockFile, { force: true });
  }
}

async function acquire(lockFile: string, onWait: (holder: string) => void): Promise<string> {
  const unique = `${process.pid}.${Math.random().toString(36).slice(2)}`;
  const holder = { host: hostname(), pid: process.pid, startedAt: await startTimeOf(process.pid), unique };
  const mine = JSON.stringify(holder);
  const draft = `${lockFile}.${unique}`;
  await writeFile(draft, mine);
  let told = false;
  try {
    // link() makes the complete file appear at once or fails: nobody ever reads a half-written lock.
    while (!(await linked(draft, lockFile))) {
      const theirs = await contentOf(lockFile);
      if (theirs !== null && (await isStale(lockFile, theirs))) {
        await removeStale(lockFile, theirs, `${draft}.stale`);
        continue;
      }
      if (!told && theirs !== null) onWait(`process ${parse(theirs)?.pid ?? 'of unknown id'}`);
      told = true;
      await sleep(200);
    }
    return mine;
  } finally {
    await rm(draft, { force: true });
  }
}

async function linked(draft: string, lockFile: string): Promise<boolean> {
  try {
    await link(draft, lockFile);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function isStale(lockFile: string, content: string): Promise<boolean> {
  const holder = parse(content);
  if (holder?.host === hostname()) return !(await isAlive({ pid: holder.pid, startedAt: holder.startedAt }));
  const touched = await stat(lockFile).catch(() => null);
  return touched !== null && Date.now() - touched.mtimeMs > staleMs;
}

/** Takes a stale lock away; if somebody replaced it in between, puts theirs back. */
async function removeStale(lockFile: string, stale: string, aside: string): Promise<void> {
  await rename(lockFile, aside).catch(() => undefined);
  const taken = await contentOf(aside);
  if (taken !== null && taken !== stale) await linked(aside, lockFile);
  await rm(aside, { force: true });
}

function parse(content: string): { host: string; pid: number; startedAt: string } | null {
  try {
    return JSON.parse(content) as { host: string; pid: number; startedAt: string };
  } catch {
    return null;
  }
}

async function contentOf(file: string): Promise<string | null> {
  return readFile(file, 'utf8').catch(() => null);
}
