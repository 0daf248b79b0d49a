/** From a report to the few numbers that travel through Temporal. Guarantee: pure; sums are exact. */
import type { ReconciliationSummary, SpeedSnapshot } from './contracts.ts';
import type { AccountingRow, Report } from './report.ts';

/** What became of the records, in one aggregate. */
type Fates = Record<'counted' | 'filtered' | 'duplicate' | 'late' | 'dead', string>;

const noRecords: Fates = { counted: '0', filtered: '0', duplicate: '0', late: '0', dead: '0' };

/**
 * What became of the records. Every aggregate accounts for each record once, so sums over aggregates would count records
 * several times; the numbers given are those of the aggregate that counted the most.
 */
export function fatesOfMost(accounting: readonly AccountingRow[]): Fates {
  const byAggregate = new Map<string, Fates>();
  for (const { aggregate, speed } of accounting)
    byAggregate.set(aggregate, add(byAggregate.get(aggregate) ?? noRecords, speed));
  return [...byAggregate.values()].reduce(
    (most, next) => (BigInt(next.counted) > BigInt(most.counted) ? next : most),
    [...byAggregate.values()][0] ?? noRecords,
  );
}

function add(a: Fates, b: Fates): Fates {
  const sum = (fate: keyof Fates) => (BigInt(a[fate]) + BigInt(b[fate])).toString();
  return {
    counted: sum('counted'),
    filtered: sum('filtered'),
    duplicate: sum('duplicate'),
    late: sum('late'),
    dead: sum('dead'),
  };
}

export function summarize(
  report: Report,
  snapshot: SpeedSnapshot,
  reportPath: string,
): ReconciliationSummary {
  return {
    pipeline: report.pipeline,
    scope: report.scope,
    verdict: report.verdict,
    vector: report.vector,
    records: report.records,
    ...fatesOfMost(report.accounting),
    lag: snapshot.lag,
    windowsCompared: report.windowsCompared,
    groupsCompared: report.groupsCompared,
    unexplained: report.unexplained,
    reportId: report.id,
    reportPath,
  };
}
