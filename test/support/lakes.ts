/**
 * Stores for a test, each empty: folders of the local disk, or prefixes of a bucket on a real S3 server. Guarantee: `close` ends the
 * server and removes everything.
 */
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LocalObjectStore } from '../../clients/object-store.ts';
import type { ObjectStore } from '../../clients/object-store.ts';
import { S3ObjectStore } from '../../clients/s3-store.ts';
import { startS3Server } from '../../scripts/stack/versitygw.ts';
import type { S3Server } from '../../scripts/stack/versitygw.ts';

export const lakeKinds = ['a local disk', 'S3'] as const;
export type LakeKind = (typeof lakeKinds)[number];

export interface Lake {
  readonly store: ObjectStore;
  /** Of the S3 server; null on a local disk. */
  readonly connection: S3Server | null;
  /** The other disk, of cold files; null in a bucket. */
  readonly coldDir: string | null;
  /** Files that were begun and not taken over. */
  readonly scratch: () => string[];
}

export interface Lakes {
  /** For the test's own files. */
  readonly folder: string;
  readonly server: S3Server | null;
  newLake(): Lake;
  close(): Promise<void>;
}

const bucket = 'lakes';
const cacheBytes = 1 << 30;

export async function openLakes(kind: LakeKind): Promise<Lakes> {
  const folder = mkdtempSync(join(tmpdir(), 'reckon-lakes-'));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  const namesIn = (path: string) => (existsSync(path) ? readdirSync(path) : []);
  let lakes = 0;
  if (kind === 'a local disk')
    return {
      folder,
      server: null,
      newLake: () => {
        const root = join(folder, `lake-${++lakes}`);
        const coldDir = join(folder, `cold-${lakes}`);
        return {
          store: new LocalObjectStore(root, coldDir),
          connection: null,
          coldDir,
          scratch: () => namesIn(join(root, '_scratch')),
        };
      },
      close: async () => remove(),
    };
  const server = await startS3Server(folder, (line) => process.stderr.write(`${line}\n`));
  await server.createBucket(bucket);
  return {
    folder,
    server,
    newLake: () => {
      const own = join(folder, `local-${++lakes}`);
      const url = `s3://${bucket}/lake-${lakes}`;
      const store = new S3ObjectStore({ url, folder: own, cacheBytes, connection: server });
      return { store, connection: server, coldDir: null, scratch: () => namesIn(join(own, 'scratch')) };
    },
    close: async () => {
      await server.stop();
      remove();
    },
  };
}

/** What damages an object: whatever replaces it whole. */
export async function truncateObject(store: ObjectStore, path: string, length: number): Promise<void> {
  const bytes = await store.get(path);
  if (bytes === null) throw new Error(`there is no ${path}`);
  await store.put(path, bytes.subarray(0, length));
}

/** For test files that need both kinds: each is opened when it is first wanted, and closed after the last test. */
export function useLakes(): (kind?: LakeKind) => Promise<Lake> {
  const opened = new Map<LakeKind, Promise<Lakes>>();
  afterAll(async () => {
    for (const lakes of opened.values()) await (await lakes).close();
  });
  return async (kind = 'a local disk') => {
    const lakes = opened.get(kind) ?? openLakes(kind);
    opened.set(kind, lakes);
    return (await lakes).newLake();
  };
}
