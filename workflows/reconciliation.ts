/**
 * Compares the speed layer with the recomputation of the lake, at the same offset vector, and writes a report.
 * Guarantee: deterministic; a difference is a result (verdict `unexplained`), not a failure; every step may be repeated;
 * a cancelled run ends once the activity that was running has stopped.
 */
import {
  ActivityCancellationType,
  ActivityFailure,
  ApplicationFailure,
  defineQuery,
  isCancellation,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  TimeoutFailure,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type {
  ReconciliationActivities,
  ReconciliationInput,
  ReconciliationSummary,
} from '../domain/contracts.ts';
import { progressQuery, searchAttributes } from '../domain/progress.ts';
import type { ReconciliationPhase, ReconciliationProgress } from '../domain/progress.ts';
import type { ReconciliationScope } from '../domain/report.ts';
import { oneOf, optionalText, readInput } from './input.ts';

type Activities = ReconciliationActivities;

/** The layers' servers may be away for minutes; waiting longer is the next scheduled run's work. */
const patience = {
  retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '30s', maximumAttempts: 20 },
  heartbeatTimeout: '30s',
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
} as const;
const archivePatience = '1 hour';

const { resolvePipeline } = proxyActivities<Activities>({
  startToCloseTimeout: '10s',
  retry: { maximumAttempts: 5 },
});
const { snapshotSpeed } = proxyActivities<Activities>({ ...patience, startToCloseTimeout: '10 minutes' });
const { awaitArchive } = proxyActivities<Activities>({
  ...patience,
  scheduleToCloseTimeout: archivePatience,
});
const { compareLayers } = proxyActivities<Activities>({ ...patience, startToCloseTimeout: '1 hour' });

export const progress = defineQuery<ReconciliationProgress>(progressQuery);

/** @param inputs nothing, null, `{}` or one `ReconciliationInput`. */
export async function reconciliation(
  ...inputs: [input?: ReconciliationInput | null]
): Promise<ReconciliationSummary> {
  const { pipeline: name, scope } = readInput(inputs, {
    pipeline: optionalText,
    scope: oneOf<ReconciliationScope>(['closed', 'all'], 'closed'),
  });
  let state: ReconciliationProgress = {
    phase: 'resolving',
    pipeline: name,
    scope,
    vector: null,
    reportPath: null,
  };
  setHandler(progress, () => state);
  const enter = (phase: ReconciliationPhase, known: Partial<ReconciliationProgress> = {}): void => {
    state = { ...state, ...known, phase };
    upsertSearchAttributes([keyword(searchAttributes.phase, phase)]);
    setCurrentDetails(describe(state));
  };

  try {
    enter('resolving');
    const pipeline = await resolvePipeline({ pipeline: state.pipeline });
    upsertSearchAttributes([keyword(searchAttributes.pipeline, pipeline)]);

    enter('reading-speed', { pipeline });
    const snapshot = await snapshotSpeed({ pipeline, scope, runId: workflowInfo().runId });

    enter('awaiting-archive', { vector: snapshot.vector });
    await awaitArchive({ pipeline, vector: snapshot.vector });

    enter('comparing');
    const summary = await compareLayers(snapshot);

    upsertSearchAttributes([keyword(searchAttributes.verdict, summary.verdict)]);
    enter('completed', { reportPath: summary.reportPath });
    setCurrentDetails(`${describe(state)}\n\n${conclude(summary)}`);
    return summary;
  } catch (error) {
    if (isCancellation(error)) {
      enter('cancelled');
      throw error;
    }
    const failure = explain(error, state.phase);
    enter('failed');
    setCurrentDetails(`${describe(state)}\n\n**Failed:** ${failure.message}`);
    throw failure;
  }
}

function keyword(name: string, value: string) {
  return { key: { name, type: 'KEYWORD' as const }, value };
}

/** The failure that people see is the activity's own line, not "Activity task failed". */
function explain(error: unknown, phase: ReconciliationPhase): Error {
  if (!(error instanceof ActivityFailure)) throw error;
  const { cause } = error;
  if (phase === 'awaiting-archive' && cause instanceof TimeoutFailure)
    return ApplicationFailure.create({
      type: 'archive-behind',
      message: `The archive did not reach the speed layer's offsets in time. Is the archiver running (npm run archive)?`,
      cause: error,
    });
  if (cause instanceof ApplicationFailure)
    return ApplicationFailure.create({
      message: cause.message,
      type: cause.type ?? 'internal',
      nonRetryable: cause.nonRetryable ?? false,
      cause: error,
    });
  return error;
}

const steps: readonly (readonly [phase: ReconciliationPhase, title: string])[] = [
  ['resolving', 'Resolve the pipeline'],
  ['reading-speed', 'Read the speed layer and its offset vector'],
  ['awaiting-archive', 'Wait until the archive covers that vector'],
  ['comparing', 'Recompute by SQL and compare'],
];

/** Markdown for the "current details" of the Temporal UI. */
function describe({ phase, pipeline, scope, vector }: ReconciliationProgress): string {
  const at = steps.findIndex(([step]) => step === phase);
  const lines = steps.map(([, title], i) => {
    if (at < 0) return `- ${title}`;
    return i < at ? `- ${title}: done` : i === at ? `- **${title}: running**` : `- ${title}`;
  });
  const head = `**${phase}**: pipeline ${pipeline ?? '(the default one)'}, scope ${scope}`;
  const offsets = Object.entries(vector ?? {}).map(([partition, offset]) => `${partition}:${offset}`);
  const foot = offsets.length === 0 ? [] : ['', `Offset vector: \`${offsets.join(' ')}\``];
  return [head, '', ...(at < 0 ? [] : lines), ...foot].join('\n');
}

function conclude(summary: ReconciliationSummary): string {
  const { verdict, unexplained, windowsCompared, groupsCompared, records, reportPath } = summary;
  return [
    `**${verdict === 'exact' ? 'Exact' : 'NOT exact'}: ${unexplained} unexplained**`,
    '',
    `${windowsCompared} windows (${groupsCompared} groups) of ${records} records compared.`,
    '',
    `Report: \`${reportPath}\``,
  ].join('\n');
}
