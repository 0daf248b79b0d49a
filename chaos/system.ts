/** Everything that a round's faults act on: servers, stream processes, the flow of events, and what can be seen of them. */
import { readStackState } from '../scripts/stack/stack.ts';
import type { Stack } from '../scripts/stack/stack.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import { metaKey } from '../stream/keys.ts';
import type { Definition } from './definition.ts';
import type { LogKeeper } from './log-keeper.ts';
import type { Random } from './random.ts';
import type { RedisUnderTest } from './redis-under-test.ts';
import type { RoundPlan } from './schedule.ts';
import type { Sender } from './sender.ts';
import type { Streams } from './streams.ts';
import { offsetsOf } from './topic.ts';
import { until } from './wait.ts';

/** @returns what proves that it happened @throws NotReached where it did not */
export type Fault = (system: System, random: Random) => Promise<string>;

export interface System {
  readonly plan: RoundPlan;
  readonly definition: Definition;
  readonly pipeline: Pipeline;
  readonly brokers: string;
  readonly kafka: Stack;
  readonly kafkaDir: string;
  readonly redis: RedisUnderTest;
  readonly streams: Streams;
  readonly sender: Sender;
  readonly keeper: LogKeeper;
}

/** By partition, the offset in Redis; null where there is no state. Asked past every proxy. */
export async function committed({ plan, pipeline, redis }: System): Promise<(number | null)[]> {
  const offsets: (number | null)[] = [];
  for (let partition = 0; partition < plan.partitions; partition++) {
    const offset = await redis.redis.hget(metaKey(pipeline.name, partition), 'offset');
    offsets.push(offset === null ? null : Number(offset));
  }
  return offsets;
}

export function sum(offsets: readonly (number | null)[]): number {
  return offsets.reduce<number>((total, offset) => total + (offset ?? 0), 0);
}

/** Waits until the committed offsets have grown by so many records. */
export async function progress(system: System, records: number, timeoutMs = 45_000): Promise<void> {
  const before = sum(await committed(system));
  await until(
    `${records} more records are committed`,
    async () => sum(await committed(system)) >= before + records,
    timeoutMs,
  );
}

/** Every partition has an owner that runs and has acquired it. */
export async function settled(system: System, timeoutMs = 45_000): Promise<void> {
  await until(
    'every partition has an owner',
    () => {
      const { wanted } = system.streams;
      const owned = wanted.flatMap((process) => process.owned);
      const all = system.plan.partitions;
      return wanted.every(({ isUp }) => isUp) && owned.length === all && new Set(owned).size === all;
    },
    timeoutMs,
  );
}

/** By partition, the end of the log. */
export async function logEnds({ brokers, pipeline }: System): Promise<number[]> {
  return (await offsetsOf(brokers, pipeline.topic)).map(({ end }) => end);
}

export function kafkaPid({ kafkaDir }: System): number {
  return readStackState(kafkaDir)?.servers.find(({ name }) => name === 'kafka')?.process?.pid ?? 0;
}
