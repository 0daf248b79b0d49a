/**
 * `npm run lake` as a person runs it: it says what the lake holds and what it does; a dry run changes nothing; Ctrl-C stops between two
 * steps, with exit code 130, and the next run does the rest.
 */
import type { ChildProcess } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { DuckDb } from '../../clients/duckdb.ts';
import { LocalObjectStore } from '../../clients/object-store.ts';
import { clicks } from '../support/commit-writer.ts';
import { lastLineOf, runCommand } from '../support/command.ts';
import { eventually } from '../support/eventually.ts';
import { append, dayMs, newArchive, rowsOf, treeOf } from '../support/lake-tables.ts';

const root = `${clicks.name}/events`;
const partitions = 12;
let folder: string;
let database: DuckDb;
let template: string;
/** The pipeline of the lake, as a file of its own. */
let definition: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'reckon-lake-command-'));
  database = await DuckDb.open({ memoryLimit: '256MB', threads: 1, tempDirectory: join(folder, 'spill') });
  template = join(folder, 'template');
  const archive = await newArchive(new LocalObjectStore(template), Date.now());
  // Ten days ago, in five small files of each partition.
  const nowMs = Date.now() - 10 * dayMs;
  for (let i = 0; i < 5; i++)
    for (let partition = 0; partition < partitions; partition++)
      await append(archive, database, { partition, from: 4 * i, count: 4, atMs: nowMs, nowMs });
  definition = join(folder, 'clicks.mjs');
  const { name, event } = clicks;
  const input = {
    name,
    event: { schema: event.schema, id: 'id', time: { field: 'at', format: 'epoch-ms' } },
    aggregates: { total: { window: { tumbling: '1d' }, measures: { n: 'count' } } },
    retention: { hot: '2d', lake: '30d' },
  };
  writeFileSync(definition, `export default ${JSON.stringify(input)};`);
});
afterAll(() => {
  database.close();
  rmSync(folder, { recursive: true, force: true });
});

let lakes = 0;
function newLake({ isThere = true, ...more }: { isThere?: boolean; NODE_OPTIONS?: string } = {}) {
  const lake = join(folder, `lake-${++lakes}`);
  if (isThere) cpSync(template, lake, { recursive: true });
  const env = {
    LAKE_URL: lake,
    LAKE_COLD_DIR: join(folder, `cold-${lakes}`),
    RECKON_PIPELINE: definition,
    RECKON_HOME: join(folder, 'home'),
    ...more,
  };
  const run = (args: string, onStart?: (child: ChildProcess) => void) =>
    runCommand('lake', args.split(' '), env, onStart);
  return { lake, run, store: new LocalObjectStore(lake) };
}
const jsonOf = (result: { stdout: string }, task: string, dryRun = false) => {
  const { pipelines, ...rest } = lastLineOf({ ...result, code: 0, stderr: '' }) as {
    pipelines: Record<string, unknown>;
  };
  expect(rest).toEqual({ task, dryRun });
  return pipelines[clicks.name];
};

it('compacts, moves and shows a lake; dry runs say the same and change nothing', async () => {
  const { lake, run, store } = newLake();
  const rows = await rowsOf(store, database);
  expect(rows).toHaveLength(20 * partitions);
  const before = treeOf(lake);
  const planned = await run('compact --dry-run --json');
  expect(jsonOf(planned, 'compact', true)).toMatchObject({ runs: partitions, files: 60, rows: 240 });
  expect(planned.stdout).toMatch(/p0\/0-3-\S+\.parquet: 4 rows, .*would be rewritten into 12\n/s);
  // 60 files, of which 50 are listed.
  expect(planned.stdout).toContain('... and 10 more');
  expect(treeOf(lake)).toEqual(before);
  expect(jsonOf(await run('compact --json'), 'compact')).toMatchObject({ runs: partitions, files: 60 });
  expect(jsonOf(await run('tier --dry-run --json'), 'tier', true)).toMatchObject({
    files: partitions,
    damaged: 0,
  });
  expect(jsonOf(await run('tier --json'), 'tier')).toMatchObject({ files: partitions, rows: 240 });
  expect(jsonOf(await run('vacuum --dry-run --json'), 'vacuum', true)).toMatchObject({
    removed: 0,
    orphans: 0,
  });
  const status = await run('status --json');
  expect(jsonOf(status, 'status')).toMatchObject({
    hot: { files: 0 },
    cold: { files: partitions, rows: 240 },
    tombstones: 60 + partitions,
    leases: { live: 0, expired: 0, files: 0 },
  });
  expect(status.stdout).toMatch(/p11: offsets 0 to 19; event times \d{4}-.*cold 1 files, 20 rows/);
  expect(await rowsOf(store, database)).toEqual(rows);
}, 120_000);

