/**
 * Temporal, by its client: the only file that imports `@temporalio/client`. Guarantee: a server that does not answer, a
 * missing namespace and a failed workflow are one clear line each; creating a schedule or a search attribute again
 * changes nothing.
 */
import {
  ApplicationFailure,
  CancelledFailure,
  Client,
  Connection,
  isGrpcServiceError,
  ScheduleAlreadyRunning,
  ScheduleOverlapPolicy,
  TerminatedFailure,
  WorkflowFailedError,
} from '@temporalio/client';
import type { ScheduleDescription, WorkflowHandle } from '@temporalio/client';
import { failureCodes, ReckonError } from '../domain/errors.ts';
import type { FailureCode } from '../domain/errors.ts';
import { progressQuery } from '../domain/progress.ts';
import type { ReconciliationProgress } from '../domain/progress.ts';

export type { WorkflowHandle };

export interface TemporalSettings {
  readonly temporalAddress: string;
  readonly temporalNamespace: string;
  readonly temporalTaskQueue: string;
}

export interface Temporal {
  readonly client: Client;
  readonly connection: Connection;
  readonly settings: TemporalSettings;
}

const connectTimeoutMs = 5_000;
/** gRPC status 5, NOT_FOUND; the protocol's constants (Temporal's API, `enums/v1`) are numbers below, too. */
const grpcNotFound = 5;
const keywordType = 2;
const workflowTaskQueue = 1;

/**
 * Connects, works, and disconnects.
 * @throws ReckonError `unreachable` when the server does not answer, at first or later; `invalid-config` for a namespace
 * that does not exist.
 */
export async function withTemporal<Result>(
  settings: TemporalSettings,
  work: (temporal: Temporal) => Promise<Result>,
): Promise<Result> {
  const { temporalAddress: address, temporalNamespace: namespace } = settings;
  let connection: Connection;
  try {
    connection = await Connection.connect({ address, connectTimeout: connectTimeoutMs });
  } catch (cause) {
    throw temporalUnreachable(address, cause);
  }
  try {
    await requireNamespace(connection, namespace);
    return await work({ client: new Client({ connection, namespace }), connection, settings });
  } catch (error) {
    throw isGrpcServiceError(error) ? temporalUnreachable(address, error) : error;
  } finally {
    await connection.close();
  }
}

export function temporalUnreachable(address: string, cause: unknown): ReckonError {
  return new ReckonError(
    'unreachable',
    `Temporal does not answer at ${address}.`,
    'Start it (npm run stack -- up) or set TEMPORAL_ADDRESS.',
    { cause },
  );
}

async function requireNamespace(connection: Connection, namespace: string): Promise<void> {
  try {
    await connection.workflowService.describeNamespace({ namespace });
  } catch (cause) {
    if (!isGrpcServiceError(cause) || Number(cause.code) !== grpcNotFound) throw cause;
    throw new ReckonError(
      'invalid-config',
      `Temporal has no namespace ${namespace}.`,
      'Create it, or set TEMPORAL_NAMESPACE.',
      { cause },
    );
  }
}

/** Registers the Keyword search attributes that the namespace does not have yet; workflows cannot set unknown ones. */
export async function ensureSearchAttributes(temporal: Temporal, names: readonly string[]): Promise<void> {
  const { connection, settings } = temporal;
  const namespace = settings.temporalNamespace;
  const known = (await connection.operatorService.listSearchAttributes({ namespace })).customAttributes ?? {};
  const missing = names.filter((name) => !(name in known));
  if (missing.length === 0) return;
  try {
    const searchAttributes = Object.fromEntries(missing.map((name) => [name, keywordType]));
    await connection.operatorService.addSearchAttributes({ namespace, searchAttributes });
  } catch (cause) {
    throw new ReckonError(
      'unsafe-server',
      `Temporal's namespace ${namespace} lacks the search attributes ${missing.join(', ')}, and they cannot be added.`,
      'Add them, each of type Keyword (temporal operator search-attribute create).',
      { cause },
    );
  }
}

/** Whether any worker has asked the task queue for workflow tasks lately (the server remembers for some minutes). */
export async function hasPollers({ connection, settings }: Temporal): Promise<boolean> {
  const { pollers } = await connection.workflowService.describeTaskQueue({
    namespace: settings.temporalNamespace,
    taskQueue: { name: settings.temporalTaskQueue },
    taskQueueType: workflowTaskQueue,
  });
  return (pollers ?? []).length > 0;
}

/** Whether a worker has picked the run up: before that, its history is the start and the first scheduled task. */
export async function isPickedUp(handle: WorkflowHandle): Promise<boolean> {
  const { historyLength } = await handle.describe();
  return historyLength > 2;
}

export function startWorkflow(
  { client, settings }: Temporal,
  type: string,
  workflowId: string,
  input: Readonly<Record<string, unknown>>,
): Promise<WorkflowHandle> {
  return client.workflow.start(type, { workflowId, taskQueue: settings.temporalTaskQueue, args: [input] });
}

/** The answer of a run's `progress` query; null while no worker answers. */
export async function progressOf(handle: WorkflowHandle): Promise<ReconciliationProgress | null> {
  try {
    return await handle.query<ReconciliationProgress>(progressQuery);
  } catch {
    return null;
  }
}

