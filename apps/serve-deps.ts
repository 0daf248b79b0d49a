/** Plugs the live status into the API. Guarantee: reads only. */
import { setTimeout as sleep } from 'node:timers/promises';
import { connectAdmin } from '../clients/kafka.ts';
import { connectRedis } from '../clients/redis.ts';
import { ReckonError } from '../domain/errors.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import type { Reachable, ReadStatus } from '../domain/status.ts';
import { readPipelineStatus } from '../serving/status.ts';
import { StateStore } from '../stream/state-store.ts';
import type { Config } from './config.ts';

export interface ServeDeps {
  readonly readStatus: ReadStatus;
  readonly readReachable: () => Promise<Reachable>;
  readonly close: () => Promise<void>;
}

/** What reading the status may take, and what a server may take to answer at all. */
const statusMaxMs = 3_000;
const answerMaxMs = 2_000;

/** @throws ReckonError `unreachable` when Kafka or Redis does not answer */
export async function createServeDeps(config: Config, pipelines: readonly Pipeline[]): Promise<ServeDeps> {
  const admin = await connectAdmin(config.kafkaBrokers, 'reckon-serve');
  const redis = await connectRedis(config.redisUrl);
  const stores = pipelines.map((pipeline) => new StateStore(redis, pipeline));
  const readStatus = () =>
    Promise.all(
      pipelines.map((pipeline, i) =>
        readPipelineStatus(admin, stores[i] as StateStore, pipeline, Date.now()),
      ),
    );
  const answers = (asked: Promise<unknown>) =>
    Promise.race([
      asked.then(
        () => true,
        () => false,
      ),
      sleep(answerMaxMs, false, { ref: false }),
    ]);
  return {
    readStatus: async () => {
      const late = sleep(statusMaxMs, null, { ref: false });
      // The servers' own errors say less to a reader than what they mean: no status now.
      const status = await Promise.race([readStatus().catch(() => null), late]);
      if (status === null)
        throw new ReckonError(
          'unreachable',
          'Kafka or Redis does not answer.',
          'Reports stay readable; try again.',
        );
      return status;
    },
    readReachable: async () => {
      const [redisAnswers, kafkaAnswers] = await Promise.all([
        answers(redis.ping()),
        answers(admin.describeCluster()),
      ]);
      return { redis: redisAnswers, kafka: kafkaAnswers };
    },
    close: async () => {
      redis.disconnect();
      await admin.disconnect();
    },
  };
}
