/**
 * Compares the speed layer's snapshot with the recomputation of the lake at the same offset vector. Guarantee: every cell
 * of either side is looked at; a cell that one side lacks is a difference; the report is a function of the two sides.
 */
import { createHash } from 'node:crypto';
import { quoteLiteral as literal, parquetSql } from '../clients/duckdb.ts';
import type { DuckDb, Row } from '../clients/duckdb.ts';
import { accountOf } from '../domain/accounting.ts';
import type { Aggregate } from '../domain/aggregate.ts';
import type { SpeedSnapshot } from '../domain/contracts.ts';
import { fromOffsetVector, toOffsetVector } from '../domain/offset-vector.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import { differencesMax } from '../domain/report.ts';
import type { Accounting, AccountingRow, AggregateComparison, Difference, Report } from '../domain/report.ts';
import type { SnapshotPartition, SpeedSide } from '../domain/speed-snapshot.ts';
import type { ArchiveTable, ArchiveVersion } from './archive-table.ts';
import { cellsSql } from './recompute-sql.ts';
import { describeRecomputation, recompute, recomputed, relationsOf } from './recompute.ts';
import { planSlices, sliceRows, wholeAfter } from './slice.ts';

/**
 * @param database used by this comparison alone: it holds the tables of the recomputation and of the snapshot meanwhile
 * @param side the snapshot's content
 * @param rowsMax records of one slice
 */
export function compareLayers(
  database: DuckDb,
  archive: ArchiveTable,
  pipeline: Pipeline,
  snapshot: SpeedSnapshot,
  side: SpeedSide,
  rowsMax = sliceRows,
): Promise<Report> {
  return archive.withVersion((version, signal) =>
    compareWith(version, { database, archive, pipeline, snapshot, side, rowsMax, signal }),
  );
}

interface Comparison {
  readonly database: DuckDb;
  readonly archive: ArchiveTable;
  readonly pipeline: Pipeline;
  readonly snapshot: SpeedSnapshot;
  readonly side: SpeedSide;
  readonly rowsMax: number;
  readonly signal: AbortSignal;
}

async function compareWith(
  { files, expired, ...version }: ArchiveVersion,
  { database, archive, pipeline, snapshot, side, rowsMax, signal }: Comparison,
): Promise<Report> {
  const { partitions, cellsFile } = side;
  const reached = fromOffsetVector(version.reached);
  // Everything that the lake holds up to the vector, also below the state's first offset: what the speed layer never counted
  // is a difference. A partition of which the speed layer has no state at all is compared with all that is archived.
  const vector = toOffsetVector(
    partitions.map(({ partition, nextOffset, begun }) => [
      partition,
      begun ? nextOffset : Math.max(nextOffset, reached.get(partition) ?? 0),
    ]),
  );
  const sliceOptions = { vector, dedupHorizonMs: pipeline.dedupHorizonMs, expired };
  const slices = planSlices(files, sliceOptions, rowsMax);
  await recompute(database, archive, pipeline, slices, { flavours: ['strict'], range: null, signal });
  const whole = wholeSql(wholeAfter(files, sliceOptions));
  await database.run(
    `CREATE OR REPLACE TEMP TABLE speed AS SELECT aggregate, "partition" AS _partition, start_ms, end_ms,
       from_json(grp, '["VARCHAR"]') AS grp, slot, "value"::HUGEINT AS "value"
     FROM ${parquetSql([cellsFile])}`,
  );

  const comparisons: AggregateComparison[] = [];
  const differences: Difference[] = [];
  const accounting: AccountingRow[] = [];
  for (const aggregate of pipeline.aggregates) {
    await joinLayers(database, pipeline, aggregate, snapshot.scope === 'closed', whole);
    comparisons.push(await summarize(database, aggregate));
    differences.push(...(await listDifferences(database, aggregate)));
    accounting.push(...(await account(database, aggregate, partitions, expired)));
  }
  const dead = await database.query(`SELECT reason, records FROM ${recomputed.dead} ORDER BY reason`);
  const deadByReason = Object.fromEntries(
    dead.map(({ reason, records }) => [reason as string, String(records)]),
  );
  const differencesTotal = comparisons.reduce((sum, { different }) => sum + different, 0);
  const unexplained = differencesTotal + accounting.filter(({ holds }) => !holds).length;
  const records = partitions.reduce((sum, { counters }) => sum + BigInt(counters['consumed'] ?? '0'), 0n);
  const body = {
    pipeline: pipeline.name,
    scope: snapshot.scope,
    verdict: unexplained === 0 ? ('exact' as const) : ('unexplained' as const),
    vector,
    records: records.toString(),
    windowsCompared: comparisons.reduce((sum, { windowsCompared }) => sum + windowsCompared, 0),
    groupsCompared: comparisons.reduce((sum, { groupsCompared }) => sum + groupsCompared, 0),
    unexplained,
    aggregates: comparisons,
    accounting,
    deadByReason,
    differences: differences.slice(0, differencesMax),
    differencesTotal,
    // In one piece, as people read it: how it was sliced makes no difference.
    sql: describeRecomputation(pipeline, archive, planSlices(files, sliceOptions, Infinity)[0] ?? null),
    files: files.map(({ path }) => path),
  };
  const id = createHash('sha256').update(JSON.stringify(body)).digest('hex').slice(0, 16);
  return { id, ...body };
}

