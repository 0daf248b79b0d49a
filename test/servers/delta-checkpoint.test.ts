/**
 * Checkpoints: whoever begins at one sees the table that the versions say, also when the versions before it are gone; and others
 * (delta-rs, DuckDB's Delta extension) read the same rows.
 */
import { mkdtempSync, rmSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { ArchiveTable } from '../../batch/archive-table.ts';
import { DeltaTable } from '../../batch/delta-log.ts';
import type { TableSnapshot } from '../../batch/delta-actions.ts';
import { eventColumns, RowBuffer } from '../../batch/event-table.ts';
import { DuckDb } from '../../clients/duckdb.ts';
import { readUtf8 } from '../../clients/kafka.ts';
import type { ObjectStore } from '../../clients/object-store.ts';
import { createDecoder } from '../../domain/decode.ts';
import { lakeKinds, truncateObject, useLakes } from '../support/lakes.ts';
import { readByOthers } from '../support/lake-readers.ts';
import { click, clicks } from '../support/commit-writer.ts';

let folder: string;
let database: DuckDb;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'reckon-checkpoint-'));
  database = await DuckDb.open({ memoryLimit: '256MB', threads: 1, tempDirectory: join(folder, 'spill') });
});
afterAll(() => {
  database.close();
  rmSync(folder, { recursive: true, force: true });
});

const newLake = useLakes();
const versionPath = (version: number) => `t/_delta_log/${String(version).padStart(20, '0')}.json`;
const checkpointPath = 't/_delta_log/00000000000000000002.checkpoint.parquet';
const announced = 't/_delta_log/_last_checkpoint';
const written = { commitInfo: { operation: 'WRITE' } };
const add = (path: string) => ({
  add: {
    path,
    partitionValues: {},
    size: 7,
    modificationTime: 1_795_385_025_894,
    dataChange: true,
    stats: '{"numRecords":1}',
  },
});

/** Everything that a snapshot says, comparable; what was data once counts as data no more in a checkpoint. */
const shown = ({ version, protocol, metaData, files, tombstones, transactions }: TableSnapshot) => ({
  ...{ version, protocol, metaData },
  files: [...files].map(([path, file]) => [path, { ...file, dataChange: false }]).sort(),
  tombstones: [...tombstones].map(([path, file]) => [path, { ...file, dataChange: false }]).sort(),
  transactions: [...transactions].sort(),
});

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('add' as const), file: fc.nat(9) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('remove' as const), file: fc.nat(9) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('txn' as const), version: fc.maxSafeNat() }) },
  { weight: 2, arbitrary: fc.constant({ kind: 'checkpoint' as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'clean' as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'look' as const }) },
);

it.each(lakeKinds)(
  'on %s, whoever begins at a checkpoint, or slept while versions were cleaned up, sees what one sees that read every version',
  async (kind) => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 30 }), async (steps) => {
        const { store, scratch } = await newLake(kind);
        const [writer, sleeper] = [new DeltaTable(store, 't'), new DeltaTable(store, 't')];
        await writer.create([{ name: 'a', type: 'long', nullable: true }], { 'a.b': 'c', d: '' }, 1);
        let cleaned = 0;
        for (const [i, one] of steps.entries()) {
          if (one.kind === 'add') await writer.commit(() => [written, add(`p0/${one.file} %"é`)]);
          else if (one.kind === 'remove') {
            const path = `p0/${one.file} %"é`;
            await writer.commit(() => [
              written,
              { remove: { path, deletionTimestamp: i, dataChange: true } },
            ]);
          } else if (one.kind === 'txn')
            await writer.commit(() => [
              written,
              { txn: { appId: 'a', version: one.version, lastUpdated: i } },
            ]);
          else if (one.kind === 'checkpoint') await writer.checkpoint(database, 0);
          else if (one.kind === 'clean') cleaned += await writer.cleanLog(Number.MAX_SAFE_INTEGER);
          else await sleeper.refresh();
        }
        const expected = shown(await writer.refresh());
        expect(shown(await new DeltaTable(store, 't').refresh())).toEqual(expected);
        expect(shown(await sleeper.refresh())).toEqual(expected);
        // A committer that slept writes the next version, not one into the past.
        expect(await sleeper.commit(() => [written, add('last')])).toBe(expected.version + 1);
        expect([...(await writer.refresh()).files.keys()]).toContain('last');
        expect(scratch()).toEqual([]);
        return cleaned >= 0;
      }),
      { numRuns: kind === 'S3' ? 12 : 40 },
    );
  },
  120_000,
);

