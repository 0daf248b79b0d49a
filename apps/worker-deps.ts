/** Plugs the layers into the worker's activities. Temporary: the lead wires `stream/` and `batch/` here. */
import type { ReconciliationDeps } from '../activities/reconciliation.ts';
import { ReckonError } from '../domain/errors.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import type { Config } from './config.ts';

export interface WorkerDeps extends ReconciliationDeps {
  readonly close: () => Promise<void>;
}

export async function createWorkerDeps(
  _config: Config,
  _pipelines: readonly Pipeline[],
): Promise<WorkerDeps> {
  throw new ReckonError('internal', 'createWorkerDeps is not wired yet');
}
