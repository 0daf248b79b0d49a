/**
 * `kill -9` at the steps of work on a lake, and at those of the real archiver: the table can be read as it was left (by us, delta-rs and
 * DuckDB's extension), every offset is there once, what is left over is such that vacuum may delete it, and the same work done again
 * comes to its end.
 *
 * Every operation of the store is a last one, before and after; of the calls below it (`killing-files.ts`) one of each kind, chosen by
 * seed, and all of them with RECKON_ALL_KILLS=1.
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { DeltaTable } from '../../batch/delta-log.ts';
import type { DuckDb } from '../../clients/duckdb.ts';
import { LocalObjectStore } from '../../clients/object-store.ts';
import { Random } from '../../chaos/random.ts';
import type { Kill } from '../support/killing-store.ts';
import {
  clicks,
  expectedRows,
  lakePartitions,
  openDatabase,
  openLake,
  operations,
  preparedRows,
  prepareLake,
  rowsOf,
} from '../support/lake-operations.ts';
import { readAllByOthers } from '../support/lake-readers.ts';
import type { Done, Task } from '../support/lake-worker.ts';
import { inLanes, runWorker } from '../support/worker-process.ts';
import type { WorkerEnd } from '../support/worker-process.ts';

/** Children at once. */
const lanes = 2;
const seed = 'kills';

let folder: string;
const databases: DuckDb[] = [];
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'reckon-kills-'));
  // One for each lane: rows are staged in tables whose names repeat from lake to lake.
  for (let lane = 0; lane < lanes; lane++) databases.push(await openDatabase(join(folder, 'spill')));
  await prepareLake(join(folder, 'prepared'), databaseOf(0));
  mkdirSync(join(folder, 'nothing'));
});
afterAll(() => {
  for (const database of databases) database.close();
  rmSync(folder, { recursive: true, force: true });
});

function databaseOf(lane: number): DuckDb {
  const database = databases[lane];
  if (database === undefined) throw new Error('no such lane');
  return database;
}

let lakes = 0;
function copyOf(lake: string): string {
  const copy = join(folder, `lake-${++lakes}`);
  cpSync(lake, copy, { recursive: true });
  return copy;
}

const lakeAt = (at: string, lane: number) => openLake(new LocalObjectStore(at), databaseOf(lane));
const tableAt = (at: string) => join(at, clicks.name, 'events');
const work = (task: Omit<Task, 'tempDirectory'>): Promise<WorkerEnd> =>
  runWorker('lake-worker.ts', { ...task, tempDirectory: join(folder, 'spill') });

function doneOf({ code, signal, stdout, stderr }: WorkerEnd): Done {
  if (code !== 0) throw new Error(`the worker ended with ${code ?? signal}:\n${stdout}${stderr}`);
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Done;
}

const fileNames = (at: string): string[] =>
  readdirSync(at, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(at, join(entry.parentPath, entry.name)));

