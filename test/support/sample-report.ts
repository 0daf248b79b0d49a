/** A small report that is exact, to be changed field by field by the tests. */
import type { AccountingRow, Report } from '../../domain/report.ts';

export function sampleReport(change: Partial<Report> = {}): Report {
  const row = (partition: number): AccountingRow => {
    const terms = { consumed: '1000', counted: '980', filtered: '5', duplicate: '8', late: '4', dead: '3' };
    return {
      aggregate: 'daily',
      partition,
      offsetSpan: '1002',
      offsetGaps: '2',
      expired: '0',
      speed: terms,
      batch: terms,
      holds: true,
    };
  };
  return {
    id: 'closed-1a2b3c',
    pipeline: 'flights',
    scope: 'closed',
    verdict: 'exact',
    vector: { '0': '1002', '1': '1002' },
    records: '2000',
    windowsCompared: 31,
    groupsCompared: 1240,
    unexplained: 0,
    aggregates: [
      { aggregate: 'daily', windowsCompared: 31, groupsCompared: 1240, matched: 1240, different: 0 },
    ],
    accounting: [row(0), row(1)],
    deadByReason: { 'invalid-json': '6' },
    differences: [],
    differencesTotal: 0,
    sql: [{ aggregate: 'daily', sql: 'SELECT count(*) FROM events WHERE a < 1 AND b > 2' }],
    files: ['events/part-0.parquet', 'events/part-1.parquet'],
    ...change,
  };
}

/** The same comparison with one difference and one broken accounting row. */
export function unexplainedReport(change: Partial<Report> = {}): Report {
  const exact = sampleReport();
  return sampleReport({
    id: 'closed-9f8e7d',
    verdict: 'unexplained',
    unexplained: 2,
    aggregates: [
      { aggregate: 'daily', windowsCompared: 31, groupsCompared: 1240, matched: 1239, different: 1 },
    ],
    accounting: exact.accounting.map((row, i) =>
      i === 0 ? row : { ...row, holds: false, batch: { ...row.batch, counted: '981' } },
    ),
    differences: [
      {
        aggregate: 'daily',
        partition: 1,
        windowStart: '2001-01-14T00:00:00.000Z',
        windowEnd: '2001-01-15T00:00:00.000Z',
        group: '["<SFO>"]',
        slot: 'rows',
        speed: '41',
        batch: null,
        class: 'overcounted-in-speed',
      },
    ],
    differencesTotal: 1,
    ...change,
  });
}
