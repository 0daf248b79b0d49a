/**
 * The benchmarks' topic: writing it, and reading it back. Guarantee: all events of a user are in one partition, in the order
 * of the generator; reading gives every record in offset order within its partition.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Kafka, logLevel } from 'kafkajs';
import { connectProducer, readOffsets } from '../clients/kafka.ts';
import type { Admin } from '../clients/kafka.ts';
import { generateEvents } from './events.ts';
import { partitions } from './pipeline.ts';
import type { Say } from './servers.ts';

/** kafkajs groups a request's records by partition in quadratic time. */
const recordsPerRequest = 2_000;

export interface Production {
  readonly kafkaBrokers: string;
  readonly topic: string;
  readonly records: number;
  readonly seed: number;
  readonly only: (partition: number) => boolean;
  /** As of `generateEvents`. */
  readonly timeMs?: (i: number) => number;
  readonly signal: AbortSignal;
  readonly say: Say;
}

/** Generates all events, and sends those of the partitions that are wanted. @returns how many were sent */
export async function produceEvents(production: Production): Promise<number> {
  const { topic, records, seed, only, timeMs, signal, say } = production;
  const producer = await connectProducer(production.kafkaBrokers, 'reckon-bench');
  const waiting = Array.from(
    { length: partitions },
    () => [] as { key: string; value: string; partition: number }[],
  );
  const progress = new Progress('producing', records, say);
  let sent = 0;
  const send = async (partition: number): Promise<void> => {
    const messages = waiting[partition] ?? [];
    if (messages.length === 0) return;
    waiting[partition] = [];
    await producer.send({ topic, acks: -1, messages });
    sent += messages.length;
  };
  try {
    let generated = 0;
    for (const { key, json } of generateEvents(records, seed, timeMs)) {
      progress.at(++generated);
      const partition = Number(key.slice(1)) % partitions;
      if (!only(partition)) continue;
      const messages = waiting[partition];
      if (messages === undefined || messages.push({ key, value: json, partition }) < recordsPerRequest)
        continue;
      await send(partition);
      signal.throwIfAborted();
    }
    for (let partition = 0; partition < partitions; partition++) await send(partition);
  } finally {
    await producer.disconnect();
  }
  return sent;
}

/** The next offset of each partition. */
export async function endsOf(admin: Admin, topic: string): Promise<Map<number, number>> {
  return new Map((await readOffsets(admin, topic)).map(({ partition, end }) => [partition, end]));
}

/** Calls `take` with the value of every record that the topic holds now. */
export async function readTopic(
  kafkaBrokers: string,
  topic: string,
  ends: ReadonlyMap<number, number>,
  take: (partition: number, value: Buffer) => void,
  signal: AbortSignal,
): Promise<void> {
  const kafka = new Kafka({
    clientId: 'reckon-bench',
    brokers: kafkaBrokers.split(','),
    logLevel: logLevel.NOTHING,
  });
  const consumer = kafka.consumer({ groupId: `${topic}-read-back`, maxBytesPerPartition: 2 << 20 });
  const next = new Map([...ends].map(([partition]) => [partition, 0]));
  const isDone = () => [...ends].every(([partition, end]) => (next.get(partition) ?? 0) >= end);
  let failure: unknown = null;
  await consumer.connect();
  try {
    consumer.on(consumer.events.CRASH, ({ payload }) => (failure = payload.error));
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachBatch: async ({ batch }) => {
        for (const { offset, value } of batch.messages) {
          // A fetch may be repeated.
          if (Number(offset) < (next.get(batch.partition) ?? 0)) continue;
          next.set(batch.partition, Number(offset) + 1);
          if (value !== null) take(batch.partition, value);
        }
      },
    });
    while (!isDone()) {
      if (failure !== null) throw failure as Error;
      await sleep(100, undefined, { signal });
    }
  } finally {
    await consumer.disconnect();
  }
}

/** A line every few seconds. */
class Progress {
  readonly #what: string;
  readonly #total: number;
  readonly #say: Say;
  #saidAtMs = performance.now();

  constructor(what: string, total: number, say: Say) {
    this.#what = what;
    this.#total = total;
    this.#say = say;
  }

  at(done: number): void {
    if (done % 10_000 !== 0 || performance.now() - this.#saidAtMs < 5_000) return;
    this.#saidAtMs = performance.now();
    this.#say(`${this.#what}: ${done.toLocaleString('en')} of ${this.#total.toLocaleString('en')} events`);
  }
}
