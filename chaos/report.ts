/** What a run prints. Guarantee: pure; a difference comes with the command that repeats its round. */
import type { RoundResult } from './round.ts';
import type { RoundPlan } from './schedule.ts';

/** The last line of `--json`. */
export interface Totals {
  readonly seed: string;
  readonly rounds: number;
  /** Faults that were proved to have happened. */
  readonly faultsFired: number;
  readonly faultsNotFired: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly records: number;
  readonly windowsCompared: number;
  readonly groupsCompared: number;
  readonly valuesCompared: number;
  readonly unexplained: number;
}

const shownMax = 20;

export function beginning(plan: RoundPlan, rounds: number): string {
  const { number, redis, partitions, processes, events, faults } = plan;
  return `round ${number} of ${rounds}: ${events} events, ${partitions} partitions, ${processes} stream processes, ${
    redis === 'cluster' ? 'Redis Cluster' : 'one Redis'
  }; faults: ${faults.join(', ')}`;
}

/** @param repeat the command that runs the round again @param folder where its logs are kept when something is wrong */
export function roundLines(result: RoundResult, repeat: string, folder: string): string[] {
  const { faults, records, windows, groups, values, accounting, differences, failures, end } = result;
  const [up, sent, quiet, compared] = result.secondsAt.map((seconds) => seconds.toFixed(1));
  const isExact = unexplainedOf(result) === 0 && faults.every(({ fired }) => fired);
  return [
    ...faults.map(
      ({ name, fired, proof, seconds: took }) =>
        `  ${fired ? 'fired    ' : 'NOT FIRED'} ${name}${took > 0 ? ` (${took.toFixed(1)} s)` : ''}: ${proof}`,
    ),
    ...accounting.map((line) => `  ${line}`),
    `  ${end}; ${records} records; ${windows} windows, ${groups} groups, ${values} values compared`,
    ...failures.map((failure) => `  FAILED ${failure}`),
    ...differences
      .slice(0, shownMax)
      .map(
        ({ place, what, expected, found }) => `  DIFFERS ${place} ${what}: ${found} instead of ${expected}`,
      ),
    ...(differences.length > shownMax ? [`  ... and ${differences.length - shownMax} more`] : []),
    `  verdict: ${isExact ? 'exact' : `${unexplainedOf(result)} UNEXPLAINED`} (streams up after ${up} s, all sent ${sent} s, quiet ${quiet} s, compared ${compared} s)`,
    ...(isExact ? [] : [`  again: ${repeat}`, `  logs:  ${folder}`]),
  ];
}

export function unexplainedOf({ differences, failures }: RoundResult): number {
  return differences.length + failures.length;
}

export function totalsOf(seed: string, results: readonly RoundResult[]): Totals {
  const sum = (of: (result: RoundResult) => number) =>
    results.reduce((total, result) => total + of(result), 0);
  const all = results.flatMap(({ faults }) => faults);
  const counts: Record<string, number> = {};
  for (const { name, fired } of all) if (fired) counts[name] = (counts[name] ?? 0) + 1;
  return {
    seed,
    rounds: results.length,
    faultsFired: all.filter(({ fired }) => fired).length,
    faultsNotFired: all.filter(({ fired }) => !fired).length,
    faults: Object.fromEntries(Object.entries(counts).sort(([a], [b]) => (a < b ? -1 : 1))),
    records: sum(({ records }) => records),
    windowsCompared: sum(({ windows }) => windows),
    groupsCompared: sum(({ groups }) => groups),
    valuesCompared: sum(({ values }) => values),
    unexplained: sum(unexplainedOf),
  };
}
