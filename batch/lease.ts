/**
 * Leases: who reads for long says so, and vacuum deletes none of the files. A lease is an object `<table>/_leases/<uuid>.json` that
 * names the files and when it ends; a timer renews it, its end removes it, and where its process dies it expires by itself. Other
 * programs' vacuums pass over names that begin with `_`.
 *
 * Guarantee: from when `holdLease` has returned until the lease is released or lost (`signal`), vacuum deletes none of its files.
 * Proof. Vacuum reads the table first, then the leases, then it deletes what was removed before it read the table, by at least
 * `retentionMinMs`. `holdLease` writes the lease first, then it reads the table. If vacuum did not see the lease, it had read
 * leases, and so the table, before the lease was written. A file of the lease that is live when `holdLease` reads the table was live
 * when vacuum read it (no name ever comes back), so that vacuum does not delete it. One that was removed meanwhile was removed less
 * than half the minimum ago, or else `holdLease` refuses it; vacuum wants the whole of it. (The other half is for clocks that
 * differ; the first case needs no clock at all.)
 */
import { randomUUID } from 'node:crypto';
import type { ObjectStore } from '../clients/object-store.ts';
import { ReckonError } from '../domain/errors.ts';
import type { DeltaTable } from './delta-log.ts';

/** For so long after its removal a file stays, whatever vacuum is asked for. */
export const retentionMinMs = 3_600_000;
/** For so long a lease holds without being renewed. */
const leaseMs = 120_000;
/** How far the clocks of reader and vacuum may differ. */
const clocksMs = 300_000;

interface LeaseObject {
  /** Epoch milliseconds by the clock of whoever holds it. */
  readonly expiresMs: number;
  /** In the table's folder. */
  readonly files: readonly string[];
}

export interface Lease {
  /** Aborted when the lease could not be renewed in time: the files may go. */
  readonly signal: AbortSignal;
  release(): Promise<void>;
}

/** A lease as vacuum sees it. */
export interface SeenLease {
  /** In the table's folder. */
  readonly path: string;
  readonly files: readonly string[] | 'all';
  readonly isExpired: boolean;
}

/** Holds files while `work` runs. */
export async function withLease<T>(
  table: DeltaTable,
  store: ObjectStore,
  files: readonly string[],
  work: (signal: AbortSignal) => Promise<T>,
  now: () => number = Date.now,
): Promise<T> {
  const lease = await holdLease(table, store, files, now);
  try {
    return await work(lease.signal);
  } finally {
    await lease.release();
  }
}

/**
 * Holds files until the lease is released.
 * @param files of a version that was read just now, in the table's folder
 * @param renewMs how often the lease is renewed
 * @throws ReckonError `archive-behind` (try again with a newer version) when one of them was replaced long ago
 */
export async function holdLease(
  table: DeltaTable,
  store: ObjectStore,
  files: readonly string[],
  now: () => number = Date.now,
  renewMs = leaseMs / 4,
): Promise<Lease> {
  const path = `${leaseFolder(table.root)}/${randomUUID()}.json`;
  const lost = new AbortController();
  let expiresMs = 0;
  const write = async (): Promise<void> => {
    const next = now() + leaseMs;
    const lease: LeaseObject = { expiresMs: next, files };
    await store.put(path, Buffer.from(JSON.stringify(lease)));
    expiresMs = next;
  };
  await write();
  let renewing: Promise<void> = Promise.resolve();
  const timer = setInterval(() => {
    // Also where a renewal does not answer, or this process has slept.
    if (now() >= expiresMs) lost.abort(leaseLost());
    // A store that fails for a moment is asked again.
    renewing = renewing.then(write).catch(() => undefined);
  }, renewMs);
  timer.unref();
  const release = async (): Promise<void> => {
    clearInterval(timer);
    await renewing;
    // What cannot be removed expires.
    await store.remove(path).catch(() => undefined);
  };
  try {
    await requireHeld(table, files, now);
  } catch (error) {
    await release();
    throw error;
  }
  return { signal: lost.signal, release };
}

function leaseLost(): ReckonError {
  return new ReckonError(
    'archive-behind',
    'The lake could not be reached for so long that the files that were being read may have been deleted.',
    'Try again.',
  );
}

/** Every file is live, or was removed so little time ago that no vacuum that missed the lease deletes it. */
async function requireHeld(table: DeltaTable, paths: readonly string[], now: () => number): Promise<void> {
  const { files, tombstones } = await table.refresh();
  const youngMs = now() - retentionMinMs / 2;
  const late = paths.filter(
    (path) => !files.has(path) && !((tombstones.get(path)?.deletionTimestamp ?? 0) > youngMs),
  );
  if (late.length > 0)
    throw new ReckonError(
      'archive-behind',
      `${late[0]} of the lake was replaced since its version was read.`,
      'Read the newest version and try again.',
    );
}

/** All leases of a table; one that cannot be read (by a newer Reckon, or damaged) holds everything until it expires. */
export async function readLeases(store: ObjectStore, root: string, nowMs: number): Promise<SeenLease[]> {
  const found = await store.list(leaseFolder(root));
  const seen = found.map(async ({ name, modifiedMs }): Promise<SeenLease | null> => {
    const bytes = await store.get(`${leaseFolder(root)}/${name}`);
    // Released since it was listed.
    if (bytes === null) return null;
    const lease = parseLease(bytes);
    const expiresMs = lease?.expiresMs ?? modifiedMs + leaseMs;
    const isExpired = expiresMs + clocksMs <= nowMs;
    return { path: `_leases/${name}`, files: lease?.files ?? 'all', isExpired };
  });
  return (await Promise.all(seen)).filter((lease) => lease !== null);
}

function parseLease(bytes: Uint8Array): LeaseObject | null {
  try {
    const lease = JSON.parse(Buffer.from(bytes).toString('utf8')) as LeaseObject;
    return Array.isArray(lease.files) && Number.isFinite(lease.expiresMs) ? lease : null;
  } catch {
    return null;
  }
}

function leaseFolder(root: string): string {
  return `${root}/_leases`;
}
