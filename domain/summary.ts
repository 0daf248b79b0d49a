/** From a report to the few numbers that travel through Temporal. Guarantee: pure; sums are exact. */
import type { ReconciliationSummary } from './contracts.ts';
import type { AccountingRow, Report } from './report.ts';

/**
 * How many records the pipeline counted. Every aggregate counts (or filters) each record once, so sums over aggregates
 * would count records several times; the number given is that of the aggregate that counted the most.
 */
export function countedMost(accounting: readonly AccountingRow[]): string {
  const byAggregate = new Map<string, bigint>();
  for (const { aggregate, speed } of accounting)
    byAggregate.set(aggregate, (byAggregate.get(aggregate) ?? 0n) + BigInt(speed.counted));
  return [...byAggregate.values()].reduce((most, next) => (next > most ? next : most), 0n).toString();
}

export function summarize(report: Report, reportPath: string): ReconciliationSummary {
  return {
    pipeline: report.pipeline,
    scope: report.scope,
    verdict: report.verdict,
    vector: report.vector,
    records: report.records,
    counted: countedMost(report.accounting),
    windowsCompared: report.windowsCompared,
    groupsCompared: report.groupsCompared,
    unexplained: report.unexplained,
    reportId: report.id,
    reportPath,
  };
}
