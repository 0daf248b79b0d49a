/**
 * Publishes the batch view: recomputes the days that have changed since the last time and puts them into the view's tables. Guarantee:
 * a day that did not change is not read; killed anywhere, the view is what it was before; run again, nothing is left to do.
 */
import type { DuckDb } from '../clients/duckdb.ts';
import type { ObjectStore } from '../clients/object-store.ts';
import type { Aggregate } from '../domain/aggregate.ts';
import { fromOffsetVector } from '../domain/offset-vector.ts';
import type { OffsetVector } from '../domain/offset-vector.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import type { ArchiveTable, ArchiveVersion } from './archive-table.ts';
import { eventsSql } from './event-table.ts';
import type { DataFile } from './file-statistics.ts';
import { recompute, relationsOf } from './recompute.ts';
import { planTimeSlice, sliceRows, wholeAfter } from './slice.ts';
import type { SliceOptions, TimeRange } from './slice.ts';
import {
  closingStarts,
  dayMs,
  eventRangeOf,
  graceMs,
  paneRangeOf,
  startDaysSql,
  toRanges,
  watermarkOf,
} from './view-plan.ts';
import { bucketsOf, readWindows } from './view-rows.ts';
import type { WindowRow } from './view-rows.ts';
import { createStage, stage, ViewTable } from './view-table.ts';
import type { ViewRow } from './view-table.ts';

export interface PublishDeps {
  readonly store: ObjectStore;
  readonly archive: ArchiveTable;
  readonly pipeline: Pipeline;
  /** Used by this publication alone. */
  readonly database: DuckDb;
}

export interface PublishOptions {
  /** Wall clock, epoch milliseconds. */
  readonly nowMs: number;
  /** Says what would be done, and does nothing. */
  readonly dryRun?: boolean;
  readonly signal?: AbortSignal;
}

export interface Published {
  readonly aggregate: string;
  /** Days that were written again (or would be). */
  readonly days: number;
  /** Days that have changed and stay as they are, since records of theirs have expired. */
  readonly daysLeft: number;
  /** Rows of these days; null in a dry run. */
  readonly windows: number | null;
  readonly vector: OffsetVector;
}

/** Days of one recomputation at most; fewer where they hold many records. */
const daysPerSlice = 31;
const staged = 'staged_windows';

/** @returns one entry for each aggregate */
export async function publishViews(deps: PublishDeps, options: PublishOptions): Promise<Published[]> {
  const published: Published[] = [];
  for (const aggregate of deps.pipeline.aggregates) {
    options.signal?.throwIfAborted();
    published.push(await publish(deps, aggregate, options));
  }
  return published;
}

async function publish(deps: PublishDeps, aggregate: Aggregate, options: PublishOptions): Promise<Published> {
  const { store, archive, pipeline } = deps;
  const view = new ViewTable(store, pipeline, aggregate);
  // A dry run leaves no trace, so it holds nothing.
  if (options.dryRun === true)
    return (await publishVersion(deps, aggregate, view, await archive.version(), options)).published;
  await view.create(options.nowMs);
  for (;;) {
    const { published, isDone } = await archive.withVersion((version, lost) => {
      const signals = options.signal === undefined ? [lost] : [lost, options.signal];
      return publishVersion(deps, aggregate, view, version, { ...options, signal: AbortSignal.any(signals) });
    });
    // Another publisher was faster: what it has left is done next.
    if (isDone) return published;
  }
}

