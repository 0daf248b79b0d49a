/**
 * A process that works on a lake and may be killed at one of its steps: `lake-worker.ts <JSON of a Task>`, started by
 * `worker-process.ts`. When it comes to its end its last line is the JSON of what it did.
 */
import { LocalObjectStore } from '../../clients/object-store.ts';
import { killAtFiles } from './killing-files.ts';
import { killingStore, Steps } from './killing-store.ts';
import type { Kill } from './killing-store.ts';
import { loops, openDatabase, openLake, operations } from './lake-operations.ts';
import type { Loop } from './lake-operations.ts';

export interface Task {
  /** Of the lake. */
  readonly folder: string;
  readonly tempDirectory: string;
  readonly kill?: Kill;
  /** Name of one of `operations`, or of `loops` with what it works on. */
  readonly operation?: string;
  readonly loop?: { readonly name: Loop; readonly partitions: number[]; readonly rows: number };
}

export interface Done {
  /** Names of the steps that were taken. */
  readonly store: readonly string[];
  readonly files: readonly string[];
  readonly result: unknown;
}

const task = JSON.parse(process.argv[2] ?? '') as Task;
const steps = new Steps('store', task.kill ?? null);
const fileSteps = new Steps('files', task.kill ?? null);
const database = await openDatabase(task.tempDirectory);
const lake = openLake(killingStore(new LocalObjectStore(task.folder), steps), database);
killAtFiles(task.folder, fileSteps);
const { loop, operation = '' } = task;
const result: unknown = loop
  ? await loops[loop.name](lake, loop.partitions, loop.rows)
  : await operations[operation]?.run(lake);
database.close();
const done: Done = { store: steps.names, files: fileSteps.names, result: result ?? null };
console.log(JSON.stringify(done));