/** Both sides cell by cell, in table `joined`; a cell matches when both sides have it, with the same integer. */
async function joinLayers(
  database: DuckDb,
  pipeline: Pipeline,
  aggregate: Aggregate,
  closedOnly: boolean,
  whole: string,
): Promise<void> {
  // The panes that no record can change any more, by the same rule as on the speed side.
  const closed = closedOnly
    ? `AND end_ms + ${aggregate.allowedLatenessMs} <= (SELECT max_ms FROM ${recomputed.frontier} f WHERE f._partition = recomputed._partition) - ${pipeline.outOfOrderMs}`
    : '';
  await database.run(`CREATE OR REPLACE TEMP TABLE joined AS
    WITH recomputed AS (${cellsSql(aggregate, relationsOf(aggregate, 'strict'))}),
    batch AS (SELECT *, true AS in_batch FROM recomputed WHERE ${whole} ${closed}),
    speed_cells AS (SELECT _partition, start_ms, end_ms, grp, slot, "value", true AS in_speed FROM speed WHERE aggregate = ${literal(aggregate.name)} AND ${whole})
    SELECT _partition, start_ms, end_ms, grp, slot, speed_cells."value" AS speed, batch."value" AS batch,
      coalesce(in_speed AND in_batch AND speed_cells."value" = batch."value", false) AS matches
    FROM speed_cells FULL OUTER JOIN batch USING (_partition, start_ms, end_ms, grp, slot)`);
}

/** Of panes whose records the lake has in full: where some have expired, those that begin later. */
function wholeSql(after: ReadonlyMap<number, number>): string {
  const begun = [...after].filter(([, afterMs]) => Number.isFinite(afterMs));
  return begun.length === 0
    ? 'true'
    : begun
        .map(([partition, afterMs]) => `(_partition <> ${partition} OR start_ms > ${afterMs})`)
        .join(' AND ');
}

async function summarize(database: DuckDb, aggregate: Aggregate): Promise<AggregateComparison> {
  const [row = {}] = await database.query(`SELECT count(DISTINCT start_ms) AS windows,
    count(DISTINCT (start_ms, list_slice(grp, 1, ${aggregate.groupBy.length}))) AS grps,
    count(*) FILTER (matches) AS matched, count(*) FILTER (NOT matches) AS different FROM joined`);
  return {
    aggregate: aggregate.name,
    windowsCompared: Number(row['windows']),
    groupsCompared: Number(row['grps']),
    matched: Number(row['matched']),
    different: Number(row['different']),
  };
}

async function listDifferences(database: DuckDb, aggregate: Aggregate): Promise<Difference[]> {
  const rows =
    await database.query(`SELECT _partition, start_ms, end_ms, to_json(grp)::VARCHAR AS grp, slot, speed, batch FROM joined
    WHERE NOT matches ORDER BY _partition, start_ms, end_ms, grp, slot LIMIT ${differencesMax}`);
  return rows.map((row) => ({
    aggregate: aggregate.name,
    partition: Number(row['_partition']),
    windowStart: new Date(Number(row['start_ms'])).toISOString(),
    windowEnd: new Date(Number(row['end_ms'])).toISOString(),
    group: row['grp'] as string,
    slot: row['slot'] as string,
    speed: textOf(row['speed']),
    batch: textOf(row['batch']),
    class: classOf(row),
  }));
}

/** Rows can only be missing or too many; which of it another slot shows cannot be told from its value alone. */
function classOf(row: Row): Difference['class'] {
  const speed = (row['speed'] ?? 0n) as bigint;
  const batch = (row['batch'] ?? 0n) as bigint;
  if (row['slot'] !== 'rows') return 'unexplained';
  return speed < batch ? 'missing-in-speed' : 'overcounted-in-speed';
}

async function account(
  database: DuckDb,
  aggregate: Aggregate,
  partitions: readonly SnapshotPartition[],
  expired: ArchiveVersion['expired'],
): Promise<AccountingRow[]> {
  const rows = await database.query(
    `SELECT * FROM ${recomputed.accounting} WHERE aggregate = ${literal(aggregate.name)}`,
  );
  return partitions.map((counted) => {
    const { partition, baseOffset, nextOffset } = counted;
    const row = rows.find((candidate) => Number(candidate['_partition']) === partition) ?? {};
    const term = (name: keyof Accounting) => String(row[name] ?? 0n);
    const account = accountOf(aggregate.name, counted);
    const batch: Accounting = {
      consumed: term('consumed'),
      counted: term('counted'),
      filtered: term('filtered'),
      duplicate: term('duplicate'),
      late: term('late'),
      dead: term('dead'),
    };
    // Of records that have expired only their number is known.
    const gone = expired.get(partition)?.rows ?? 0;
    const agree =
      gone === 0
        ? Object.entries(account.terms).every(([name, value]) => batch[name as keyof Accounting] === value)
        : BigInt(account.terms.consumed) === BigInt(batch.consumed) + BigInt(gone);
    return {
      aggregate: aggregate.name,
      partition,
      offsetSpan: String(nextOffset - baseOffset),
      offsetGaps: account.offsetGaps,
      expired: String(gone),
      speed: account.terms,
      batch,
      holds: account.holds && agree,
    };
  });
}

function textOf(value: unknown): string | null {
  return typeof value === 'bigint' ? value.toString() : null;
}