async function publishVersion(
  deps: PublishDeps,
  aggregate: Aggregate,
  view: ViewTable,
  { files, reached: vector, expired }: ArchiveVersion,
  options: PublishOptions,
): Promise<{ readonly published: Published; readonly isDone: boolean }> {
  const { pipeline, database } = deps;
  const before = await view.published();
  const closedMs = Math.max(before.closedMs, watermarkOf(files, pipeline.outOfOrderMs, options.nowMs));
  const sliceOptions = { vector, dedupHorizonMs: pipeline.dedupHorizonMs, expired };
  // Days whose records have expired stay as they were published; a session may have begun with one in the gap before it.
  const reachMs = aggregate.window.kind === 'session' ? aggregate.window.gapMs : 0;
  const wholeMs = reachMs + Math.max(Number.NEGATIVE_INFINITY, ...wholeAfter(files, sliceOptions).values());
  const isWhole = (day: number) => day * dayMs > wholeMs;
  const changed = await changedDays(deps, aggregate, files, before, closedMs);
  const days = changed.filter(isWhole);
  const result = { aggregate: aggregate.name, daysLeft: changed.length - days.length, vector };
  if (options.dryRun === true)
    return { published: { ...result, days: days.length, windows: null }, isDone: true };

  await createStage(database, aggregate, staged);
  const written = new Set<number>();
  let windows = 0;
  for (const wanted of rangesOf(days, files, sliceOptions)) {
    options.signal?.throwIfAborted();
    const range = await computeWindows(deps, aggregate, files, sliceOptions, wanted, options.signal);
    // Sessions that reach into the range take the days with them on which they begin; those may have been done already.
    const fresh = new Set<number>();
    for (let day = range.fromMs / dayMs; day < range.toMs / dayMs; day++)
      if (!written.has(day) && isWhole(day)) fresh.add(day);
    for await (const rows of readBoth(database, aggregate)) {
      const own = rows.filter(
        ({ startMs, endMs }) =>
          fresh.has(Math.floor(startMs / dayMs)) && endMs + graceMs(aggregate) <= closedMs,
      );
      windows += own.length;
      await stage(database, staged, own);
    }
    for (const day of fresh) written.add(day);
  }
  const isDone = await view.replace(
    database,
    staged,
    [...written],
    before,
    { vector, closedMs },
    options.nowMs,
  );
  await database.run(`DROP TABLE ${staged}`);
  return { published: { ...result, days: written.size, windows }, isDone };
}

/** Epoch days with windows that may have changed or closed since the view was published, in order. */
async function changedDays(
  { archive, pipeline, database }: PublishDeps,
  aggregate: Aggregate,
  files: readonly DataFile[],
  before: { readonly vector: OffsetVector; readonly closedMs: number },
  closedMs: number,
): Promise<number[]> {
  const days = new Set<number>();
  const { first, last } = startDaysSql(aggregate, '_time_ms');
  /** The days of windows with records that meet a condition, as far as they begin in the range. */
  const add = async (list: readonly DataFile[], where: string, { fromMs, toMs }: TimeRange) => {
    if (list.length === 0) return;
    const copies = await archive.localCopies(list);
    const rows = await database
      .query(
        `SELECT DISTINCT ${first} AS first, ${last} AS last FROM (
           SELECT *, epoch_ms(_time) AS _time_ms FROM (${eventsSql(pipeline, copies.files)})
         ) WHERE _time IS NOT NULL AND ${where}`,
      )
      .finally(() => copies.release());
    for (const row of rows)
      for (
        let day = Math.max(Number(row['first']), Math.floor(fromMs / dayMs));
        day <= Math.min(Number(row['last']), Math.floor((toMs - 1) / dayMs));
        day++
      )
        days.add(day);
  };
  // 1. Records that are new.
  const offsets = fromOffsetVector(before.vector);
  const fresh = files.filter(({ partition, lastOffset }) => lastOffset >= (offsets.get(partition) ?? 0));
  const known = [...offsets].map(
    ([partition, offset]) => `(_partition = ${partition} AND _offset < ${offset})`,
  );
  await add(fresh, known.length === 0 ? 'true' : `NOT (${known.join(' OR ')})`, always);
  // 2. Windows that are closed now and were not before.
  if (before.closedMs > Number.NEGATIVE_INFINITY && closedMs > before.closedMs) {
    const starts = closingStarts(aggregate, before.closedMs, closedMs);
    const { fromMs, toMs } = eventRangeOf(aggregate, starts);
    const near = files.filter(({ minTimeMs, maxTimeMs }) => maxTimeMs >= fromMs && minTimeMs < toMs);
    await add(near, `_time_ms >= ${fromMs} AND _time_ms < ${toMs}`, starts);
  }
  return [...days].sort((a, b) => a - b);
}

const always: TimeRange = { fromMs: Number.NEGATIVE_INFINITY, toMs: Number.POSITIVE_INFINITY };

