/**
 * How workflows show themselves to people: names, search attributes and the answer of the `progress` query.
 * Guarantee: constants and types only; workflows, worker, schedules and commands take the names from here.
 */
import type { OffsetVector } from './offset-vector.ts';
import type { ReconciliationScope } from './report.ts';

/** Search attributes, all of type Keyword; the local stack and the worker register them. */
export const searchAttributes = {
  pipeline: 'ReckonPipeline',
  phase: 'ReckonPhase',
  verdict: 'ReckonVerdict',
} as const;

export const reconciliationWorkflow = 'reconciliation';

/** The query that every workflow answers. */
export const progressQuery = 'progress';

export type ReconciliationPhase =
  'resolving' | 'reading-speed' | 'awaiting-archive' | 'comparing' | 'completed' | 'failed' | 'cancelled';

export interface ReconciliationProgress {
  readonly phase: ReconciliationPhase;
  /** Null until the name is resolved. */
  readonly pipeline: string | null;
  readonly scope: ReconciliationScope;
  /** The vector at which the layers are compared; null until the speed state is read. */
  readonly vector: OffsetVector | null;
  /** Path of the report; null until it is written. */
  readonly reportPath: string | null;
}

/** Prefix of a reconciliation's workflow id; a schedule appends its time to it, a command a random text. */
export function reconciliationIdPrefix(pipeline: string): string {
  return `reconciliation-${pipeline}`;
}

export function reconciliationScheduleId(pipeline: string): string {
  return `reckon-reconciliation-${pipeline}`;
}
