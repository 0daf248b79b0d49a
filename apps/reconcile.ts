/**
 * `npm run reconcile`: starts a reconciliation in Temporal, follows it, and prints its verdict. Guarantee: exit code 0 only
 * when nothing is unexplained, 2 when something is, 1 when there is no verdict; a missing worker is one clear line.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import {
  hasPollers,
  isPickedUp,
  progressOf,
  resultOf,
  startWorkflow,
  withTemporal,
} from '../clients/temporal.ts';
import type { Temporal, WorkflowHandle } from '../clients/temporal.ts';
import type { ReconciliationSummary } from '../domain/contracts.ts';
import { ReckonError } from '../domain/errors.ts';
import { reconciliationIdPrefix, reconciliationWorkflow } from '../domain/progress.ts';
import type { ReconciliationPhase } from '../domain/progress.ts';
import { readConfig } from './config.ts';
import { printJson, readOptions, runMain } from './main.ts';
import { loadPipelines } from './pipelines.ts';
import { describeAccounting, describeVerdict, readReport } from './verdict-text.ts';

const usage = 'npm run reconcile -- [--pipeline NAME] [--scope closed|all] [--json]';

export interface ReconcileOptions {
  readonly pipeline?: string;
  readonly scope?: string;
  /** How long a worker may take to appear, and to pick the run up. */
  readonly workerWaitMs?: number;
  /** Told at each new phase. */
  readonly onPhase?: (phase: ReconciliationPhase) => void;
  /** Cancels the workflow when aborted. */
  readonly signal?: AbortSignal;
}

const defaultWorkerWaitMs = 10_000;
const pollMs = 250;

/** @throws ReckonError `unreachable` when no worker answers, or with the line of the step that failed. */
export async function reconcile(
  temporal: Temporal,
  options: ReconcileOptions,
): Promise<ReconciliationSummary> {
  const { pipeline, scope, workerWaitMs = defaultWorkerWaitMs, signal } = options;
  await requirePollers(temporal, workerWaitMs);
  const workflowId = `${reconciliationIdPrefix(pipeline ?? 'default')}-${randomUUID().slice(0, 8)}`;
  const handle = await startWorkflow(temporal, reconciliationWorkflow, workflowId, {
    pipeline: pipeline ?? null,
    scope: scope ?? null,
  });
  const following = new AbortController();
  const cancel = (): void => {
    handle.cancel().catch(() => undefined);
  };
  signal?.addEventListener('abort', cancel, { once: true });
  const ended = resultOf(handle) as Promise<ReconciliationSummary>;
  const followed = follow(handle, workerWaitMs, options.onPhase ?? (() => undefined), following.signal);
  try {
    const result = await Promise.race([ended, followed]);
    if (typeof result !== 'string') return result;
    // Left open, it would start whenever a worker comes, long after anybody waits for it.
    await handle.terminate('no worker picked it up');
    await ended.catch(() => undefined);
    throw noWorker(temporal);
  } finally {
    following.abort();
    signal?.removeEventListener('abort', cancel);
    // A call that is still on its way would be tried again on a closed connection, and end the process.
    await followed.catch(() => undefined);
  }
}

async function requirePollers(temporal: Temporal, waitMs: number): Promise<void> {
  const deadlineMs = Date.now() + waitMs;
  while (!(await hasPollers(temporal))) {
    if (Date.now() >= deadlineMs) throw noWorker(temporal);
    await sleep(pollMs);
  }
}

function noWorker({ settings }: Temporal): ReckonError {
  return new ReckonError(
    'unreachable',
    `No worker answers on Temporal's task queue ${settings.temporalTaskQueue}.`,
    'Start one: npm run worker.',
  );
}

/** Reports phases until it is told to stop, or no worker picks the run up in time. */
async function follow(
  handle: WorkflowHandle,
  workerWaitMs: number,
  onPhase: (phase: ReconciliationPhase) => void,
  stop: AbortSignal,
): Promise<'no-worker' | 'stopped'> {
  const deadlineMs = Date.now() + workerWaitMs;
  let last: ReconciliationPhase | null = null;
  let pickedUp = false;
  while (!stop.aborted) {
    pickedUp ||= await isPickedUp(handle);
    if (!pickedUp && Date.now() >= deadlineMs) return 'no-worker';
    const phase: ReconciliationPhase | null = pickedUp ? ((await progressOf(handle))?.phase ?? last) : null;
    if (phase !== null && phase !== last && !stop.aborted) onPhase(phase);
    last = phase;
    await sleep(pollMs);
  }
  return 'stopped';
}

/** The last line with `--json`: counts as numbers where a number holds them exactly. */
export function toJsonLine(summary: ReconciliationSummary): Record<string, unknown> {
  const { records, counted, filtered, duplicate, late, dead, lag, ...rest } = summary;
  const counts = Object.entries({ records, counted, filtered, duplicate, late, dead, lag }).map(
    ([name, text]): [string, number | string] => [
      name,
      Number.isSafeInteger(Number(text)) ? Number(text) : text,
    ],
  );
  return { ...Object.fromEntries(counts), ...rest };
}

async function main(): Promise<number> {
  const { values } = readOptions(usage, {
    pipeline: { type: 'string' },
    scope: { type: 'string' },
    json: { type: 'boolean' },
  });
  const config = readConfig();
  const interrupted = new AbortController();
  process.once('SIGINT', () => interrupted.abort());
  const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);
  // What is configured here is meant, not what another worker happens to have first.
  const configured =
    process.env['RECKON_PIPELINE'] === undefined ? [] : await loadPipelines(config.pipelineFiles);
  const [pipeline, scope] = [text(values['pipeline']) ?? configured[0]?.name, text(values['scope'])];
  const summary = await withTemporal(config, (temporal) =>
    reconcile(temporal, {
      ...(pipeline === undefined ? {} : { pipeline }),
      ...(scope === undefined ? {} : { scope }),
      onPhase: (phase) => process.stderr.write(`reconciliation: ${phase}\n`),
      signal: interrupted.signal,
    }),
  );
  const report = await readReport(summary.reportPath);
  const accounting = report === null ? [] : ['', ...describeAccounting(report)];
  process.stdout.write(`${[describeVerdict(summary, report), ...accounting].join('\n')}\n`);
  if (values['json'] === true) printJson(toJsonLine(summary));
  return summary.unexplained === 0 ? 0 : 2;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) void runMain(main);