it.each([
  ['vacuum --older-than 5m', 'for at least 1h'],
  ['vacuum --older-than soon', '--older-than must be a duration'],
  ['compact --older-than 7d', '--older-than is for vacuum'],
  ['status --pipeline nope', 'There is no pipeline nope. Configured: clicks.'],
  ['defragment', 'does not know defragment. Usage: npm run lake -- status|compact'],
])('%s is refused with one line', async (args, line) => {
  const { lake, run } = newLake();
  const before = treeOf(lake);
  const { code, stderr, stdout } = await run(args);
  expect([code, stdout]).toEqual([1, '']);
  expect(stderr).toContain(line);
  expect(stderr.trim().split('\n')).toHaveLength(1);
  expect(treeOf(lake)).toEqual(before);
});

it.each(['status', 'compact --dry-run'])(
  '%s writes nothing, where there is no lake neither',
  async (task) => {
    const none = newLake({ isThere: false });
    const { code, stdout } = await none.run(task);
    expect([code, stdout]).toEqual([0, `clicks: there is no lake yet at ${none.lake}\n`]);
    expect(existsSync(none.lake)).toBe(false);
    // Also folders and files that were there for a moment change the time of the folder.
    const { lake, run } = newLake();
    const changedMs = () => [lake, join(lake, '_scratch')].map((path) => statSync(path).mtimeMs);
    const before = [treeOf(lake), changedMs()];
    expect((await run(task)).code).toBe(0);
    expect([treeOf(lake), changedMs()]).toEqual(before);
  },
  60_000,
);

it('damaged copies are told, and are exit code 1', async () => {
  // The other disk garbles what is copied to it.
  const preload = join(folder, 'garble.mjs');
  writeFileSync(
    preload,
    `import fs from 'node:fs';
     import { syncBuiltinESMExports } from 'node:module';
     fs.promises.copyFile = (from, to) => fs.promises.writeFile(to, 'garbled');
     syncBuiltinESMExports();`,
  );
  const { run, store } = newLake({ NODE_OPTIONS: `--import=${pathToFileURL(preload).href}` });
  const rows = await rowsOf(store, database);
  const result = await run('tier --json');
  expect(result.code).toBe(1);
  expect(jsonOf(result, 'tier')).toMatchObject({ files: 0, damaged: 5 * partitions });
  expect(result.stdout).toMatch(/p0\/\S+: its copy was not the same and was discarded; it stays hot/);
  expect(await rowsOf(store, database)).toEqual(rows);
}, 60_000);

it('Ctrl-C stops between two steps, and the next run does the rest', async () => {
  const { run, store } = newLake();
  const rows = await rowsOf(store, database);
  const versions = () => readdirSync(store.location(`${root}/_delta_log`)).length;
  const before = versions();
  const { code, stderr, stdout } = await run('compact --json', (child) => {
    const begun = () => expect(versions()).toBeGreaterThan(before);
    void eventually(begun, 60_000, 1).then(() => child.kill('SIGINT'));
  });
  expect(code).toBe(130);
  expect(stderr).toContain('the next run does the rest');
  const { runs } = jsonOf({ stdout }, 'compact') as { runs: number };
  expect(runs).toBeGreaterThanOrEqual(1);
  expect(runs).toBeLessThan(partitions);
  expect(await rowsOf(store, database)).toEqual(rows);
  expect(jsonOf(await run('compact --json'), 'compact')).toMatchObject({ runs: partitions - runs });
  expect(await rowsOf(store, database)).toEqual(rows);
  expect(await store.list(`${root}/_leases`)).toEqual([]);
}, 120_000);
