/**
 * What workflows and activities say to each other. Guarantee: payloads carry paths, counts and offsets as strings, never
 * rows; every activity may be repeated with the same input.
 */
import type { OffsetVector } from './offset-vector.ts';
import type { ReconciliationScope } from './report.ts';

/** Input of the `reconciliation` workflow; every field has a default, so the Temporal UI may start it with nothing. */
export interface ReconciliationInput {
  /** Name of the pipeline; the worker's only (or first) pipeline when left out. */
  readonly pipeline?: string | null;
  readonly scope?: ReconciliationScope | null;
}

export interface SpeedSnapshot {
  readonly pipeline: string;
  readonly scope: ReconciliationScope;
  readonly vector: OffsetVector;
  /** Records of the log beyond the vector, when it was read: what the speed layer had not taken yet. */
  readonly lag: string;
  /** The Parquet object, in the lake's store, that holds the windows of the speed layer at that vector. */
  readonly path: string;
}

export interface ReconciliationSummary {
  readonly pipeline: string;
  readonly scope: ReconciliationScope;
  readonly verdict: 'exact' | 'unexplained';
  readonly vector: OffsetVector;
  readonly records: string;
  /** Records that the aggregate that counted the most has counted; the next four are what became of the others in it. */
  readonly counted: string;
  readonly filtered: string;
  readonly duplicate: string;
  readonly late: string;
  readonly dead: string;
  readonly lag: string;
  readonly windowsCompared: number;
  readonly groupsCompared: number;
  readonly unexplained: number;
  readonly reportId: string;
  /** Absolute path of the JSON report; the readable page is beside it, with the ending `.html`. */
  readonly reportPath: string;
}

export interface ReconciliationActivities {
  /** Checks the name, or gives the default one. */
  resolvePipeline(input: { pipeline: string | null }): Promise<string>;
  /** Reads the windows of the speed layer with their offset vector and writes them to a Parquet file. */
  snapshotSpeed(input: {
    pipeline: string;
    scope: ReconciliationScope;
    runId: string;
  }): Promise<SpeedSnapshot>;
  /** Returns once the archive covers the vector. */
  awaitArchive(input: { pipeline: string; vector: OffsetVector }): Promise<void>;
  /** Recomputes by SQL, compares, and writes the report. */
  compareLayers(snapshot: SpeedSnapshot): Promise<ReconciliationSummary>;
}
