/**
 * The real archiver in a process of its own, on a store that may kill it at one of its steps: `archiver-worker.ts <JSON of an
 * ArchiverTask>`. SIGTERM ends it in good order; with the test that started it it ends, too.
 */
import { Archiver } from '../../batch/archive.ts';
import { ArchiveDemand } from '../../batch/archive-demand.ts';
import { LocalObjectStore } from '../../clients/object-store.ts';
import { killingStore, Steps } from './killing-store.ts';
import type { Kill } from './killing-store.ts';
import { clicksAs, openDatabase } from './lake-operations.ts';
import { ArchiveTable } from '../../batch/archive-table.ts';

export interface ArchiverTask {
  readonly kafkaBrokers: string;
  readonly folder: string;
  readonly tempDirectory: string;
  /** Of the pipeline, and so of the consumer group and of the folder in the lake. */
  readonly name: string;
  readonly topic: string;
  readonly kill?: Kill;
}

const task = JSON.parse(process.argv[2] ?? '') as ArchiverTask;
const pipeline = clicksAs(task.name, task.topic);
const store = killingStore(new LocalObjectStore(task.folder), new Steps('store', task.kill ?? null));
const database = await openDatabase(task.tempDirectory);
process.once('disconnect', () => process.exit(1));
const archiver = await Archiver.start({
  kafkaBrokers: task.kafkaBrokers,
  pipeline,
  archive: new ArchiveTable(store, pipeline),
  database,
  rolling: { rollMs: 50, rollRows: 100_000, rollBytes: 1 << 24 },
  demand: new ArchiveDemand(store, pipeline.name),
  log: () => undefined,
  onFatal: (error) => {
    console.error(error);
    process.exit(2);
  },
});
process.once('SIGTERM', () => void archiver.stop().then(() => process.exit(0)));
