/**
 * `npm run replay -- --file F`: streams a file of events into the pipeline's topic. Guarantee: it ends with the number of
 * rows that the broker has acknowledged: on success, on Ctrl-C (exit code 130) and in the line of an error.
 */
import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DuckDb } from '../clients/duckdb.ts';
import { connectProducer } from '../clients/kafka.ts';
import { prepareTopics } from '../clients/kafka-topics.ts';
import type { ProducedMessage, Producer } from '../clients/kafka.ts';
import { ReckonError } from '../domain/errors.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import { replay } from '../ingest/replay.ts';
import { describeFile } from '../ingest/source-file.ts';
import type { SourceFile } from '../ingest/source-file.ts';
import { openSource } from '../ingest/source.ts';
import { readConfig } from './config.ts';
import { printJson, readOptions, runMain, shutdownRequested } from './main.ts';
import type { Options } from './main.ts';
import { loadPipelines } from './pipelines.ts';
import { ReplayProgress } from './replay-progress.ts';

const usage = 'npm run replay -- --file F [--speed N|max] [--limit N] [--pipeline NAME] [--json]';

async function main(): Promise<number> {
  const { values } = readOptions(usage, {
    file: { type: 'string' },
    speed: { type: 'string' },
    limit: { type: 'string' },
    pipeline: { type: 'string' },
    json: { type: 'boolean' },
  });
  const speed = readSpeed(values['speed']);
  const limit = readLimit(values['limit']);
  if (typeof values['file'] !== 'string')
    throw new ReckonError('invalid-input', 'No --file is given.', `Usage: ${usage}`);
  const file = describeFile(values['file']);
  const config = readConfig();
  const pipeline = choosePipeline(await loadPipelines(config.pipelineFiles), values);

  await prepareTopics(config.kafkaBrokers, 'reckon-replay', [pipeline]);
  const producer = await connectProducer(config.kafkaBrokers, 'reckon-replay');
  try {
    const result = await replayFile(file, pipeline, producer, { speed, limit });
    report(result, file, pipeline, values['json'] === true);
    return result.interrupted ? 130 : 0;
  } finally {
    await producer.disconnect();
  }
}

interface Result {
  readonly records: number;
  readonly interrupted: boolean;
  readonly seconds: number;
}

async function replayFile(
  file: SourceFile,
  pipeline: Pipeline,
  producer: Producer,
  { speed, limit }: { speed: number | null; limit: number | null },
): Promise<Result> {
  const stop = new AbortController();
  void shutdownRequested().then(() => stop.abort());
  const tempDirectory = join(tmpdir(), `reckon-replay-${process.pid}`);
  const db = await DuckDb.open({ memoryLimit: '256MB', threads: 1, tempDirectory });
  const startMs = performance.now();
  const progress = new ReplayProgress(file.name, limit);
  try {
    const source = await openSource(file, pipeline, db);
    progress.begin(source.fraction);
    const result = await replay(source, pipeline, {
      speed,
      limit,
      signal: stop.signal,
      clock: { nowMs: () => performance.now(), sleep: sleepUntilAborted },
      send: (messages) => sendBatch(producer, pipeline.topic, messages),
      onSent: (records) => progress.update(records),
    });
    return { ...result, seconds: (performance.now() - startMs) / 1000 };
  } catch (error) {
    if (!(error instanceof ReckonError)) throw error;
    throw new ReckonError(
      error.code,
      `${error.message} ${progress.records} rows were sent before.`,
      error.hint,
      { cause: error },
    );
  } finally {
    progress.end();
    db.close();
    rmSync(tempDirectory, { recursive: true, force: true });
  }
}

async function sendBatch(producer: Producer, topic: string, messages: ProducedMessage[]): Promise<void> {
  try {
    await producer.send({ topic, acks: -1, messages });
  } catch (cause) {
    const { type, message } = cause as Error & { type?: string };
    throw type === 'MESSAGE_TOO_LARGE'
      ? new ReckonError(
          'invalid-input',
          `The topic ${topic} refuses a row as too large.`,
          'Shorten it, or raise the topic’s max.message.bytes.',
          { cause },
        )
      : new ReckonError(
          'unreachable',
          `Kafka does not take the rows: ${message}.`,
          'Run the same command again: the ids stay the same, so nothing counts twice.',
          { cause },
        );
  }
}

function report(
  { records, interrupted, seconds }: Result,
  file: SourceFile,
  pipeline: Pipeline,
  json: boolean,
) {
  const recordsPerSecond = Math.round(records / Math.max(seconds, 0.001));
  if (json)
    printJson({
      file: file.path,
      records,
      seconds: Math.round(seconds * 1000) / 1000,
      recordsPerSecond,
      ...(interrupted ? { interrupted } : {}),
    });
  else
    process.stdout.write(
      `${interrupted ? 'Interrupted: ' : ''}${records.toLocaleString('en')} rows of ${file.name} ` +
        `sent to the topic ${pipeline.topic} in ${seconds.toFixed(1)} s ` +
        `(${recordsPerSecond.toLocaleString('en')} records/s)\n`,
    );
}

/** @returns null for `max`, the default. */
function readSpeed(text: Options[string]): number | null {
  if (text === undefined || text === 'max') return null;
  const speed = Number(text);
  if (typeof text === 'string' && text.trim() !== '' && Number.isFinite(speed) && speed > 0) return speed;
  throw new ReckonError(
    'invalid-input',
    `--speed is ${text}.`,
    'It must be max, or how many times faster than real time: a number above 0, such as 60.',
  );
}

function readLimit(text: Options[string]): number | null {
  if (text === undefined) return null;
  if (typeof text === 'string' && /^\d{1,15}$/.test(text)) return Number(text);
  throw new ReckonError('invalid-input', `--limit is ${text}.`, 'It must be a whole number of rows.');
}

function choosePipeline(pipelines: readonly Pipeline[], values: Options): Pipeline {
  const name = values['pipeline'];
  const pipeline = name === undefined ? pipelines[0] : pipelines.find((candidate) => candidate.name === name);
  if (pipeline !== undefined) return pipeline;
  throw new ReckonError(
    'invalid-input',
    `There is no pipeline ${String(name)}.`,
    `--pipeline must be one of ${pipelines.map((candidate) => candidate.name).join(', ')}.`,
  );
}

async function sleepUntilAborted(ms: number, signal: AbortSignal): Promise<void> {
  // A timer takes at most 2^31 − 1 ms; the pace asks again after an early end.
  await sleep(Math.min(ms, 2 ** 31 - 1), undefined, { signal }).catch(() => undefined);
}

await runMain(main);
