/**
 * `kill -9` at the steps of work on a lake: its tables can be read as they were left (by us, delta-rs and DuckDB's extension), every
 * offset is there once, the same work done again comes to its end, and vacuum finds all that is left over.
 *
 * Before two operations of the store of each kind and after one, and before one of each kind of the calls below it
 * (`killing-files.ts`), chosen by seed; at all of them with RECKON_ALL_KILLS=1.
 */
import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { DeltaTable } from '../../batch/delta-log.ts';
import { vacuum } from '../../batch/vacuum.ts';
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
  rowsOf,
  sweepMs,
  viewRows,
} from '../support/lake-operations.ts';
import { readAllByOthers } from '../support/lake-readers.ts';
import { prepareLakes, rowsBefore } from '../support/prepared-lakes.ts';
import type { Done, Task } from '../support/lake-worker.ts';
import { inLanes, runWorker } from '../support/worker-process.ts';
import type { WorkerEnd } from '../support/worker-process.ts';

/** Children at once. */
const lanes = 2;
const seed = 'kills';
const everyStep = process.env['RECKON_ALL_KILLS'] === '1';

let folder: string;
const databases: DuckDb[] = [];
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'reckon-kills-'));
  // One for each lane: rows are staged in tables whose names repeat from lake to lake.
  for (let lane = 0; lane < lanes; lane++) databases.push(await openDatabase(join(folder, 'spill')));
  await prepareLakes(folder, databaseOf(0));
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
const events = `${clicks.name}/events`;
const view = `${clicks.name}/aggregates/total`;
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

