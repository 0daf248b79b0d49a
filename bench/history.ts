/**
 * `npm run bench -- history`: what a new day costs in a short history and in one ten times as long: its compaction, and the
 * recomputation of its windows, each by a process that opens the table anew. Guarantee: both recomputations come to what a plain GROUP
 * BY of that day's records counts, or `equal` is false.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ArchiveTable } from '../batch/archive-table.ts';
import { compact } from '../batch/compaction.ts';
import { recompute, relationsOf } from '../batch/recompute.ts';
import { planTimeSlice } from '../batch/slice.ts';
import { DuckDb } from '../clients/duckdb.ts';
import type { Aggregate } from '../domain/aggregate.ts';
import { firstMs } from './events.ts';
import { BenchLake } from './lake.ts';
import { writePipeline } from './pipeline.ts';
import type { BenchPipeline } from './pipeline.ts';
import { costOf, median } from './recompute.ts';
import type { Cost } from './recompute.ts';
import type { BenchOptions } from './speed.ts';

/** Seconds of wall and CPU time, medians over the new days. */
export interface DayCost {
  readonly days: number;
  readonly compaction: Cost;
  readonly recompute: Cost;
}

export interface HistoryResult {
  readonly records: number;
  readonly seed: number;
  readonly recordsPerDay: number;
  readonly short: DayCost;
  readonly long: DayCost;
  /** Cost of one day in the long history to that in the short one: compaction and recomputation together. */
  readonly growth: number;
  readonly growthCpu: number;
  readonly equal: boolean;
  readonly difference: string | null;
}

const dayMs = 86_400_000;
const [shortDays, longDays] = [3, 30];
/** Days that are measured, each after a day that is not. */
const measuredDays = 5;
/** The archiver's files: one an hour and partition. */
const filesPerDay = 24;
const partitions = 4;

export async function benchHistory(options: BenchOptions): Promise<HistoryResult> {
  const { records, seed, say } = options;
  const recordsPerDay = Math.floor(records / longDays);
  const dir = mkdtempSync(join(tmpdir(), 'reckon-bench-'));
  const database = await DuckDb.open({ memoryLimit: '2GB', threads: 2, tempDirectory: join(dir, 'tmp') });
  try {
    const bench = writePipeline('bench', dir, { windowMs: 3_600_000 });
    const histories = [shortDays, longDays].map(
      (days) => new History(join(dir, `lake-${days}`), bench, database, days, recordsPerDay),
    );
    for (const history of histories) {
      say(`a history of ${history.days} days, ${recordsPerDay} records each`);
      await history.fill(options);
    }
    // In turn, so that whatever else the machine does meets both.
    for (let day = 0; day < measuredDays; day++)
      for (const history of histories) say(await history.measureDay(options, day));
    const [short, long] = histories.map((history) => history.cost()) as [DayCost, DayCost];
    const total = (cost: DayCost, kind: keyof Cost) => cost.compaction[kind] + cost.recompute[kind];
    const difference = histories.map((history) => history.difference).find((text) => text !== null) ?? null;
    return {
      records,
      seed,
      recordsPerDay,
      short,
      long,
      growth: Number((total(long, 'seconds') / total(short, 'seconds')).toFixed(2)),
      growthCpu: Number((total(long, 'cpuSeconds') / total(short, 'cpuSeconds')).toFixed(2)),
      equal: difference === null,
      difference,
    };
  } finally {
    database.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

class History {
  readonly days: number;
  readonly #folder: string;
  readonly #bench: BenchPipeline;
  readonly #database: DuckDb;
  readonly #recordsPerDay: number;
  readonly #lake: BenchLake;
  readonly #compactions: Cost[] = [];
  readonly #recomputations: Cost[] = [];
  difference: string | null = null;

  constructor(folder: string, bench: BenchPipeline, database: DuckDb, days: number, recordsPerDay: number) {
    this.days = days;
    this.#folder = folder;
    this.#bench = bench;
    this.#database = database;
    this.#recordsPerDay = recordsPerDay;
    this.#lake = new BenchLake(folder, bench.pipeline);
  }

  async fill({ seed, signal }: BenchOptions): Promise<void> {
    for (let day = 0; day < this.days; day++) {
      signal.throwIfAborted();
      await this.#appendDay(seed, day);
      await compact(this.#lake.archive.table, this.#lake.store, this.#database);
    }
  }

  async #appendDay(seed: number, day: number): Promise<void> {
    await this.#lake.append(this.#database, {
      records: this.#recordsPerDay,
      seed: seed + day,
      firstMs: firstMs + day * dayMs,
      stepMs: dayMs / this.#recordsPerDay,
      rowsPerFile: Math.ceil(this.#recordsPerDay / filesPerDay / partitions),
    });
  }

  /** @returns a line that says what the day has cost */
  async measureDay({ seed, signal }: BenchOptions, at: number): Promise<string> {
    signal.throwIfAborted();
    const day = this.days + at;
    await this.#appendDay(seed, day);
    const { pipeline } = this.#bench;
    const compaction = await costOf(async () => {
      const { archive, store } = new BenchLake(this.#folder, pipeline);
      await compact(archive.table, store, this.#database);
    });
    const range = { fromMs: firstMs + day * dayMs, toMs: firstMs + (day + 1) * dayMs };
    const recomputation = await costOf(async () => {
      const { archive } = new BenchLake(this.#folder, pipeline);
      const options = { vector: await archive.reached(), dedupHorizonMs: pipeline.dedupHorizonMs };
      const slice = planTimeSlice(await archive.files(), options, range);
      await recompute(this.#database, archive, pipeline, [slice], { flavours: ['complete'], range });
    });
    this.#compactions.push(compaction);
    this.#recomputations.push(recomputation);
    await this.#check(this.#lake.archive, range);
    const shown = ({ seconds, cpuSeconds }: Cost) =>
      `${seconds.toFixed(2)} s (CPU ${cpuSeconds.toFixed(2)} s)`;
    return `day ${day + 1} of ${this.days}+: compaction ${shown(compaction)}, recomputation ${shown(recomputation)}`;
  }

  /** The generator makes no duplicates, so the complete view counts every record of the day. */
  async #check(archive: ArchiveTable, { fromMs, toMs }: { fromMs: number; toMs: number }): Promise<void> {
    const { panes } = relationsOf(this.#bench.pipeline.aggregates[0] as Aggregate, 'complete');
    const copies = await archive.localCopies(await archive.files());
    const files = copies.files.map((file) => `'${file}'`).join(', ');
    const [found] = await this.#database.query(
      `SELECT (SELECT sum(slot_0)::BIGINT FROM ${panes}) AS ours,
        (SELECT count(*) FROM read_parquet([${files}]) WHERE epoch_ms(_time) >= ${fromMs} AND epoch_ms(_time) < ${toMs}) AS wanted`,
    );
    if (found?.['ours'] !== found?.['wanted'])
      this.difference = `${String(found?.['ours'])} records instead of ${String(found?.['wanted'])} on ${new Date(fromMs).toISOString()}`;
  }

  cost(): DayCost {
    return {
      days: this.days,
      compaction: rounded(median(this.#compactions)),
      recompute: rounded(median(this.#recomputations)),
    };
  }
}

function rounded({ seconds, cpuSeconds }: Cost): Cost {
  return { seconds: Number(seconds.toFixed(3)), cpuSeconds: Number(cpuSeconds.toFixed(3)) };
}
