/**
 * The report of a reconciliation. Guarantee: a function of the log up to the vector, of the speed state and of the
 * definition; it holds no clock and no random number, so that the same comparison writes the same bytes.
 */
import type { OffsetVector } from './offset-vector.ts';

/** `closed`: windows that no record can change any more. `all`: the open ones, too (the vector makes both sides equal). */
export type ReconciliationScope = 'closed' | 'all';

/** What became of the records of one partition, as one layer counted them. */
export interface Accounting {
  readonly consumed: string;
  readonly counted: string;
  readonly filtered: string;
  readonly duplicate: string;
  readonly late: string;
  readonly dead: string;
}

/** The accounting identity of one aggregate and partition: `consumed = counted + filtered + duplicate + late + dead`. */
export interface AccountingRow {
  readonly aggregate: string;
  readonly partition: number;
  /** Next offset minus first offset; equals `consumed` plus the known gaps. */
  readonly offsetSpan: string;
  readonly offsetGaps: string;
  /** Records that have left the lake for their age: of the batch layer's terms they are in none. */
  readonly expired: string;
  readonly speed: Accounting;
  readonly batch: Accounting;
  /** Both layers hold the identity and agree on every term; on `consumed` alone where records have expired. */
  readonly holds: boolean;
}

export type DifferenceClass = 'missing-in-speed' | 'overcounted-in-speed' | 'unexplained';

/** One slot of one window and group in which the layers differ. */
export interface Difference {
  readonly aggregate: string;
  readonly partition: number;
  /** Of the pane (of a tumbling window: the window itself); ISO 8601, UTC. */
  readonly windowStart: string;
  /** End of the first window that takes the pane's events; of a session's pane, when it takes none any more. */
  readonly windowEnd: string;
  /** The group as a JSON array: `["SFO"]`; of a family of counts with the bucket or value as one more element. */
  readonly group: string;
  readonly slot: string;
  readonly speed: string | null;
  readonly batch: string | null;
  readonly class: DifferenceClass;
}

export interface AggregateComparison {
  readonly aggregate: string;
  readonly windowsCompared: number;
  /** Cells: windows × groups. */
  readonly groupsCompared: number;
  readonly matched: number;
  readonly different: number;
}

export interface Report {
  readonly id: string;
  readonly pipeline: string;
  readonly scope: ReconciliationScope;
  readonly verdict: 'exact' | 'unexplained';
  readonly vector: OffsetVector;
  readonly records: string;
  readonly windowsCompared: number;
  readonly groupsCompared: number;
  /** Differences, and accounting rows that do not hold. */
  readonly unexplained: number;
  readonly aggregates: readonly AggregateComparison[];
  readonly accounting: readonly AccountingRow[];
  /** Records of the log by what became of them before any aggregate: rejected by reason. */
  readonly deadByReason: Readonly<Record<string, string>>;
  /** At most `differencesMax` of them, in a fixed order. */
  readonly differences: readonly Difference[];
  readonly differencesTotal: number;
  /** The recomputation, to be repeated in any DuckDB shell. */
  readonly sql: readonly { readonly aggregate: string; readonly sql: string }[];
  /** The data files of the lake that the recomputation read, relative to `lake`. */
  readonly files: readonly string[];
}

export const differencesMax = 1_000;

/** Records that have left the lake for their age. */
export function expiredOf({ accounting }: Pick<Report, 'accounting'>): number {
  const partitions = new Map(accounting.map(({ partition, expired }) => [partition, Number(expired)]));
  return [...partitions.values()].reduce((sum, records) => sum + records, 0);
}
