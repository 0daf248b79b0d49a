/**
 * The activities of the `reconciliation` workflow: heartbeat, call, map the error; the work itself is in `stream/` and
 * `batch/`. Guarantee: each may be repeated with the same input and stops promptly when cancelled.
 */
import { Context } from '@temporalio/activity';
import type { ReportStore } from '../batch/report-store.ts';
import type { ReconciliationActivities, SpeedSnapshot } from '../domain/contracts.ts';
import { ReckonError } from '../domain/errors.ts';
import { covers } from '../domain/offset-vector.ts';
import type { OffsetVector } from '../domain/offset-vector.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import type { ReconciliationScope, Report } from '../domain/report.ts';
import { summarize } from '../domain/summary.ts';
import { toFailure } from './failure.ts';
import { underHeartbeat } from './heartbeat.ts';

/** What the activities need of the layers. A signal is aborted on cancellation; long work should watch it. */
export interface ReconciliationDeps {
  readonly pipelines: readonly Pipeline[];
  /** Reads the speed state and writes it to a Parquet file; the same run id overwrites the same file. */
  readonly snapshotSpeed: (
    pipeline: Pipeline,
    scope: ReconciliationScope,
    runId: string,
    signal: AbortSignal,
  ) => Promise<SpeedSnapshot>;
  /** How far the lake's log reaches. */
  readonly archivedVector: (pipeline: Pipeline) => Promise<OffsetVector>;
  /** Asks the archiver to write up to the vector now; asked again at every look. */
  readonly demandArchive: (pipeline: Pipeline, vector: OffsetVector) => Promise<void>;
  readonly compareLayers: (
    pipeline: Pipeline,
    snapshot: SpeedSnapshot,
    signal: AbortSignal,
  ) => Promise<Report>;
  readonly reports: ReportStore;
  /** Pause between two looks at the lake's log while it is behind. */
  readonly archivePollMs?: number;
}

const defaultArchivePollMs = 500;

export function createReconciliationActivities(deps: ReconciliationDeps) {
  const { archivePollMs = defaultArchivePollMs } = deps;
  return {
    resolvePipeline: async ({ pipeline }) => {
      try {
        return findPipeline(deps.pipelines, pipeline).name;
      } catch (error) {
        throw toFailure(error);
      }
    },

    snapshotSpeed: ({ pipeline, scope, runId }) =>
      underHeartbeat((signal) =>
        deps.snapshotSpeed(findPipeline(deps.pipelines, pipeline), scope, runId, signal),
      ),

    awaitArchive: ({ pipeline, vector }) =>
      underHeartbeat(async (_signal, report) => {
        const found = findPipeline(deps.pipelines, pipeline);
        for (;;) {
          const archived = await deps.archivedVector(found);
          if (covers(archived, vector)) return;
          report({ archived, wanted: vector });
          await deps.demandArchive(found, vector);
          await Context.current().sleep(archivePollMs);
        }
      }),

    compareLayers: (snapshot) =>
      underHeartbeat(async (signal) => {
        const report = await deps.compareLayers(
          findPipeline(deps.pipelines, snapshot.pipeline),
          snapshot,
          signal,
        );
        const { reportPath } = await deps.reports.write(report);
        return summarize(report, snapshot, reportPath);
      }),
  } satisfies ReconciliationActivities;
}

/** @throws ReckonError `invalid-input` when the name is unknown to this worker. */
function findPipeline(pipelines: readonly Pipeline[], name: string | null): Pipeline {
  const found = name === null ? pipelines[0] : pipelines.find((pipeline) => pipeline.name === name);
  if (found === undefined)
    throw new ReckonError(
      'invalid-input',
      `pipeline: there is no pipeline ${JSON.stringify(name)}.`,
      `This worker has ${pipelines.map((pipeline) => pipeline.name).join(', ') || 'none'}; all workers of a task queue need the same RECKON_PIPELINE.`,
    );
  return found;
}