describe.each(lakeKinds)('on %s, a checkpoint that was cut short', (kind) => {
  const build = async () => {
    const { store } = await newLake(kind);
    const table = new DeltaTable(store, 't');
    await table.create([], {}, 1);
    for (const name of ['a', 'b']) await table.commit(() => [written, add(name)]);
    await table.checkpoint(database, 0);
    await table.commit(() => [written, add('c')]);
    return { store, expected: shown(await table.refresh()) };
  };
  it.each<[string, (store: ObjectStore) => Promise<void>]>([
    ['is not announced', (store) => store.remove(announced)],
    ['is announced in half a sentence', (store) => truncateObject(store, announced, 5)],
    ['is announced and not there', (store) => store.remove(checkpointPath)],
  ])('%s: the versions say the same', async (_name, damage) => {
    const { store, expected } = await build();
    await damage(store);
    expect(shown(await new DeltaTable(store, 't').refresh())).toEqual(expected);
  });

  it('is torn: it is told, and nothing is written', async () => {
    const { store } = await build();
    await store.put(checkpointPath, Buffer.from('PAR1 no'));
    const fresh = new DeltaTable(store, 't');
    await expect(fresh.commit(() => [written])).rejects.toMatchObject({ code: 'corrupt-lake' });
  });

  it('and versions that it does not cover are never cleaned up', async () => {
    const { store, expected } = await build();
    const table = new DeltaTable(store, 't');
    const versions = async () =>
      (await store.list('t/_delta_log')).flatMap(({ name }) =>
        /^\d+\.json$/.test(name) ? [parseInt(name)] : [],
      );
    // Those that are younger than the retention stay, and so does all that follows them.
    if (kind === 'a local disk') {
      utimesSync(store.location(versionPath(0)), 1, 1);
      expect(await table.cleanLog(2_000)).toBe(1);
    } else expect(await table.cleanLog(2_000)).toBe(0);
    expect(await versions()).toEqual(kind === 'a local disk' ? [1, 2, 3] : [0, 1, 2, 3]);
    expect(await table.cleanLog(Number.MAX_SAFE_INTEGER)).toBe(kind === 'a local disk' ? 1 : 2);
    expect(await versions()).toEqual([2, 3]);
    expect(shown(await new DeltaTable(store, 't').refresh())).toEqual(expected);
  });
});

describe('the announcement of a checkpoint, of a log that was cleaned up,', () => {
  /** Versions 0 to 4; checkpoints of 2 and 4; whoever `sleeps` knows version 1. */
  const build = async () => {
    const { store } = await newLake();
    const [table, sleeper] = [new DeltaTable(store, 't'), new DeltaTable(store, 't')];
    await table.create([], {}, 1);
    await table.commit(() => [written, add('a')]);
    await sleeper.refresh();
    await table.commit(() => [written, add('b')]);
    await table.checkpoint(database, 0);
    const old = (await store.get(announced)) as Uint8Array;
    for (const name of ['c', 'd']) await table.commit(() => [written, add(name)]);
    const clean = async () => {
      await table.checkpoint(database, 0);
      expect(await table.cleanLog(Number.MAX_SAFE_INTEGER)).toBeGreaterThan(4);
    };
    return { store, table, sleeper, old, clean, expected: shown(await table.refresh()) };
  };

  it.each<[string, (store: ObjectStore, old: Uint8Array) => Promise<void>]>([
    ['is lost', (store) => store.remove(announced)],
    ['is torn', (store) => truncateObject(store, announced, 5)],
    ['is an older one', (store, old) => store.put(announced, old)],
  ])('%s: everybody finds the checkpoint, and the next version follows it', async (_name, damage) => {
    const { store, sleeper, old, clean, expected } = await build();
    await clean();
    await damage(store, old);
    expect(shown(await new DeltaTable(store, 't').refresh())).toEqual(expected);
    expect(shown(await sleeper.refresh())).toEqual(expected);
    expect(await sleeper.commit(() => [written, add('e')])).toBe(5);
  });

  it('names one that goes while it is read: the one that took its place is read', async () => {
    const { store, clean, expected } = await build();
    const get = store.get.bind(store);
    let raced = 0;
    store.get = async (path) => {
      if (path === checkpointPath && ++raced === 1) await clean();
      return get(path);
    };
    expect(shown(await new DeltaTable(store, 't').refresh())).toEqual(expected);
    expect(raced).toBe(1);
  });

  it('is never replaced by an older one', async () => {
    const { store, clean } = await build();
    const slow = new DeltaTable(store, 't');
    const adopt = store.adopt.bind(store);
    let raced = 0;
    store.adopt = async (file, path) => {
      if (path.endsWith('.checkpoint.parquet') && ++raced === 1) {
        await new DeltaTable(store, 't').commit(() => [written, add('f')]);
        await clean();
      }
      return adopt(file, path);
    };
    await slow.checkpoint(database, 0);
    expect(raced).toBe(2);
    expect(await slow.lastCheckpoint()).toBe(5);
    expect([...(await new DeltaTable(store, 't').refresh()).files.keys()]).toContain('f');
  });
});

it.each(lakeKinds)(
  'on %s, delta-rs and DuckDB read the same rows after appends, and after a checkpoint with the versions before it removed',
  async (kind) => {
    const { store, connection } = await newLake(kind);
    const archive = new ArchiveTable(store, clicks);
    await archive.create(null, 1);
    const decode = createDecoder(clicks, readUtf8);
    let next = 0;
    const append = async (count: number) => {
      const rows = new RowBuffer(eventColumns(clicks));
      const expectedOffset = next;
      for (; next < expectedOffset + count; next++) rows.add(click(0, next), decode(click(0, next)));
      const range = { partition: 0, expectedOffset, nextOffset: next, rows };
      expect(await archive.append(database, [range], 1_795_385_025_894)).toBe(true);
    };
    const path = store.location(`${clicks.name}/events`);
    const check = async () => {
      const ours = { rows: next, sums: { _offset: String((next * (next - 1)) / 2) } };
      const { deltaRs, duckDb } = await readByOthers(path, ['_offset'], connection);
      expect({ deltaRs, duckDb }).toEqual({ deltaRs: ours, duckDb: ours });
    };
    for (const count of [10, 1, 100]) await append(count);
    await check();
    await archive.table.checkpoint(database, 0);
    expect(await archive.table.cleanLog(Number.MAX_SAFE_INTEGER)).toBe(3);
    await check();
    await append(20);
    await check();
  },
  180_000,
);
