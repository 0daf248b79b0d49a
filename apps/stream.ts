/**
 * `npm run stream`: the speed layer of every configured pipeline, until SIGTERM. Guarantee: at the end of a run it prints what
 * became of every record, by partition and aggregate; where that does not add up the exit code is not 0.
 */
import { join } from 'node:path';
import { ArchiveTable } from '../batch/archive-table.ts';
import { LakeHistory } from '../batch/history.ts';
import { DuckDb } from '../clients/duckdb.ts';
import { prepareTopics } from '../clients/kafka-topics.ts';
import { openLakeStore } from '../clients/lake-store.ts';
import { connectRedis } from '../clients/redis.ts';
import { describeAccount } from '../domain/accounting.ts';
import type { Account } from '../domain/accounting.ts';
import { SpeedLayer } from '../stream/consumer.ts';
import { readConfig } from './config.ts';
import { createLogger, readOptions, runMain, runUntilShutdown } from './main.ts';
import { loadPipelines } from './pipelines.ts';

await runMain(async () => {
  readOptions('npm run stream', {});
  const config = readConfig();
  const logger = createLogger('stream', config.logLevel);
  const pipelines = await loadPipelines(config.pipelineFiles);
  await prepareTopics(config.kafkaBrokers, 'reckon-stream', pipelines);
  const redis = await connectRedis(config.redisUrl);
  const lake = await openLakeStore(config);

  let addsUp = true;
  // At the end of a run there may be nobody left to read.
  process.stdout.on('error', () => undefined);
  const printAccounts = (pipeline: string, accounts: readonly Account[] | null): void => {
    if (accounts === null) logger.warn({ pipeline }, 'Redis does not answer: no accounting of this run');
    for (const account of accounts ?? []) {
      const { partition, aggregate, holds } = account;
      const line = `${pipeline}, partition ${partition}, ${aggregate}: ${describeAccount(account)}`;
      process.stdout.write(`${line}\n`);
      if (!holds) logger.error({ pipeline, partition, aggregate }, line);
      addsUp &&= holds;
    }
  };

  await runUntilShutdown(logger, 'stream', async (onFatal) => {
    const layers = await Promise.all(
      pipelines.map((pipeline) =>
        SpeedLayer.start({
          kafkaBrokers: config.kafkaBrokers,
          redis,
          pipeline,
          flushMs: config.flushMs,
          history: new LakeHistory(new ArchiveTable(lake, pipeline), pipeline, () =>
            DuckDb.open({ memoryLimit: '512MB', threads: 1, tempDirectory: join(config.home, 'tmp') }),
          ),
          log: (event, message) => logger.info({ pipeline: pipeline.name, ...event }, message),
          onAccounts: (accounts) => printAccounts(pipeline.name, accounts),
          onFatal,
        }),
      ),
    );
    return {
      drain: async () => {
        await Promise.all(layers.map((layer) => layer.stop()));
        redis.disconnect();
      },
    };
  });
  return addsUp ? 0 : 1;
});
