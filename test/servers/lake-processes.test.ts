/**
 * A lake that 8 processes append to while one compacts it, as one would run them: no version is lost, no row, and none is there twice;
 * we, delta-rs and DuckDB's extension read what was appended.
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DuckDb } from '../../clients/duckdb.ts';
import { LocalObjectStore } from '../../clients/object-store.ts';
import { clicks, expectedRows, openDatabase, openLake, rowsOf } from '../support/lake-operations.ts';
import type { Loop } from '../support/lake-operations.ts';
import { readByOthers } from '../support/lake-readers.ts';
import type { Done, Task } from '../support/lake-worker.ts';
import { runWorker } from '../support/worker-process.ts';

let folder: string;
let database: DuckDb;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'reckon-lake-processes-'));
  database = await openDatabase(join(folder, 'spill'));
});
afterAll(() => {
  database.close();
  rmSync(folder, { recursive: true, force: true });
});

it('8 appending processes and a compacting one: every row is there once', async () => {
  const partitions = [0, 1, 2, 3, 4, 5, 6, 7];
  const [rows, files] = [60, 12];
  const at = join(folder, 'lake');
  const start = async (name: Loop, own: number[]): Promise<Done> => {
    const loop = { name, partitions: own, rows };
    const task: Task = { folder: at, tempDirectory: join(folder, 'spill'), loop };
    const { code, stdout, stderr } = await runWorker('lake-worker.ts', task);
    expect([code, stderr]).toEqual([0, '']);
    return JSON.parse(stdout) as Done;
  };
  const compacting = start('compact', partitions);
  const appended = await Promise.all(partitions.map((partition) => start('append', [partition])));
  const replaced = (await compacting).result;
  const isDataFile = (step: string) => /^adopt .*\/p\d\//.test(step);
  for (const { store } of appended) expect(store.filter(isDataFile)).toHaveLength(files);
  // The compactor met appenders: it worked several times, and each time on what was there by then.
  expect(replaced).toBeGreaterThan(partitions.length * 4);

  const lake = openLake(new LocalObjectStore(at), database);
  const { version } = await lake.archive.table.refresh();
  expect(version).toBeGreaterThan(partitions.length * files);
  expect(await rowsOf(lake)).toEqual(expectedRows(partitions, rows));
  expect(readdirSync(join(at, '_scratch'))).toEqual([]);
  const sums = { rows: 8 * rows, sums: { _offset: String((8 * rows * (rows - 1)) / 2) } };
  const others = await readByOthers(join(at, clicks.name, 'events'), ['_offset']);
  expect(others).toEqual({ version, deltaRs: sums, duckDb: sums });
}, 120_000);
