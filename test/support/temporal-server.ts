/** A Temporal server of its own for a test file (in memory, on a free port), and workers on it with fake layers. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import type { ReconciliationDeps } from '../../activities/reconciliation.ts';
import { createLogger } from '../../apps/main.ts';
import { installRuntime } from '../../apps/worker.ts';
import { createReportStore } from '../../batch/report-store.ts';
import type { TemporalSettings } from '../../clients/temporal.ts';
import { definePipeline } from '../../domain/pipeline.ts';
import { findOnPath } from '../../scripts/stack/execute.ts';
import { provision } from '../../scripts/stack/provision.ts';
import { sampleReport } from './sample-report.ts';

export interface TestTemporal {
  readonly environment: TestWorkflowEnvironment;
  readonly settings: TemporalSettings;
  readonly stop: () => Promise<void>;
}

export async function startTemporal(): Promise<TestTemporal> {
  installRuntime(createLogger('test', process.env['LOG_LEVEL'] ?? 'silent'));
  const environment = await TestWorkflowEnvironment.createLocal({
    server: {
      executable: { type: 'existing-path', path: await temporalExecutable() },
      log: { level: 'error', format: 'pretty' },
    },
  });
  return {
    environment,
    settings: {
      temporalAddress: environment.address,
      temporalNamespace: 'default',
      temporalTaskQueue: 'reckon-test',
    },
    stop: () => environment.teardown(),
  };
}

async function temporalExecutable(): Promise<string> {
  const onPath = await findOnPath('temporal', process.env['PATH']);
  if (onPath !== null) return onPath;
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  return join(await provision('temporal', process.env, say), 'temporal');
}

/** Layers that answer at once: two partitions, everything archived, an exact report. */
export interface FakeLayers {
  readonly deps: ReconciliationDeps;
  readonly reportsDir: string;
  readonly remove: () => Promise<void>;
}

export async function fakeLayers(change: Partial<ReconciliationDeps> = {}): Promise<FakeLayers> {
  const reportsDir = await mkdtemp(join(tmpdir(), 'reckon-reports-'));
  const vector = { '0': '1002', '1': '1002' };
  const deps: ReconciliationDeps = {
    pipelines: [fakePipeline('flights'), fakePipeline('orders')],
    snapshotSpeed: async (pipeline, scope, runId) => ({
      pipeline: pipeline.name,
      scope,
      vector,
      lag: '7',
      path: `/nowhere/${runId}.parquet`,
    }),
    archivedVector: async () => vector,
    demandArchive: async () => undefined,
    compareLayers: async (pipeline, { scope }) => sampleReport({ pipeline: pipeline.name, scope }),
    reports: createReportStore(reportsDir),
    archivePollMs: 20,
    ...change,
  };
  return { deps, reportsDir, remove: () => rm(reportsDir, { recursive: true }) };
}

export function fakePipeline(name: string) {
  return definePipeline({
    name,
    event: {
      schema: {
        type: 'object',
        required: ['id', 'time'],
        properties: { id: { type: 'string' }, time: { type: 'string' } },
      },
      id: 'id',
      time: 'time',
    },
    aggregates: { daily: { window: { tumbling: '1d' }, measures: { events: 'count' } } },
  });
}
