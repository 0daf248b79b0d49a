/**
 * Checkpoints: whoever begins at one sees the table that the versions say, also when the versions before it are gone; and others
 * (delta-rs, DuckDB's Delta extension) read the same rows.
 */
import { mkdtempSync, readdirSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { ArchiveTable } from '../../batch/archive-table.ts';
import { DeltaTable } from '../../batch/delta-log.ts';
import type { TableSnapshot } from '../../batch/delta-actions.ts';
import { eventColumns, RowBuffer } from '../../batch/event-table.ts';
import { DuckDb } from '../../clients/duckdb.ts';
import { readUtf8 } from '../../clients/kafka.ts';
import { LocalObjectStore } from '../../clients/object-store.ts';
import { createDecoder } from '../../domain/decode.ts';
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

let lakes = 0;
const newLake = () => new LocalObjectStore(join(folder, `lake-${++lakes}`));
const logOf = (store: LocalObjectStore, root = 't') => store.location(`${root}/_delta_log`);
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

it('whoever begins at a checkpoint, or slept while versions were cleaned up, sees what one sees that read every version', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 30 }), async (steps) => {
      const store = newLake();
      const [writer, sleeper] = [new DeltaTable(store, 't'), new DeltaTable(store, 't')];
      await writer.create([{ name: 'a', type: 'long', nullable: true }], { 'a.b': 'c', d: '' }, 1);
      let cleaned = 0;
      for (const [i, one] of steps.entries()) {
        if (one.kind === 'add') await writer.commit(() => [written, add(`p0/${one.file} %"é`)]);
        else if (one.kind === 'remove') {
          const path = `p0/${one.file} %"é`;
          await writer.commit(() => [written, { remove: { path, deletionTimestamp: i, dataChange: true } }]);
        } else if (one.kind === 'txn')
          await writer.commit(() => [written, { txn: { appId: 'a', version: one.version, lastUpdated: i } }]);
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
      expect(readdirSync(store.location('_scratch'))).toEqual([]);
      return cleaned >= 0;
    }),
    { numRuns: 40 },
  );
}, 120_000);

describe('a checkpoint that was cut short', () => {
  const build = async () => {
    const store = newLake();
    const table = new DeltaTable(store, 't');
    await table.create([], {}, 1);
    for (const name of ['a', 'b']) await table.commit(() => [written, add(name)]);
    await table.checkpoint(database, 0);
    await table.commit(() => [written, add('c')]);
    return { store, expected: shown(await table.refresh()) };
  };
  it.each<[string, (log: string) => void]>([
    ['is not announced', (log) => rmSync(join(log, '_last_checkpoint'))],
    ['is announced in half a sentence', (log) => truncateSync(join(log, '_last_checkpoint'), 5)],
    ['is announced and not there', (log) => rmSync(join(log, `${'2'.padStart(20, '0')}.checkpoint.parquet`))],
  ])('%s: the versions say the same', async (_name, damage) => {
    const { store, expected } = await build();
    damage(logOf(store));
    expect(shown(await new DeltaTable(store, 't').refresh())).toEqual(expected);
  });

  it('is torn: it is told, and nothing is written', async () => {
    const { store } = await build();
    writeFileSync(join(logOf(store), `${'2'.padStart(20, '0')}.checkpoint.parquet`), 'PAR1 no');
    const fresh = new DeltaTable(store, 't');
    await expect(fresh.commit(() => [written])).rejects.toMatchObject({ code: 'corrupt-lake' });
  });

  it('and versions that it does not cover are never cleaned up', async () => {
    const { store, expected } = await build();
    const table = new DeltaTable(store, 't');
    const versions = () => readdirSync(logOf(store)).filter((name) => /^\d+\.json$/.test(name));
    // Those that are younger than the retention stay, and so does all that follows them.
    utimesSync(join(logOf(store), `${'0'.padStart(20, '0')}.json`), 1, 1);
    expect(await table.cleanLog(2_000)).toBe(1);
    expect(versions().map(Number.parseFloat)).toEqual([1, 2, 3]);
    expect(await table.cleanLog(Number.MAX_SAFE_INTEGER)).toBe(1);
    expect(versions().map(Number.parseFloat)).toEqual([2, 3]);
    expect(shown(await new DeltaTable(store, 't').refresh())).toEqual(expected);
  });
});

it('delta-rs and DuckDB read the same rows after appends, and after a checkpoint with the versions before it removed', async () => {
  const store = newLake();
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
    const { deltaRs, duckDb } = await readByOthers(path, ['_offset']);
    expect({ deltaRs, duckDb }).toEqual({ deltaRs: ours, duckDb: ours });
  };
  for (const count of [10, 1, 100]) await append(count);
  await check();
  await archive.table.checkpoint(database, 0);
  expect(await archive.table.cleanLog(Number.MAX_SAFE_INTEGER)).toBe(3);
  await check();
  await append(20);
  await check();
}, 180_000);