/** Days as ranges whose records fit into one recomputation, about. */
function rangesOf(days: readonly number[], files: readonly DataFile[], options: SliceOptions): TimeRange[] {
  return toRanges(days, daysPerSlice).flatMap((range) => {
    const { files: needed } = planTimeSlice(files, options, range);
    const rows = needed.reduce((sum, file) => sum + file.rows, 0);
    const perDay = Math.max(
      1,
      Math.floor(((range.toMs - range.fromMs) / dayMs) * (sliceRows / Math.max(1, rows))),
    );
    const first = range.fromMs / dayMs;
    return toRanges(
      Array.from({ length: (range.toMs - range.fromMs) / dayMs }, (_, i) => first + i),
      Math.min(daysPerSlice, perDay),
    );
  });
}

/**
 * Recomputes the panes of all windows of some days. A session that reaches into them may have begun, or been published, on another day:
 * those days are written, too.
 * @param wanted days with windows that may have changed
 * @returns the days to write
 */
async function computeWindows(
  { archive, pipeline, database }: PublishDeps,
  aggregate: Aggregate,
  files: readonly DataFile[],
  sliceOptions: SliceOptions,
  wanted: TimeRange,
  signal: AbortSignal | undefined,
): Promise<TimeRange> {
  const only = { ...pipeline, aggregates: [aggregate] };
  let events = eventRangeOf(aggregate, wanted);
  for (;;) {
    const slice = planTimeSlice(files, sliceOptions, events);
    const panes = paneRangeOf(aggregate, events);
    await recompute(database, archive, only, [slice], {
      flavours: ['strict', 'complete'],
      range: panes,
      ...(signal === undefined ? {} : { signal }),
    });
    if (aggregate.window.kind !== 'session') return wanted;
    const { gapMs } = aggregate.window;
    // 1. The sessions that the days may have changed, from the first one's start to the last one's end.
    let [firstMs, lastMs] = [wanted.fromMs, wanted.toMs];
    for await (const rows of readBoth(database, aggregate))
      for (const { startMs, endMs } of rows)
        if (startMs < wanted.toMs && endMs > wanted.fromMs)
          [firstMs, lastMs] = [Math.min(firstMs, startMs), Math.max(lastMs, endMs)];
    const range = {
      fromMs: Math.floor(firstMs / dayMs) * dayMs,
      toMs: Math.ceil(lastMs / dayMs) * dayMs,
    };
    // 2. All that begin on the days of these are written.
    let endsMs = range.toMs;
    for await (const rows of readBoth(database, aggregate))
      for (const { startMs, endMs } of rows)
        if (startMs >= range.fromMs && startMs < range.toMs) endsMs = Math.max(endsMs, endMs);
    // 3. They are whole where no event was left out in the gap before the first, nor in the gap after the last.
    const [reachesLeft, reachesRight] = [range.fromMs - gapMs < panes.fromMs, endsMs > panes.toMs];
    if (!reachesLeft && !reachesRight) return range;
    const widened = eventRangeOf(aggregate, { fromMs: range.fromMs, toMs: Math.max(range.toMs, endsMs) });
    events = {
      fromMs: Math.min(events.fromMs, widened.fromMs),
      // What reaches the edge may go on: twice as far.
      toMs: reachesRight ? Math.max(widened.toMs, 2 * events.toMs - events.fromMs) : events.toMs,
    };
  }
}

/** The windows of the recomputed panes, bucket by bucket of their groups. */
async function* readBoth(database: DuckDb, aggregate: Aggregate): AsyncGenerator<ViewRow[]> {
  const relations = [relationsOf(aggregate, 'strict'), relationsOf(aggregate, 'complete')] as const;
  const buckets = await bucketsOf(database, aggregate, relations);
  // Nothing was counted: that is 0 of what counts, and no value of what measures.
  const none = aggregate.measures.map(({ kind }) => (kind === 'count' || kind === 'distinct' ? '0' : null));
  for (let bucket = 0; bucket < buckets; bucket++) {
    const rows: ViewRow[] = [];
    const keyOf = ({ startMs, endMs, group }: WindowRow) => `${startMs} ${endMs} ${group}`;
    const strict = new Map<string, WindowRow>();
    for (const row of await readWindows(database, aggregate, relations[0], bucket, buckets))
      strict.set(keyOf(row), row);
    for (const row of await readWindows(database, aggregate, relations[1], bucket, buckets)) {
      const found = strict.get(keyOf(row));
      rows.push({ ...row, strict: found?.measures ?? none, complete: row.measures });
      strict.delete(keyOf(row));
    }
    for (const row of strict.values()) rows.push({ ...row, strict: row.measures, complete: none });
    yield rows;
  }
}
