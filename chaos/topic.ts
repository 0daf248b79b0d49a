/**
 * Kafka as chaos uses it: creating, cutting and deleting the round's topic, and reading topics back with a plain consumer.
 * Guarantee: no code of the stream's; every call bears a broker that restarts.
 */
import { randomUUID } from 'node:crypto';
import { createKafka, readOffsets } from '../clients/kafka.ts';
import type { Admin, KafkaMessage, OffsetRange } from '../clients/kafka.ts';
import { atMost, until } from './wait.ts';

export interface ReadRecord {
  readonly partition: number;
  readonly offset: number;
  readonly timestampMs: number;
  readonly value: Buffer | null;
  readonly headers: Readonly<Record<string, string>>;
}

const patienceMs = 60_000;

/** Does one thing as an administrator, again while the broker is away. */
export function administer<T>(brokers: string, what: string, work: (admin: Admin) => Promise<T>): Promise<T> {
  return until(
    what,
    async () => {
      const admin = createKafka(brokers, 'chaos', 1).admin({ retry: { retries: 1 } });
      await admin.connect();
      try {
        return { done: await work(admin) };
      } finally {
        await atMost(admin.disconnect());
      }
    },
    patienceMs,
    200,
  ).then(({ done }) => done);
}

/** @param stampedBy who says what time it is */
export async function createTopic(
  brokers: string,
  topic: string,
  partitions: number,
  stampedBy: 'broker' | 'producer',
): Promise<void> {
  await administer(brokers, `creating ${topic}`, async (admin) => {
    if ((await admin.listTopics()).includes(topic)) return;
    await admin.createTopics({
      waitForLeaders: false,
      topics: [
        {
          topic,
          numPartitions: partitions,
          configEntries: [
            {
              name: 'message.timestamp.type',
              value: stampedBy === 'broker' ? 'LogAppendTime' : 'CreateTime',
            },
            // What producers stamp may be years old.
            { name: 'retention.ms', value: '-1' },
          ],
        },
      ],
    });
  });
  await until(
    `${topic} has leaders`,
    async () => (await offsetsOf(brokers, topic)).length === partitions,
    patienceMs,
  );
}

export async function deleteTopic(brokers: string, topic: string): Promise<void> {
  await administer(brokers, `deleting ${topic}`, async (admin) => {
    if ((await admin.listTopics()).includes(topic)) await admin.deleteTopics({ topics: [topic] });
  });
  await administer(brokers, `${topic} is gone`, async (admin) => {
    if ((await admin.listTopics()).includes(topic)) throw new Error(`${topic} is still there`);
  });
}

/** Deletes the records below the offsets. */
export async function cutTopic(
  brokers: string,
  topic: string,
  before: ReadonlyMap<number, number>,
): Promise<void> {
  const partitions = [...before].map(([partition, offset]) => ({ partition, offset: String(offset) }));
  await administer(brokers, `cutting ${topic}`, async (admin) => {
    // kafkajs looks for the leaders in what it has learnt before.
    await admin.fetchTopicOffsets(topic);
    await admin.deleteTopicRecords({ topic, partitions });
  });
}

export function offsetsOf(brokers: string, topic: string): Promise<OffsetRange[]> {
  return administer(brokers, `offsets of ${topic}`, (admin) => readOffsets(admin, topic));
}

/** Everything that the topic holds at the moment of the call. */
export async function readTopic(brokers: string, topic: string): Promise<ReadRecord[]> {
  const ranges = (await offsetsOf(brokers, topic)).filter(({ start, end }) => end > start);
  if (ranges.length === 0) return [];
  return until(`reading ${topic}`, () => readRanges(brokers, topic, ranges), 2 * patienceMs, 200);
}

async function readRanges(
  brokers: string,
  topic: string,
  ranges: readonly OffsetRange[],
): Promise<ReadRecord[]> {
  const ends = new Map(ranges.map(({ partition, end }) => [partition, end]));
  const missing = new Set(ends.keys());
  const records: ReadRecord[] = [];
  const consumer = createKafka(brokers, 'chaos').consumer({
    groupId: `chaos-reads-${randomUUID()}`,
    maxWaitTimeInMs: 50,
    maxBytesPerPartition: 8 << 20,
    retry: { retries: 20, maxRetryTime: 1_000 },
  });
  try {
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachBatch: async ({ batch }) => {
        for (const message of batch.messages) records.push(toRecord(batch.partition, message));
        if (Number(batch.lastOffset()) >= (ends.get(batch.partition) ?? 0) - 1)
          missing.delete(batch.partition);
      },
    });
    await until(`${topic} is read to its end`, () => missing.size === 0, patienceMs / 2);
  } finally {
    await atMost(consumer.disconnect());
  }
  return records.filter(({ partition, offset }) => offset < (ends.get(partition) ?? 0));
}

function toRecord(partition: number, { offset, timestamp, value, headers = {} }: KafkaMessage): ReadRecord {
  return {
    partition,
    offset: Number(offset),
    timestampMs: Number(timestamp),
    value,
    headers: Object.fromEntries(Object.entries(headers).map(([name, text]) => [name, String(text)])),
  };
}
