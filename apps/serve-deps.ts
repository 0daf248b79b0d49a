/** Plugs the live status into the API. Guarantee: reads only. */
import { connectAdmin } from '../clients/kafka.ts';
import { connectRedis } from '../clients/redis.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import type { ReadStatus } from '../domain/status.ts';
import { readPipelineStatus } from '../serving/status.ts';
import { StateStore } from '../stream/state-store.ts';
import type { Config } from './config.ts';

export interface ServeDeps {
  readonly readStatus: ReadStatus;
  readonly close: () => Promise<void>;
}

/** @throws ReckonError `unreachable` when Kafka or Redis does not answer */
export async function createServeDeps(config: Config, pipelines: readonly Pipeline[]): Promise<ServeDeps> {
  const admin = await connectAdmin(config.kafkaBrokers, 'reckon-serve');
  const redis = await connectRedis(config.redisUrl);
  const stores = pipelines.map((pipeline) => new StateStore(redis, pipeline));
  return {
    readStatus: () =>
      Promise.all(
        pipelines.map((pipeline, i) => readPipelineStatus(admin, stores[i] as StateStore, pipeline)),
      ),
    close: async () => {
      redis.disconnect();
      await admin.disconnect();
    },
  };
}
