/**
 * `npm run worker`: runs the workflows and their activities. Any number of workers on any machines share the task queue.
 * Guarantee: on SIGTERM it takes no new work, gives running activities a moment, hands the rest to other workers, and
 * ends; a Temporal that is unreachable at the start is one clear line.
 */
import { fileURLToPath } from 'node:url';
import { DefaultLogger, NativeConnection, Runtime, Worker, bundleWorkflowCode } from '@temporalio/worker';
import type { WorkflowBundle } from '@temporalio/worker';
import { createReconciliationActivities } from '../activities/reconciliation.ts';
import type { ReconciliationDeps } from '../activities/reconciliation.ts';
import { ensureSearchAttributes, temporalUnreachable, withTemporal } from '../clients/temporal.ts';
import type { TemporalSettings } from '../clients/temporal.ts';
import { searchAttributes } from '../domain/progress.ts';
import { readConfig } from './config.ts';
import { createLogger, drainMaxMs, readOptions, runMain, runUntilShutdown } from './main.ts';
import type { Logger } from './main.ts';
import { loadPipelines } from './pipelines.ts';
import { createWorkerDeps } from './worker-deps.ts';

const usage = 'npm run worker';

/** What running activities get to finish on their own before they are cancelled, and handed on. */
const shutdownGraceMs = 5_000;
/** What a shutdown may take; an activity that ignores its cancellation does not hold up the rest of the drain. */
const shutdownForceMs = drainMaxMs - 5_000;
/** How soon an activity hears that it was cancelled: the SDK sends heartbeats no more often than this. */
const heartbeatThrottleMs = 1_000;

/** A connected worker that does not run yet. */
export interface ReadyWorker {
  /** Resolves once the worker is shut down. */
  readonly run: () => Promise<void>;
  readonly shutdown: () => void;
  readonly close: () => Promise<void>;
}

/** @throws ReckonError `unreachable` when Temporal does not answer. */
export async function createWorker(
  settings: TemporalSettings,
  deps: ReconciliationDeps,
  workflowBundle?: WorkflowBundle,
): Promise<ReadyWorker> {
  await withTemporal(settings, (temporal) =>
    ensureSearchAttributes(temporal, Object.values(searchAttributes)),
  );
  const bundle = workflowBundle ?? (await bundleWorkflows());
  const connection = await connectNative(settings.temporalAddress);
  const worker = await Worker.create({
    connection,
    namespace: settings.temporalNamespace,
    taskQueue: settings.temporalTaskQueue,
    workflowBundle: bundle,
    activities: createReconciliationActivities(deps),
    shutdownGraceTime: shutdownGraceMs,
    shutdownForceTime: shutdownForceMs,
    maxHeartbeatThrottleInterval: heartbeatThrottleMs,
    defaultHeartbeatThrottleInterval: heartbeatThrottleMs,
  });
  return {
    run: () => worker.run(),
    shutdown: () => {
      // The worker may have ended on its own in the meantime.
      if (worker.getState() === 'RUNNING') worker.shutdown();
    },
    close: () => connection.close(),
  };
}

/** Webpack's own messages are only shown when something is wrong. */
export function bundleWorkflows(): Promise<WorkflowBundle> {
  return bundleWorkflowCode({
    workflowsPath: fileURLToPath(new URL('../workflows/index.ts', import.meta.url)),
    logger: new DefaultLogger('WARN'),
  });
}

async function connectNative(address: string): Promise<NativeConnection> {
  try {
    return await NativeConnection.connect({ address });
  } catch (cause) {
    throw temporalUnreachable(address, cause);
  }
}

/** The SDK's logs go through pino; its "info" is about itself, so it is shown as debug. Signals are handled here. */
export function installRuntime(logger: Logger): void {
  const levels = { TRACE: 'trace', DEBUG: 'debug', INFO: 'debug', WARN: 'warn', ERROR: 'error' } as const;
  const sdkLogger = new DefaultLogger('DEBUG', ({ level, message, meta }) => {
    const { error, ...rest } = meta ?? {};
    logger[levels[level]](error === undefined ? rest : { ...rest, err: error as unknown }, message);
  });
  Runtime.install({
    logger: sdkLogger,
    shutdownSignals: [],
    telemetryOptions: { logging: { filter: { core: 'WARN', other: 'ERROR' }, forward: {} } },
  });
}

async function main(): Promise<void> {
  readOptions(usage, {});
  const config = readConfig();
  const pipelines = await loadPipelines(config.pipelineFiles);
  const logger = createLogger('worker', config.logLevel);
  installRuntime(logger);
  await runUntilShutdown(logger, 'worker', async (onFatal) => {
    const deps = await createWorkerDeps(config, pipelines);
    const worker = await createWorker(config, deps);
    const running = worker.run();
    running.catch(onFatal);
    const { temporalAddress, temporalTaskQueue } = config;
    return {
      ready: { temporalAddress, temporalTaskQueue, pipelines: pipelines.map(({ name }) => name).join(',') },
      drain: async () => {
        worker.shutdown();
        await running;
        await worker.close();
        await deps.close();
      },
    };
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) void runMain(main);
