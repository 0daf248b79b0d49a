/** The rows that readers see, and their labels. Guarantee: pure. */
import type { Aggregate } from '../domain/aggregate.ts';
import { measureResult } from '../domain/window-view.ts';
import type { SlotValue, TopEntry } from '../domain/window-view.ts';

/**
 * `closed`: no more changes are expected; one that happens all the same raises the revision. `reconciled`: closed, and found equal
 * to the recomputation from the lake.
 */
export type WindowStatus = 'open' | 'closed' | 'reconciled';

export interface WindowRow {
  /** Epoch milliseconds, half-open. */
  readonly startMs: number;
  readonly endMs: number;
  /** The group as a JSON array of texts: `["SFO"]`. */
  readonly group: string;
  /** By measure: exact decimal text, the list of a `topK`, or null where no value was there. */
  readonly results: Readonly<Record<string, string | readonly TopEntry[] | null>>;
  readonly status: WindowStatus;
  /** Rises whenever a commit changes the window's panes. */
  readonly revision: number;
}

/** What the labels of an aggregate's windows follow from. */
export interface Labels {
  readonly aggregate: Aggregate;
  readonly watermarkMs: number;
  /** Windows that end up to here (plus the allowed lateness) were found exact in every partition. */
  readonly reconciledMs: number;
}

/** @param endMs after which nothing is expected, but for the allowed lateness */
export function statusOf({ aggregate, watermarkMs, reconciledMs }: Labels, endMs: number): WindowStatus {
  const closesMs = endMs + aggregate.allowedLatenessMs;
  if (closesMs > watermarkMs) return 'open';
  return closesMs <= reconciledMs ? 'reconciled' : 'closed';
}

export function resultsOf({ measures }: Aggregate, slots: readonly SlotValue[]): WindowRow['results'] {
  const results: Record<string, WindowRow['results'][string]> = {};
  for (const measure of measures) results[measure.name] = measureResult(measure, slots);
  return results;
}
