/**
 * Plugs the layers into the worker's activities. Guarantee: every call has a DuckDB of its own, bounded in memory, which a
 * cancellation interrupts; connections to Kafka and Redis are shared.
 */
import { join } from 'node:path';
import type { ReconciliationDeps } from '../activities/reconciliation.ts';
import { ArchiveDemand } from '../batch/archive-demand.ts';
import { ArchiveTable } from '../batch/archive-table.ts';
import { compareLayers } from '../batch/reconciliation.ts';
import { createReportStore } from '../batch/report-store.ts';
import { DuckDb } from '../clients/duckdb.ts';
import { connectAdmin, readOffsets } from '../clients/kafka.ts';
import { openLakeStore } from '../clients/lake-store.ts';
import { connectRedis } from '../clients/redis.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import { confirmSnapshot, snapshotSpeed, withSnapshot } from '../stream/snapshot.ts';
import { StateStore } from '../stream/state-store.ts';
import type { Config } from './config.ts';

export interface WorkerDeps extends ReconciliationDeps {
  readonly close: () => Promise<void>;
}

/** What one recomputation may hold in memory; the rest spills to the temporary folder. */
const memoryLimit = '1GB';

/** @throws ReckonError `unreachable` when Kafka or Redis does not answer */
export async function createWorkerDeps(config: Config, pipelines: readonly Pipeline[]): Promise<WorkerDeps> {
  const store = await openLakeStore(config);
  const admin = await connectAdmin(config.kafkaBrokers, 'reckon-worker');
  const redis = await connectRedis(config.redisUrl);
  const archives = new Map(
    pipelines.map(({ name }, i) => [name, new ArchiveTable(store, pipelines[i] as Pipeline)]),
  );
  const archiveOf = ({ name }: Pipeline) => archives.get(name) as ArchiveTable;

  const withDatabase = async <T>(signal: AbortSignal, work: (database: DuckDb) => Promise<T>): Promise<T> => {
    const tempDirectory = join(config.home, 'tmp');
    const database = await DuckDb.open({ memoryLimit, threads: 2, tempDirectory });
    const interrupt = () => database.interrupt();
    signal.addEventListener('abort', interrupt);
    try {
      return await work(database);
    } finally {
      signal.removeEventListener('abort', interrupt);
      database.close();
    }
  };

  return {
    pipelines,
    reports: createReportStore(config.reportsDir),
    archivedVector: (pipeline) => archiveOf(pipeline).reached(),
    demandArchive: ({ name }, vector) => new ArchiveDemand(store, name).ask(vector),
    snapshotSpeed: (pipeline, scope, runId, signal) =>
      withDatabase(signal, async (database) => {
        const log = await readOffsets(admin, pipeline.topic);
        return snapshotSpeed(
          { store: new StateStore(redis, pipeline), database, log, objects: store },
          pipeline,
          scope,
          runId,
        );
      }),
    compareLayers: (pipeline, snapshot, signal) =>
      withDatabase(signal, (database) =>
        withSnapshot(store, snapshot, async (side) => {
          const report = await compareLayers(database, archiveOf(pipeline), pipeline, snapshot, side);
          if (report.verdict === 'exact')
            await confirmSnapshot(new StateStore(redis, pipeline), side.partitions);
          return report;
        }),
      ),
    close: async () => {
      redis.disconnect();
      await admin.disconnect();
    },
  };
}
