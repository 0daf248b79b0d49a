/** Plugs the live status into the API. Temporary: the lead reads Redis and Kafka here. */
import { ReckonError } from '../domain/errors.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import type { ReadStatus } from '../domain/status.ts';
import type { Config } from './config.ts';

export interface ServeDeps {
  readonly readStatus: ReadStatus;
  readonly close: () => Promise<void>;
}

export async function createServeDeps(_config: Config, _pipelines: readonly Pipeline[]): Promise<ServeDeps> {
  return {
    readStatus: () => Promise.reject(new ReckonError('unreachable', 'The live status is not wired yet.')),
    close: () => Promise.resolve(),
  };
}