const rootsIn = (at: string) =>
  new Set(fileNames(at).flatMap((name) => /^(.+)\/_delta_log\//.exec(name)?.[1] ?? []));

/** Checks that all is there that the logs name, and that their versions follow each other. @returns the files that they do not name */
async function leftoversOf(at: string): Promise<string[]> {
  const all = fileNames(at);
  const named = new Set<string>();
  for (const root of rootsIn(at)) {
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

/** Long after, when leases have ended, vacuum leaves what the log names and nothing else. */
async function expectSwept(at: string, lane: number): Promise<void> {
  const [store, database] = [new LocalObjectStore(at), databaseOf(lane)];
  for (const root of rootsIn(at)) {
    await vacuum(new DeltaTable(store, root), store, database, { now: () => sweepMs });
    expect((await new DeltaTable(store, root).refresh()).tombstones.size).toBe(0);
  }
  expect(await leftoversOf(at)).toEqual([]);
}

/** A table for others to read, and what they must find. */
interface Readable {
  readonly path: string;
  readonly rows: number;
  readonly sum: string | null;
}
/** @param index of the column in the rows */
function readable(path: string, rows: readonly string[], index: number): Readable {
  const values = rows.map((row) => (JSON.parse(row) as number[])[index] ?? Number.NaN);
  return {
    path,
    rows: rows.length,
    sum: rows.length === 0 ? null : String(values.reduce((a, b) => a + b, 0)),
  };
}
async function expectOthersRead(tables: readonly Readable[], column: string): Promise<void> {
  if (tables.length === 0) return;
  const others = await readAllByOthers(
    tables.map(({ path }) => path),
    [column],
  );
  expect(others.map(({ deltaRs, duckDb }) => ({ deltaRs, duckDb }))).toEqual(
    tables.map(({ rows, sum }) => {
      const sums = { rows, sums: { [column]: sum } };
      return { deltaRs: sums, duckDb: sums };
    }),
  );
}

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
  if (everyStep) return { kills: [...ofStore, ...ofFiles], possible };
  const ofMoment = (wanted: string) => ofStore.filter(({ moment }) => moment === wanted);
  const chosen = [
    ...chooseOfKinds(operation, ofMoment('before'), 2),
    ...chooseOfKinds(operation, ofMoment('after'), 1),
    ...chooseOfKinds(operation, ofFiles, 1),
  ];
  return { kills: chosen.filter(({ name }) => !isSync(name)), possible };
}

function chooseOfKinds(operation: string, kills: readonly Planned[], most: number): Planned[] {
  const times = new Map<string, number>();
  return new Random(`${seed} ${operation}`).shuffle(kills).filter((kill) => {
    const before = times.get(kindOf(kill)) ?? 0;
    times.set(kindOf(kill), before + 1);
    return before < most;
  });
}

/** The call, and the folder that it is about; partitions are of one kind. */
const kindOf = ({ name, moment }: Planned) =>
  `${moment} ${name
    .slice(0, name.lastIndexOf('/'))
    .replace(/\/p\d$/, '/p')
    .replace(/=[^/]*$/, '=')}`;
/** A process that is killed leaves the same files, whether it has synced them or not. */
const isSync = (name: string) => /^handle\.(data)?sync /.test(name);

it.each(Object.keys(operations))(
  '%s: killed at its steps, nothing is lost and nothing doubled',
  async (name) => {
    const operation = operations[name];
    if (operation === undefined) throw new Error('no such operation');
    const base = join(folder, operation.from);
    const outcomeOf = async (at: string, lane: number) => {
      const lake = lakeAt(at, lane);
      return { rows: await rowsOf(lake), state: (await operation.state?.(lake)) ?? [] };
    };
    const before = {
      rows: expectedRows(lakePartitions, rowsBefore[operation.from]),
      state: (await operation.state?.(lakeAt(base, 0))) ?? [],
    };
    const [from, to] = operation.rows;
    const tables: Record<'events' | 'view', Readable[]> = { events: [], view: [] };
    /** Of a copy: the lake itself goes on. */
    const letOthersRead = async (at: string, lane: number): Promise<void> => {
      const lake = lakeAt(at, lane);
      tables.events.push(readable(join(at, events), await rowsOf(lake), 1));
      if (operation.from === 'published') tables.view.push(readable(join(at, view), await viewRows(lake), 3));
    };

    // 1. A run that is not killed tells the steps, and does what it should.
    const undisturbed = copyOf(base);
    const done = doneOf(await work({ folder: undisturbed, operation: name }));
    const after = await outcomeOf(undisturbed, 0);
    expect(after.rows).toEqual(expectedRows(lakePartitions, to, from));
    if (operation.state !== undefined) expect(after.state).not.toEqual(before.state);
    await operation.check?.(lakeAt(undisturbed, 0));
    await operation.ended?.(lakeAt(undisturbed, 0));
    await letOthersRead(undisturbed, 0);
    const filesAfter = (await lakeAt(undisturbed, 0).archive.files()).length;
    const leftAfter = await leftoversOf(undisturbed);
    const { kills, possible } = planKills(name, done);
    expect(done.store.length).toBeGreaterThan(0);
    expect(done.files.length).toBeGreaterThanOrEqual(done.store.length);

    let killed = 0;
    await inLanes(lanes, kills, async ({ name: step, ...kill }, lane) => {
      const at = copyOf(base);
      const { signal, stdout, stderr } = await work({ folder: at, operation: name, kill });
      expect([signal, stdout.trim(), stderr]).toEqual(['SIGKILL', step, '']);
      killed++;
      // 2. As it was left: all of before, or all of after; nothing in between.
      const left = await outcomeOf(at, lane);
      expect([before, after]).toContainEqual(left);
      await operation.check?.(lakeAt(at, lane));
      const leftovers = await leftoversOf(at);
      if (existsSync(join(at, events, '_delta_log', `${'0'.padStart(20, '0')}.json`)) || left.rows.length > 0)
        await letOthersRead(copyOf(at), lane);
      else expect(name).toBe('begin');
      // 3. Done again, it comes to its end, and to no other one; nothing more is left over.
      const again = lakeAt(at, lane);
      await operation.run(again);
      expect(await outcomeOf(at, lane)).toEqual(after);
      expect((await again.archive.files()).length).toBe(filesAfter);
      await operation.check?.(lakeAt(at, lane));
      expect([...leftovers, ...leftAfter]).toEqual(expect.arrayContaining(await leftoversOf(at)));
      await operation.ended?.(lakeAt(at, lane));
      // 4. What the killed process has left behind goes in time, and no row with it.
      await expectSwept(at, lane);
      expect(await outcomeOf(at, lane)).toEqual(after);
      rmSync(at, { recursive: true });
    });
    expect(killed).toBe(kills.length);
    process.stderr.write(`${name}: killed at ${kills.length} of ${possible} steps\n`);

    // 5. Others read the same, of every lake as it was left.
    await expectOthersRead(tables.events, '_offset');
    await expectOthersRead(tables.view, 'complete_n');
  },
  everyStep ? 1_800_000 : 300_000,
);
