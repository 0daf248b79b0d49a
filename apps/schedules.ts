/**
 * `npm run schedules`: one reconciliation schedule for each pipeline. Guarantee: running it again changes nothing but
 * what differs; runs of one pipeline never overlap; a paused schedule stays paused.
 */
import { fileURLToPath } from 'node:url';
import { listSchedules, upsertSchedule, withTemporal } from '../clients/temporal.ts';
import type { ScheduleDefinition, ScheduleState, Temporal } from '../clients/temporal.ts';
import { formatDuration, parseDurationMs } from '../domain/duration.ts';
import { ReckonError } from '../domain/errors.ts';
import {
  reconciliationIdPrefix,
  reconciliationScheduleId,
  reconciliationWorkflow,
  searchAttributes,
} from '../domain/progress.ts';
import { readConfig } from './config.ts';
import { printJson, readOptions, runMain } from './main.ts';
import { loadPipelines } from './pipelines.ts';

const usage = 'npm run schedules -- [--every 15m] [--list] [--json]';

const defaultEvery = '15m';
/** Temporal accepts no shorter interval than a second; below ten, runs would mostly be skipped. */
const everyMinMs = 10_000;
/** A run missed for longer than this is not made up for: the next one compares the same windows. */
const catchupWindowMs = 10 * 60_000;
const jitterMaxMs = 10_000;

export function reconciliationSchedule(pipeline: string, everyMs: number): ScheduleDefinition {
  return {
    scheduleId: reconciliationScheduleId(pipeline),
    everyMs,
    // Several pipelines do not all start at the full quarter of an hour.
    jitterMs: Math.min(jitterMaxMs, Math.floor(everyMs / 20)),
    catchupWindowMs,
    workflowType: reconciliationWorkflow,
    workflowIdPrefix: reconciliationIdPrefix(pipeline),
    input: { pipeline, scope: 'closed' },
    note: `Reckon: compares the layers of ${pipeline} every ${formatDuration(everyMs)} (npm run schedules).`,
  };
}

/** Creates or updates the schedule of each pipeline. */
export async function ensureSchedules(
  temporal: Temporal,
  pipelines: readonly string[],
  everyMs: number,
): Promise<{ readonly scheduleId: string; readonly change: 'created' | 'updated' }[]> {
  const changes: { scheduleId: string; change: 'created' | 'updated' }[] = [];
  for (const pipeline of pipelines) {
    const definition = reconciliationSchedule(pipeline, everyMs);
    changes.push({
      scheduleId: definition.scheduleId,
      change: await upsertSchedule(temporal, definition),
    });
  }
  return changes;
}

export function listReconciliationSchedules(temporal: Temporal): Promise<ScheduleState[]> {
  return listSchedules(temporal, reconciliationScheduleId(''), searchAttributes.verdict);
}

/** @throws ReckonError `invalid-input`. */
export function readEvery(text: string): number {
  const everyMs = parseDurationMs(text);
  if (everyMs === null || everyMs < everyMinMs)
    throw new ReckonError(
      'invalid-input',
      `--every ${text}: must be a duration of at least ${formatDuration(everyMinMs)}.`,
      `Such as ${defaultEvery} or 1h.`,
    );
  return everyMs;
}

export function describeSchedule(schedule: ScheduleState): string {
  const { scheduleId, everyMs, paused, nextRun, lastRun } = schedule;
  const last =
    lastRun === null
      ? 'never ran'
      : `last run ${lastRun.startedAt} ${lastRun.status.toLowerCase()}${lastRun.verdict === null ? '' : `, ${lastRun.verdict}`}`;
  const next = paused ? 'paused' : `next run ${nextRun ?? 'unknown'}`;
  return `${scheduleId}: every ${everyMs.map(formatDuration).join(', ')}, overlap ${schedule.overlap.toLowerCase()}, ${next}, ${last}`;
}

async function main(): Promise<void> {
  const { values } = readOptions(usage, {
    every: { type: 'string' },
    list: { type: 'boolean' },
    json: { type: 'boolean' },
  });
  const config = readConfig();
  const say = (line: string): void => void process.stdout.write(`${line}\n`);
  if (values['list'] === true) {
    const schedules = await withTemporal(config, listReconciliationSchedules);
    if (schedules.length === 0) say('There are no schedules yet (npm run schedules creates them).');
    for (const schedule of schedules) say(describeSchedule(schedule));
    if (values['json'] === true) printJson({ schedules });
    return;
  }
  const everyMs = readEvery(String(values['every'] ?? defaultEvery));
  const pipelines = await loadPipelines(config.pipelineFiles);
  const names = pipelines.map(({ name }) => name);
  const schedules = await withTemporal(config, (temporal) => ensureSchedules(temporal, names, everyMs));
  for (const { scheduleId, change } of schedules)
    say(`${scheduleId}: ${change}, every ${formatDuration(everyMs)}`);
  if (values['json'] === true) printJson({ schedules });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) void runMain(main);
