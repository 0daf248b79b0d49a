/**
 * `npm run lake`: looks after the lakes of the configured pipelines. Guarantee: a dry run changes nothing; Ctrl-C stops between two
 * steps with exit code 130 and leaves a table that is whole; whatever was left undone, the next run does; damaged copies are exit
 * code 1.
 */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ArchiveTable } from '../batch/archive-table.ts';
import { compact } from '../batch/compaction.ts';
import { expire } from '../batch/expiry.ts';
import { amountOf, lakeStatus } from '../batch/lake-status.ts';
import type { LakeStatus } from '../batch/lake-status.ts';
import { readLeases } from '../batch/lease.ts';
import { tier } from '../batch/tiering.ts';
import { defaultRetentionMs, vacuumAll } from '../batch/vacuum.ts';
import { publishViews } from '../batch/view.ts';
import { ViewTable } from '../batch/view-table.ts';
import { DuckDb } from '../clients/duckdb.ts';
import { openLakeStore } from '../clients/lake-store.ts';
import type { ObjectStore } from '../clients/object-store.ts';
import { parseDurationMs } from '../domain/duration.ts';
import { ReckonError } from '../domain/errors.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import { readConfig } from './config.ts';
import {
  describeFiles,
  describePublished,
  describeStatus,
  describeVacuum,
  describeViews,
} from './lake-text.ts';
import { printJson, readOptions, runMain } from './main.ts';
import { loadPipelines } from './pipelines.ts';

const tasks = ['status', 'compact', 'publish', 'tier', 'expire', 'vacuum'] as const;
type Task = (typeof tasks)[number];

const usage = `npm run lake -- ${tasks.join('|')} [--pipeline NAME] [--dry-run] [--older-than 7d (vacuum)] [--json]`;
const interruptedCode = 130;

export interface LakeDeps {
  readonly store: ObjectStore;
  readonly openDatabase: () => Promise<DuckDb>;
}

export interface LakeOptions {
  readonly dryRun: boolean;
  /** How long vacuum leaves removed files. */
  readonly olderThanMs: number;
  readonly signal: AbortSignal;
}

/** What a task did, or would do: lines for people, and counts for `--json`. */
export interface LakeResult {
  readonly lines: readonly string[];
  readonly json: Readonly<Record<string, unknown>>;
  /** Whether something went wrong that the lines tell of. */
  readonly failed?: boolean;
}

/** Does one task for one pipeline. */
export async function runLake(
  task: Task,
  pipeline: Pipeline,
  { store, openDatabase }: LakeDeps,
  options: LakeOptions,
): Promise<LakeResult> {
  const archive = new ArchiveTable(store, pipeline);
  const { table } = archive;
  const { dryRun, signal } = options;
  if ((await table.refresh()).version < 0)
    return { lines: [`${pipeline.name}: there is no lake yet at ${store.url}`], json: { version: -1 } };
  const verb = dryRun ? 'would be' : 'were';
  const withDatabase = async <T>(work: (database: DuckDb) => Promise<T>): Promise<T> => {
    const database = await openDatabase();
    return work(database).finally(() => database.close());
  };
  switch (task) {
    case 'status': {
      const status = await readStatus(archive, store);
      const views = await Promise.all(
        pipeline.aggregates.map((aggregate) => new ViewTable(store, pipeline, aggregate).status()),
      );
      const lines = [...describeStatus(pipeline.name, status), ...describeViews(views)];
      return { lines, json: { ...status, views } };
    }
    case 'compact': {
      const { runs } = await withDatabase((database) => compact(table, store, database, { dryRun, signal }));
      const files = runs.flatMap((run) => run.files);
      const what = `${verb} rewritten into ${runs.length}`;
      return { lines: describeFiles(files, what), json: { runs: runs.length, ...amountOf(files) } };
    }
    case 'publish': {
      const published = await withDatabase((database) =>
        publishViews({ store, archive, pipeline, database }, { nowMs: Date.now(), dryRun, signal }),
      );
      return { lines: describePublished(pipeline.name, published, dryRun), json: { views: published } };
    }
    case 'tier': {
      const hotMs = pipeline.retentionMs.hot;
      if (hotMs === null)
        return {
          lines: [`${pipeline.name}: nothing becomes cold, as the definition has no retention.hot`],
          json: { ...amountOf([]), damaged: 0 },
        };
      const { files, damaged } = await tier(table, store, { hotMs, dryRun, signal });
      const bad = damaged.map((path) => `${path}: its copy was not the same and was discarded; it stays hot`);
      return {
        lines: [...describeFiles(files, `${verb} moved to cold storage`), ...bad],
        json: { ...amountOf(files), damaged: damaged.length },
        failed: damaged.length > 0,
      };
    }
    case 'expire': {
      const files = await expire(table, { lakeMs: pipeline.retentionMs.lake, dryRun, signal });
      const lines = describeFiles(files, `older than retention.lake ${verb} taken from the table`);
      return { lines, json: { ...amountOf(files) } };
    }
    case 'vacuum': {
      const retentionMs = options.olderThanMs;
      const views = pipeline.aggregates.map((aggregate) => new ViewTable(store, pipeline, aggregate).table);
      const done = await withDatabase((database) =>
        vacuumAll([table, ...views], store, database, { retentionMs, dryRun, signal }),
      );
      const counts = { removed: done.removed, orphans: done.orphans, scratch: done.scratch, log: done.log };
      const all = Object.values(counts).flat();
      return {
        lines: describeVacuum(done, verb),
        json: {
          ...Object.fromEntries(Object.entries(counts).map(([name, list]) => [name, list.length])),
          leases: done.leases.length,
          held: done.held,
          bytes: all.reduce((sum, { bytes }) => sum + bytes, 0),
        },
      };
    }
  }
}

