/**
 * `npm run bench -- recompute`: the recomputation of the lake, with everything that it does for a reconciliation (classification, panes,
 * accounting, dead letters), beside a bare DuckDB statement that does the same job on the same files. Guarantee: both come to the same
 * windows, or `equal` is false and `difference` says where.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compact } from '../batch/compaction.ts';
import { recompute, relationsOf } from '../batch/recompute.ts';
import { planSlices } from '../batch/slice.ts';
import { DuckDb, quotePath } from '../clients/duckdb.ts';
import type { Aggregate } from '../domain/aggregate.ts';
import { firstMs } from './events.ts';
import { BenchLake } from './lake.ts';
import { allowedLatenessMs, outOfOrderMs, windowMs, writePipeline } from './pipeline.ts';
import type { BenchOptions } from './speed.ts';

export interface RecomputeResult {
  readonly records: number;
  readonly seed: number;
  /** Of the recomputation, the median of three runs. */
  readonly rowsPerSecond: number;
  readonly rowsPerCpuSecond: number;
  /** Of the bare statement, with watermark, lateness and dedup, in turn with ours. */
  readonly bareRowsPerSecond: number;
  readonly bareRowsPerCpuSecond: number;
  /** Of a windowed GROUP BY without any of these: what the rules cost. */
  readonly plainRowsPerSecond: number;
  /** Ours to the bare statement. */
  readonly ratio: number;
  readonly ratioCpu: number;
  readonly equal: boolean;
  readonly difference: string | null;
}

const rowsPerFile = 50_000;
const runs = 3;

export async function benchRecompute({ records, seed, signal, say }: BenchOptions): Promise<RecomputeResult> {
  const dir = mkdtempSync(join(tmpdir(), 'reckon-bench-'));
  const database = await DuckDb.open({ memoryLimit: '2GB', threads: 2, tempDirectory: join(dir, 'tmp') });
  try {
    const { pipeline } = writePipeline('bench', dir);
    const lake = new BenchLake(join(dir, 'lake'), pipeline);
    say(`archiving ${records} records`);
    await lake.append(database, { records, seed, firstMs, stepMs: 1, rowsPerFile });
    const compacted = await compact(lake.archive.table, lake.store, database);
    say(`compacted ${compacted.removed} files into ${compacted.added}`);
    const files = await lake.archive.files();
    const vector = await lake.archive.reached();
    const slices = planSlices(files, { vector, dedupHorizonMs: pipeline.dedupHorizonMs });
    const source = `read_parquet([${files.map((file) => quotePath(lake.archive.locationOf(file))).join(', ')}])`;
    const jobs = {
      ours: () => recompute(database, lake.archive, pipeline, slices, { flavours: ['strict'], range: null }),
      bare: () =>
        database.run(`CREATE OR REPLACE TEMP TABLE bare AS ${bareSql(source, pipeline.dedupHorizonMs)}`),
      plain: () => database.run(`CREATE OR REPLACE TEMP TABLE plain AS ${plainSql(source)}`),
    };
    // The first run of each warms the page cache up, and counts for nothing.
    const measured = { ours: [] as Cost[], bare: [] as Cost[], plain: [] as Cost[] };
    for (let run = 0; run <= runs; run++)
      for (const name of ['ours', 'bare', 'plain'] as const) {
        signal.throwIfAborted();
        const cost = await costOf(jobs[name]);
        if (run > 0) measured[name].push(cost);
        if (run > 0) say(`${name}: ${cost.seconds.toFixed(2)} s, ${cost.cpuSeconds.toFixed(2)} s of CPU`);
      }
    const [ours, bare, plain] = [measured.ours, measured.bare, measured.plain].map(median) as [
      Cost,
      Cost,
      Cost,
    ];
    const { panes } = relationsOf(pipeline.aggregates[0] as Aggregate, 'strict');
    return {
      records,
      seed,
      rowsPerSecond: Math.round(records / ours.seconds),
      rowsPerCpuSecond: Math.round(records / ours.cpuSeconds),
      bareRowsPerSecond: Math.round(records / bare.seconds),
      bareRowsPerCpuSecond: Math.round(records / bare.cpuSeconds),
      plainRowsPerSecond: Math.round(records / plain.seconds),
      ratio: Number((bare.seconds / ours.seconds).toFixed(2)),
      ratioCpu: Number((bare.cpuSeconds / ours.cpuSeconds).toFixed(2)),
      ...(await compare(database, panes)),
    };
  } finally {
    database.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

export interface Cost {
  readonly seconds: number;
  readonly cpuSeconds: number;
}

/** Of this process, DuckDB's threads included. */
export async function costOf(work: () => Promise<unknown>): Promise<Cost> {
  const [beganMs, cpu] = [performance.now(), process.cpuUsage()];
  await work();
  const { user, system } = process.cpuUsage(cpu);
  return { seconds: (performance.now() - beganMs) / 1_000, cpuSeconds: (user + system) / 1e6 };
}

export function median(costs: readonly Cost[]): Cost {
  const middle = (pick: (cost: Cost) => number) =>
    costs.map(pick).sort((a, b) => a - b)[costs.length >> 1] ?? 0;
  return { seconds: middle(({ seconds }) => seconds), cpuSeconds: middle(({ cpuSeconds }) => cpuSeconds) };
}

/** The same job as somebody would write it by hand, for this one aggregate and for valid records. */
function bareSql(source: string, dedupHorizonMs: number): string {
  const start = `epoch_ms(time_bucket(INTERVAL ${windowMs} milliseconds, _time))`;
  return `WITH log AS (
    SELECT _partition, _time, productId, amount,
      max(_time) OVER (PARTITION BY _partition ORDER BY _offset ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS newest,
      _timestamp - lag(_timestamp) OVER (PARTITION BY _partition, _id ORDER BY _offset) AS since
    FROM ${source} WHERE _rejected IS NULL)
  SELECT _partition, ${start} AS start_ms, productId AS product, count(*) AS records, sum(amount) AS amount FROM log
  WHERE NOT coalesce(since <= INTERVAL ${dedupHorizonMs} milliseconds, false)
    AND NOT coalesce(${start} + ${windowMs + allowedLatenessMs} <= epoch_ms(newest) - ${outOfOrderMs}, false)
  GROUP BY ALL`;
}

function plainSql(source: string): string {
  return `SELECT time_bucket(INTERVAL ${windowMs} milliseconds, _time) AS start, productId, count(*) AS records, sum(amount) AS amount
  FROM ${source} GROUP BY ALL`;
}

async function compare(
  database: DuckDb,
  panes: string,
): Promise<Pick<RecomputeResult, 'equal' | 'difference'>> {
  const ours = `SELECT _partition, start_ms, grp[1] AS product, slot_0::BIGINT AS records, slot_1::BIGINT AS cents FROM ${panes}`;
  const bare = 'SELECT _partition, start_ms, product, records, (amount * 100)::BIGINT AS cents FROM bare';
  const [row] = await database.query(
    `SELECT to_json(d)::VARCHAR AS d FROM ((${ours} EXCEPT ALL ${bare}) UNION ALL (${bare} EXCEPT ALL ${ours})) d ORDER BY ALL LIMIT 1`,
  );
  return row === undefined
    ? { equal: true, difference: null }
    : { equal: false, difference: `one side only has ${String(row['d'])}` };
}