/** Checks that all is there that the logs name, and that their versions follow each other. @returns the files that they do not name */
async function leftoversOf(at: string): Promise<string[]> {
  const all = fileNames(at);
  const named = new Set<string>();
  const roots = new Set(all.flatMap((name) => /^(.+)\/_delta_log\//.exec(name)?.[1] ?? []));
  for (const root of roots) {
    const { files, tombstones } = await new DeltaTable(new LocalObjectStore(at), root).refresh();
    for (const { path, size } of files.values())
      expect([path, statSync(join(at, root, path)).size]).toEqual([path, size]);
    for (const path of [...files.keys(), ...tombstones.keys()]) named.add(`${root}/${path}`);
    const versions = readdirSync(join(at, root, '_delta_log')).flatMap((name) =>
      /^\d{20}\.json$/.test(name) ? [Number.parseInt(name, 10)] : [],
    );
    expect(versions.sort((a, b) => a - b)).toEqual(versions.map((_, i) => (versions[0] ?? 0) + i));
  }
  const ofLog = /\/_delta_log\/(\d{20}\.json|\d{20}\.checkpoint\.parquet|_last_checkpoint)$/;
  return all.filter((name) => !named.has(name) && !ofLog.test(name));
}

/** Scratch files, and data files of a table: vacuum may delete them. */
const ofVacuum = /^(_scratch\/|clicks\/\w+\/([^_/][^/]*\/)*[^_/][^/]*\.parquet$)/;
const sumsOf = (rows: readonly string[]) => {
  const offsets = rows.map((row) => (JSON.parse(row) as number[])[1] ?? Number.NaN);
  const sum = offsets.length === 0 ? null : String(offsets.reduce((a, b) => a + b, 0));
  return { rows: rows.length, sums: { _offset: sum } };
};

interface Planned extends Kill {
  readonly name: string;
}

/** @param steps of a run that was not killed */
function planKills(operation: string, { store, files }: Done): { kills: Planned[]; possible: number } {
  const ofStore = store.flatMap((name, i): Planned[] =>
    (['before', 'after'] as const).map((moment) => ({ level: 'store', step: i + 1, moment, name })),
  );
  const ofFiles = files.flatMap((name, i): Planned[] => {
    const before = { level: 'files', step: i + 1, moment: 'before', name } as const;
    return /writeFile/i.test(name) ? [before, { ...before, moment: 'half' }] : [before];
  });
  const possible = ofStore.length + ofFiles.length;
  if (process.env['RECKON_ALL_KILLS'] === '1') return { kills: [...ofStore, ...ofFiles], possible };
  const kinds = new Map<string, Planned>();
  for (const kill of new Random(`${seed} ${operation}`).shuffle(ofFiles)) kinds.set(kindOf(kill), kill);
  return { kills: [...ofStore, ...[...kinds.values()].filter(({ name }) => !isSync(name))], possible };
}

/** The call, and the folder that it is about; partitions are of one kind. */
const kindOf = ({ name, moment }: Planned) =>
  `${moment} ${name.slice(0, name.lastIndexOf('/')).replace(/\/p\d$/, '/p')}`;
/** A process that is killed leaves the same files, whether it has synced them or not. */
const isSync = (name: string) => /^handle\.(data)?sync /.test(name);

it.each(Object.keys(operations))(
  '%s: killed at its steps, nothing is lost and nothing doubled',
  async (name) => {
    const operation = operations[name];
    if (operation === undefined) throw new Error('no such operation');
    const base = join(folder, operation.from);
    const before = [0, operation.from === 'nothing' ? 0 : preparedRows] as const;
    const outcomes = [before, operation.rows].map(([from, to]) => expectedRows(lakePartitions, to, from));
    const last = outcomes.at(-1) ?? [];
    /** Tables for the others to read, and what they must find. */
    const tables: { path: string; expected: ReturnType<typeof sumsOf> }[] = [];

    // 1. A run that is not killed tells the steps, and does what it should.
    const undisturbed = copyOf(base);
    const done = doneOf(await work({ folder: undisturbed, operation: name }));
    expect(await rowsOf(lakeAt(undisturbed, 0))).toEqual(last);
    tables.push({ path: tableAt(undisturbed), expected: sumsOf(last) });
    const filesAfter = (await lakeAt(undisturbed, 0).archive.files()).length;
    const { kills, possible } = planKills(name, done);
    expect(done.store.length).toBeGreaterThan(0);
    expect(done.files.length).toBeGreaterThanOrEqual(done.store.length);

    let killed = 0;
    await inLanes(lanes, kills, async ({ name: step, ...kill }, lane) => {
      const at = copyOf(base);
      const { signal, stdout, stderr } = await work({ folder: at, operation: name, kill });
      expect([signal, stdout.trim(), stderr]).toEqual(['SIGKILL', step, '']);
      killed++;
      // 2. As it was left: all rows of before, or all of after; nothing in between.
      const rows = await rowsOf(lakeAt(at, lane));
      expect(outcomes).toContainEqual(rows);
      await operation.check?.(lakeAt(at, lane));
      const leftovers = await leftoversOf(at);
      expect(leftovers.filter((file) => !ofVacuum.test(file))).toEqual([]);
      if (existsSync(join(tableAt(at), '_delta_log', `${'0'.padStart(20, '0')}.json`)) || rows.length > 0)
        tables.push({ path: tableAt(copyOf(at)), expected: sumsOf(rows) });
      else expect(name).toBe('begin');
      // 3. Done again, it comes to its end, and to no other one; nothing more is left over.
      const again = lakeAt(at, lane);
      await operation.run(again);
      expect(await rowsOf(lakeAt(at, lane))).toEqual(last);
      expect((await again.archive.files()).length).toBe(filesAfter);
      await operation.check?.(lakeAt(at, lane));
      expect(leftovers).toEqual(expect.arrayContaining(await leftoversOf(at)));
    });
    expect(killed).toBe(kills.length);
    process.stderr.write(`${name}: killed at ${kills.length} of ${possible} steps\n`);

    // 4. Others read the same, of every lake as it was left.
    const others = await readAllByOthers(
      tables.map(({ path }) => path),
      ['_offset'],
    );
    expect(others.map(({ deltaRs, duckDb }) => ({ deltaRs, duckDb }))).toEqual(
      tables.map(({ expected }) => ({ deltaRs: expected, duckDb: expected })),
    );
  },
  300_000,
);
