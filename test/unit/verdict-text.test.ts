/** The accounting as a terminal shows it. */
import { describeAccounting } from '../../apps/verdict-text.ts';
import { sampleReport, unexplainedReport } from '../support/sample-report.ts';

it('shows every partition and aggregate, on one line where the layers agree', () => {
  expect(describeAccounting(sampleReport())).toEqual([
    'accounting of flights: consumed = counted + filtered + duplicate + late + dead; offsets = consumed + gaps',
    '  aggregate  partition  layer  consumed  counted  filtered  duplicate  late  dead  offsets  gaps',
    '  daily              0   both      1000      980         5          8     4     3     1002     2  holds',
    '  daily              1   both      1000      980         5          8     4     3     1002     2  holds',
    '  it holds for every partition and aggregate (2)',
  ]);
});

it('shows both layers where they differ, and says how often it does not hold', () => {
  const lines = describeAccounting(unexplainedReport());
  expect(lines.filter((line) => / (both|speed|batch) /.test(line))).toEqual([
    '  daily              0   both      1000      980         5          8     4     3     1002     2          holds',
    '  daily              1  speed      1000      980         5          8     4     3     1002     2  DOES NOT HOLD',
    '  daily              1  batch      1000      981         5          8     4     3',
  ]);
  expect(lines.at(-1)).toBe('  it DOES NOT HOLD for 1 of 2');
});

it('what does not hold although the layers agree stands out, too', () => {
  const accounting = sampleReport().accounting.map((row) => ({ ...row, offsetSpan: '1003', holds: false }));
  const lines = describeAccounting(sampleReport({ accounting }));
  expect(lines.filter((line) => line.endsWith('DOES NOT HOLD'))).toHaveLength(2);
  expect(lines.at(-1)).toBe('  it DOES NOT HOLD for 2 of 2');
});