async function readStatus(archive: ArchiveTable, store: ObjectStore): Promise<LakeStatus> {
  const { table } = archive;
  const snapshot = await table.refresh();
  const leases = await readLeases(store, table.root, Date.now());
  return lakeStatus(snapshot, leases, await table.lastCheckpoint());
}

async function main(): Promise<number> {
  const { values, positionals } = readOptions(usage, {
    pipeline: { type: 'string' },
    'dry-run': { type: 'boolean' },
    'older-than': { type: 'string' },
    json: { type: 'boolean' },
  });
  const task = taskOf(positionals);
  const olderThanMs = parseDurationMs(values['older-than'] ?? defaultRetentionMs);
  if (olderThanMs === null || (values['older-than'] !== undefined && task !== 'vacuum'))
    throw new ReckonError(
      'invalid-input',
      olderThanMs === null
        ? `--older-than must be a duration such as 7d or 12h.`
        : `--older-than is for vacuum; the ages of the other tasks are in the definition.`,
      `Usage: ${usage}`,
    );
  const config = readConfig();
  const interrupted = new AbortController();
  process.on('SIGINT', () => interrupted.abort());
  process.on('SIGTERM', () => interrupted.abort());
  const dryRun = values['dry-run'] === true;
  const deps: LakeDeps = {
    store: await openLakeStore(config, dryRun || task === 'status' ? 'read' : 'write'),
    openDatabase: () =>
      DuckDb.open({ memoryLimit: '1GB', threads: 2, tempDirectory: join(config.home, 'tmp') }),
  };
  const options = { dryRun, olderThanMs, signal: interrupted.signal };
  const results: Record<string, unknown> = {};
  let isFailed = false;
  for (const pipeline of chosen(await loadPipelines(config.pipelineFiles), values['pipeline'])) {
    if (interrupted.signal.aborted) break;
    const done = await runLake(task, pipeline, deps, options).catch(unlessStopped);
    if (done === null) break;
    const { lines, json, failed = false } = done;
    isFailed ||= failed;
    results[pipeline.name] = json;
    process.stdout.write(`${lines.join('\n')}\n`);
  }
  if (interrupted.signal.aborted) process.stderr.write('stopped; the next run does the rest\n');
  if (values['json'] === true) printJson({ task, dryRun, pipelines: results });
  return interrupted.signal.aborted ? interruptedCode : Number(isFailed);
}

/** @throws the error, unless it is how a task ends that was told to stop */
function unlessStopped(error: unknown): null {
  if (error instanceof Error && error.name === 'AbortError') return null;
  throw error;
}

function taskOf(positionals: readonly string[]): Task {
  const task = tasks.find((name) => name === positionals[0]);
  if (task !== undefined && positionals.length === 1) return task;
  const said = positionals.length === 0 ? 'needs a task' : `does not know ${positionals.join(' ')}`;
  throw new ReckonError('invalid-input', `npm run lake ${said}.`, `Usage: ${usage}`);
}

function chosen(pipelines: readonly Pipeline[], name: string | boolean | undefined): readonly Pipeline[] {
  if (name === undefined) return pipelines;
  const found = pipelines.filter((pipeline) => pipeline.name === name);
  if (found.length > 0) return found;
  const known = pipelines.map((pipeline) => pipeline.name).join(', ');
  throw new ReckonError('invalid-input', `There is no pipeline ${name}.`, `Configured: ${known}.`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) void runMain(main);
