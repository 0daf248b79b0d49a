/**
 * A steady flow of events while a benchmark reads, in a process of its own, so that it does not hold the readers up. Guarantee: event
 * time goes on as fast as the clock; what was sent is acknowledged before `stop` resolves.
 */
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ReckonError } from '../domain/errors.ts';
import { connectProducer } from '../clients/kafka.ts';
import { generateEvents } from './events.ts';
import { partitions } from './pipeline.ts';

export interface Load {
  readonly kafkaBrokers: string;
  readonly topic: string;
  readonly seed: number;
  /** Event time of the first event, epoch milliseconds. */
  readonly firstMs: number;
  readonly eventsPerSecond: number;
}

/** Pause between two sends. */
const sendMs = 20;
/** kafkajs groups a request's records by partition in quadratic time. */
const eventsPerSend = 4_000;

const file = fileURLToPath(import.meta.url);

export class LiveLoad {
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown[]>;

  constructor(load: Load) {
    // As itself: the process that runs a benchmark has been taught TypeScript after its start.
    this.#child = fork(file, [JSON.stringify(load)], { execArgv: ['--import', import.meta.resolve('tsx')] });
    this.#ended = once(this.#child, 'exit');
  }

  async stop(): Promise<void> {
    if (this.#child.connected) this.#child.disconnect();
    const [code] = await this.#ended;
    if (code !== 0) throw new ReckonError('internal', `The load ended with exit code ${String(code)}.`);
  }
}

async function flow({ kafkaBrokers, topic, seed, firstMs, eventsPerSecond }: Load): Promise<void> {
  let stopped = false;
  process.once('disconnect', () => (stopped = true));
  const producer = await connectProducer(kafkaBrokers, 'reckon-bench-load');
  const perEventMs = 1_000 / eventsPerSecond;
  const events = generateEvents(Infinity, seed, (i) => firstMs + i * perEventMs);
  const beganMs = performance.now();
  let sent = 0;
  while (!stopped) {
    const due = Math.min(sent + eventsPerSend, Math.floor((performance.now() - beganMs) / perEventMs));
    const messages = Array.from({ length: partitions }, (): { key: string; value: string }[] => []);
    for (; sent < due; sent++) {
      const { value } = events.next();
      if (value)
        messages[Number(value.key.slice(1)) % partitions]?.push({ key: value.key, value: value.json });
    }
    await Promise.all(
      messages.map(async (ofPartition, partition) => {
        const toPartition = ofPartition.map((one) => ({ ...one, partition }));
        if (toPartition.length > 0) await producer.send({ topic, acks: -1, messages: toPartition });
      }),
    );
    await sleep(sendMs);
  }
  await producer.disconnect();
}

if (process.argv[1] === file) await flow(JSON.parse(process.argv[2] ?? '') as Load);