/** The result of a workflow. @throws ReckonError with the line of the activity or workflow that failed. */
export async function resultOf(handle: WorkflowHandle): Promise<unknown> {
  try {
    return (await handle.result()) as unknown;
  } catch (error) {
    if (error instanceof WorkflowFailedError) throw asReckonError(handle.workflowId, error);
    throw error;
  }
}

function asReckonError(workflowId: string, error: WorkflowFailedError): ReckonError {
  const { cause } = error;
  const failed = (what: string, hint = '', code: FailureCode = 'workflow-failed'): ReckonError =>
    new ReckonError(code, what, hint, { cause: error });
  if (cause instanceof CancelledFailure) return failed(`The workflow ${workflowId} was cancelled.`);
  if (cause instanceof TerminatedFailure) return failed(`The workflow ${workflowId} was terminated.`);
  if (cause instanceof ApplicationFailure) {
    const code = (cause.type ?? '') as FailureCode;
    // `internal` would print a stack, but this one's stack is on the worker's side.
    if (code in failureCodes && code !== 'internal') return failed(cause.message, '', code);
  }
  const message = cause?.message ?? error.message;
  return failed(
    `The workflow ${workflowId} failed: ${message}.`,
    'See the Temporal UI or the log of the worker.',
  );
}

/** One scheduled workflow; durations in milliseconds. */
export interface ScheduleDefinition {
  readonly scheduleId: string;
  readonly everyMs: number;
  readonly jitterMs: number;
  /** Runs missed while Temporal was away are caught up when they are younger than this. */
  readonly catchupWindowMs: number;
  readonly workflowType: string;
  readonly workflowIdPrefix: string;
  readonly input: Readonly<Record<string, unknown>>;
  readonly note: string;
}

/** Creates the schedule or brings it to this definition; whether it is paused stays as it is. Overlap: skip. */
export async function upsertSchedule(
  { client, settings }: Temporal,
  definition: ScheduleDefinition,
): Promise<'created' | 'updated'> {
  const { scheduleId, note } = definition;
  const wanted = {
    spec: { intervals: [{ every: definition.everyMs }], jitter: definition.jitterMs },
    policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: definition.catchupWindowMs },
    action: {
      type: 'startWorkflow' as const,
      workflowType: definition.workflowType,
      workflowId: definition.workflowIdPrefix,
      taskQueue: settings.temporalTaskQueue,
      args: [definition.input],
    },
  };
  try {
    await client.schedule.create({ scheduleId, ...wanted, state: { note } });
    return 'created';
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error;
  }
  const handle = client.schedule.getHandle(scheduleId);
  await handle.update((previous) => ({ ...wanted, state: { ...previous.state, note } }));
  return 'updated';
}

/** A schedule as `npm run schedules -- --list` shows it. */
export interface ScheduleState {
  readonly scheduleId: string;
  readonly everyMs: readonly number[];
  readonly overlap: string;
  readonly catchupWindowMs: number;
  readonly paused: boolean;
  readonly nextRun: string | null;
  readonly lastRun: {
    readonly workflowId: string;
    readonly startedAt: string;
    /** RUNNING, COMPLETED, FAILED, ... */
    readonly status: string;
    readonly verdict: string | null;
  } | null;
}

/** All schedules whose id begins with the prefix, by id. */
export async function listSchedules(
  temporal: Temporal,
  prefix: string,
  verdictAttribute: string,
): Promise<ScheduleState[]> {
  const states: ScheduleState[] = [];
  for await (const { scheduleId } of temporal.client.schedule.list()) {
    if (!scheduleId.startsWith(prefix)) continue;
    const description = await temporal.client.schedule.getHandle(scheduleId).describe();
    states.push({
      scheduleId,
      everyMs: (description.spec.intervals ?? []).map(({ every }) => every),
      overlap: description.policies.overlap ?? 'UNSPECIFIED',
      catchupWindowMs: description.policies.catchupWindow,
      paused: description.state.paused,
      nextRun: description.info.nextActionTimes[0]?.toISOString() ?? null,
      lastRun: await lastRunOf(temporal.client, description, verdictAttribute),
    });
  }
  return states.sort((a, b) => a.scheduleId.localeCompare(b.scheduleId, 'en'));
}

async function lastRunOf(
  client: Client,
  { info }: ScheduleDescription,
  verdictAttribute: string,
): Promise<ScheduleState['lastRun']> {
  const last = info.recentActions.at(-1);
  if (last === undefined) return null;
  const { workflowId, firstExecutionRunId } = last.action.workflow;
  const startedAt = last.takenAt.toISOString();
  try {
    const { status, typedSearchAttributes } = await client.workflow
      .getHandle(workflowId, firstExecutionRunId)
      .describe();
    const verdict = typedSearchAttributes.get({ name: verdictAttribute, type: 'KEYWORD' }) ?? null;
    return { workflowId, startedAt, status: status.name, verdict };
  } catch {
    // Past the namespace's retention: the schedule remembers the run, the server no longer has it.
    return { workflowId, startedAt, status: 'FORGOTTEN', verdict: null };
  }
}
