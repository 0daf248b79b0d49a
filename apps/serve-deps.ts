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

/** After so long an answer is not waited for any more: it may have been lost. */
const forgottenMs = 60_000;

/**
 * Shares what is under way, also with those who ask after others have given up on it: while a server is away, scrapes must not
 * pile up questions that all wait for it.
 */
function oneAtATime<T>(ask: () => Promise<T>): () => Promise<T> {
  let asked: { readonly answer: Promise<T>; readonly atMs: number } | null = null;
  return () => {
    const nowMs = performance.now();
    if (asked !== null && nowMs - asked.atMs < forgottenMs) return asked.answer;
    const mine = { answer: ask(), atMs: nowMs };
    asked = mine;
    const done = (): void => {
      if (asked === mine) asked = null;
    };
    mine.answer.then(done, done);
    return mine.answer;
  };
}

/** @throws ReckonError `unreachable` when Kafka or Redis does not answer */
export async function createServeDeps(config: Config, pipelines: readonly Pipeline[]): Promise<ServeDeps> {
  const admin = await connectAdmin(config.kafkaBrokers, 'reckon-serve');
  const redis = await connectRedis(config.redisUrl);
  const stores = pipelines.map((pipeline) => new StateStore(redis, pipeline));
  const readStatus = oneAtATime(() =>
    Promise.all(
      pipelines.map((pipeline, i) =>
        readPipelineStatus(admin, stores[i] as StateStore, pipeline, Date.now()),
      ),
    ),
  );
  const askRedis = oneAtATime(() => redis.ping());
  const askKafka = oneAtATime(() => admin.describeCluster());
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
      const [redisAnswers, kafkaAnswers] = await Promise.all([answers(askRedis()), answers(askKafka())]);
      return { redis: redisAnswers, kafka: kafkaAnswers };
    },
    close: async () => {
      redis.disconnect();
      await admin.disconnect();
    },
  };
}
