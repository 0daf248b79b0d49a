/**
 * A verdict and its accounting for a terminal. Guarantee: nothing but what the summary and the report say; a partition whose
 * records do not add up stands out.
 */
import { readFile } from 'node:fs/promises';
import type { ReconciliationSummary } from '../domain/contracts.ts';
import { expiredOf } from '../domain/report.ts';
import type { Accounting, Report } from '../domain/report.ts';

/** The verdict for a terminal; the report adds the table of the aggregates where it can be read from here. */
export function describeVerdict(summary: ReconciliationSummary, report: Report | null): string {
  const { pipeline, scope, records, counted, windowsCompared, groupsCompared, unexplained } = summary;
  const facts: [string, string][] = [
    ['pipeline', `${pipeline} (${scope} windows)`],
    ['records', records],
    ['counted', counted],
    ['not counted', notCounted(summary)],
    ['not taken yet', `${summary.lag} (lag of the speed layer)`],
    ['windows compared', String(windowsCompared)],
    ['groups compared', String(groupsCompared)],
    ['unexplained', String(unexplained)],
    ['report', summary.reportPath],
  ];
  const exact = windowsCompared === 0 ? 'NOTHING COMPARED: 0 unexplained' : 'EXACT: 0 unexplained';
  const verdict = unexplained === 0 ? exact : `NOT EXACT: ${unexplained} unexplained`;
  const lines = [verdict, ...facts.map(([name, value]) => `  ${name.padEnd(17)} ${value}`)];
  if (report === null) return lines.join('\n');
  const gone = expiredOf(report);
  if (gone > 0)
    lines.push(`  ${'expired'.padEnd(17)} ${gone} records; windows that had some of them are not compared`);
  const rows = report.aggregates.map((row) =>
    [row.aggregate, row.windowsCompared, row.groupsCompared, row.matched, row.different].map(String),
  );
  const head = ['aggregate', 'windows', 'groups', 'matched', 'different'];
  return [...lines, '', ...alignColumns([head, ...rows], 1)].join('\n');
}

/** What became of the records that were not counted; nothing counted at all is worth a loud word. */
function notCounted({ records, counted, filtered, duplicate, late, dead }: ReconciliationSummary): string {
  const fates = `${filtered} filtered, ${duplicate} duplicate, ${late} late, ${dead} dead`;
  return counted === '0' && records !== '0' ? `${fates}: NOTHING WAS COUNTED` : fates;
}

const terms = ['consumed', 'counted', 'filtered', 'duplicate', 'late', 'dead'] as const;

/**
 * The accounting identity by aggregate and partition, `consumed = counted + filtered + duplicate + late + dead` and
 * `offsets = consumed + gaps`: one line where both layers have counted the same, else one for each.
 */
export function describeAccounting({ pipeline, accounting }: Report): string[] {
  const head = ['aggregate', 'partition', 'layer', ...terms, 'offsets', 'gaps', ''];
  const rows = accounting.flatMap(({ aggregate, partition, speed, batch, offsetSpan, offsetGaps, holds }) => {
    const where = [aggregate, String(partition)];
    const outcome = holds ? 'holds' : 'DOES NOT HOLD';
    const counts = (layer: Accounting) => terms.map((term) => layer[term]);
    if (terms.every((term) => speed[term] === batch[term]))
      return [[...where, 'both', ...counts(speed), offsetSpan, offsetGaps, outcome]];
    return [
      [...where, 'speed', ...counts(speed), offsetSpan, offsetGaps, outcome],
      [...where, 'batch', ...counts(batch), '', '', ''],
    ];
  });
  const broken = accounting.filter(({ holds }) => !holds).length;
  return [
    `accounting of ${pipeline}: consumed = counted + filtered + duplicate + late + dead; offsets = consumed + gaps`,
    ...alignColumns([head, ...rows], 1),
    broken === 0
      ? `  it holds for every partition and aggregate (${accounting.length})`
      : `  it DOES NOT HOLD for ${broken} of ${accounting.length}`,
  ];
}

/** Indented; the first columns to the left, the others to the right. */
function alignColumns(rows: readonly (readonly string[])[], left: number): string[] {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  const pad = (cell: string, i: number): string =>
    i < left ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0);
  return rows.map((row) => `  ${row.map(pad).join('  ').trimEnd()}`);
}

/** @returns null where it cannot be read from here: the worker may run on another machine */
export async function readReport(path: string): Promise<Report | null> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Report;
  } catch {
    return null; // The summary stands on its own.
  }
}
