/** `npm run archive`: the archiver of every configured pipeline, until SIGTERM. */
import { join } from 'node:path';
import { Archiver } from '../batch/archive.ts';
import { ArchiveDemand } from '../batch/archive-demand.ts';
import { ArchiveTable } from '../batch/archive-table.ts';
import { DuckDb } from '../clients/duckdb.ts';
import { prepareTopics } from '../clients/kafka-topics.ts';
import { openLakeStore } from '../clients/lake-store.ts';
import { readConfig } from './config.ts';
import { createLogger, readOptions, runMain, runUntilShutdown } from './main.ts';
import { loadPipelines } from './pipelines.ts';

await runMain(async () => {
  readOptions('npm run archive', {});
  const config = readConfig();
  const logger = createLogger('archive', config.logLevel);
  const pipelines = await loadPipelines(config.pipelineFiles);
  await prepareTopics(config.kafkaBrokers, 'reckon-archive', pipelines);
  const store = await openLakeStore(config);
  await runUntilShutdown(logger, 'archive', async (onFatal) => {
    // A database each: rows are staged in tables whose names repeat from pipeline to pipeline.
    const archivers = await Promise.all(
      pipelines.map(async (pipeline) => {
        const database = await DuckDb.open({
          memoryLimit: '512MB',
          threads: 1,
          tempDirectory: join(config.home, 'tmp'),
        });
        const archiver = await Archiver.start({
          kafkaBrokers: config.kafkaBrokers,
          pipeline,
          archive: new ArchiveTable(store, pipeline),
          database,
          rolling: config.archiveRolling,
          demand: new ArchiveDemand(store, pipeline.name),
          log: (event, message) => logger.info({ pipeline: pipeline.name, ...event }, message),
          onFatal,
        });
        return { archiver, database };
      }),
    );
    return {
      drain: async () => {
        await Promise.all(archivers.map(({ archiver }) => archiver.stop()));
        for (const { database } of archivers) database.close();
      },
    };
  });
});
