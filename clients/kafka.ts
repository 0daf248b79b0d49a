/**
 * Kafka, by kafkajs: the only file that imports it. Guarantee: the wrappers add no behaviour of their own beyond clear
 * errors and bounded waits; offsets are numbers (exact to 2^53) inside the process and strings outside.
 */
import { isUtf8 } from 'node:buffer';
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import kafkajs, { Kafka, logLevel, Partitioners } from 'kafkajs';
import type { Admin, Batch, Consumer, EachBatchPayload, KafkaMessage, Producer } from 'kafkajs';
import { ReckonError } from '../domain/errors.ts';
import { createFetchDecoder } from './fetch-response.ts';
import type { DecodeFetchResponse } from './fetch-response.ts';
import { codecs } from './kafka-codecs.ts';
import { addTopicIds } from './topic-ids.ts';
import type { Coders, RequestVersions } from './topic-ids.ts';

export type { Admin, Batch, Consumer, EachBatchPayload, KafkaMessage, Producer };

/** An inner object of the pinned version of kafkajs, which it asks at every request. */
function inner<T>(path: string): T {
  return createRequire(import.meta.url)(`kafkajs/src/protocol/${path}`) as T;
}

// The decoder that is put in the place of its own comes to the same, sooner (docs/decisions/0010).
const fetchProtocol = inner<{ decode: DecodeFetchResponse }>('requests/fetch/v11/response');
fetchProtocol.decode = createFetchDecoder(fetchProtocol.decode);
// Metadata with the ids of topics, by which one that was recreated is known (docs/decisions/0006).
addTopicIds(inner<RequestVersions>('requests/metadata'), {
  Encoder: inner<Coders['Encoder']>('encoder'),
  Decoder: inner<Coders['Decoder']>('decoder'),
});

// Its objects cannot be imported by name from ESM; the table of the codecs is one for all of its clients.
const { CompressionCodecs, CompressionTypes } = kafkajs;
CompressionCodecs[CompressionTypes.Snappy] = () => codecs.snappy;
CompressionCodecs[CompressionTypes.LZ4] = () => codecs.lz4;
CompressionCodecs[CompressionTypes.ZSTD] = () => codecs.zstd;

/** The first and the next offset of a partition. */
export interface OffsetRange {
  readonly partition: number;
  readonly start: number;
  readonly end: number;
}

/** Whether the log goes on at the offset. */
export function isWithin({ start, end }: OffsetRange, nextOffset: number): boolean {
  return nextOffset >= start && nextOffset <= end;
}

export interface ProducedMessage {
  readonly key: string | Buffer | null;
  readonly value: Buffer | string | null;
  readonly headers?: Record<string, string | Buffer>;
}

/** @param brokers `host:port`, several separated by commas. */
export function createKafka(brokers: string, clientId: string, retries = 8): Kafka {
  return new Kafka({
    clientId,
    brokers: brokers.split(',').map((broker) => broker.trim()),
    connectionTimeout: 3_000,
    requestTimeout: 30_000,
    retry: { initialRetryTime: 200, retries, maxRetryTime: 5_000 },
    logLevel: logLevel.NOTHING,
  });
}

/** @throws ReckonError `unreachable` when no broker answers (within about 10 s). */
export async function connectAdmin(brokers: string, clientId: string): Promise<Admin> {
  const kafka = createKafka(brokers, clientId, 2);
  const admin = kafka.admin({ retry: { retries: 1 } });
  try {
    await admin.connect();
  } catch (cause) {
    throw new ReckonError(
      'unreachable',
      `Kafka does not answer at ${brokers}.`,
      'Start it (npm run stack -- up) or set KAFKA_BROKERS.',
      { cause },
    );
  }
  return admin;
}

/** An idempotent producer (acks=all), connected. Keys go to partitions by Java's murmur2, as with every other client. */
export async function connectProducer(brokers: string, clientId: string): Promise<Producer> {
  const producer = createKafka(brokers, clientId).producer({
    idempotent: true,
    maxInFlightRequests: 5,
    createPartitioner: Partitioners.DefaultPartitioner,
    retry: { retries: 10 },
  });
  try {
    await producer.connect();
  } catch (cause) {
    throw new ReckonError('unreachable', `Kafka does not answer at ${brokers}.`, 'Set KAFKA_BROKERS.', {
      cause,
    });
  }
  return producer;
}

/** How long a partition may take to have a leader, and the pause between two looks. */
export const leadersMs = 30_000;
export const leadersPollMs = 50;

/** @throws ReckonError `unreachable` when the topic does not exist. */
export async function readOffsets(admin: Admin, topic: string): Promise<OffsetRange[]> {
  const offsets = await fetchOffsets(admin, topic);
  return offsets
    .map(({ partition, low, high }) => ({ partition, start: Number(low), end: Number(high) }))
    .sort((a, b) => a.partition - b.partition);
}

/** A broker may be known as the leader a moment before it takes the part (a new topic, a failover): asked again then. */
async function fetchOffsets(admin: Admin, topic: string): ReturnType<Admin['fetchTopicOffsets']> {
  const deadlineMs = performance.now() + leadersMs;
  for (;;) {
    try {
      return await admin.fetchTopicOffsets(topic);
    } catch (error) {
      const { type } = error as { type?: string };
      const heals = type === 'NOT_LEADER_FOR_PARTITION' || type === 'LEADER_NOT_AVAILABLE';
      if (!heals || performance.now() > deadlineMs) throw error;
    }
    await sleep(leadersPollMs);
  }
}

/** How far a reader of one partition has come. */
export interface ReadPosition {
  readonly nextOffset: number;
  /** Running maximum of the timestamps of the records below `nextOffset`; −Infinity when there is none. */
  readonly logTimeMs: number;
}

/**
 * What `requireOffset` has to look at: where the topic is known by its id, timestamps have nothing to say (and control records, which
 * have one that nobody reads, cannot mislead).
 */
export function positionIn(topicId: string | null, { nextOffset, logTimeMs }: ReadPosition): ReadPosition {
  return { nextOffset, logTimeMs: topicId === null ? logTimeMs : Number.NEGATIVE_INFINITY };
}

/**
 * The range of one partition, which must still be the log that was read so far (kafkajs itself would silently jump to
 * another offset). A topic that was deleted and created again is known by a record below `nextOffset` that is younger than
 * everything that was read.
 * @param position null where nothing was read yet
 * @param reader how messages name the reader's state: `the counts in Redis reach`
 * @throws ReckonError `log-truncated` when records were deleted before they were read, or the topic was recreated
 */
export async function requireOffset(
  admin: Admin,
  topic: string,
  partition: number,
  position: ReadPosition | null,
  reader: string,
): Promise<OffsetRange> {
  // Read before the first await: the caller may come further meanwhile.
  const { nextOffset, logTimeMs } = position ?? { nextOffset: 0, logTimeMs: Number.NEGATIVE_INFINITY };
  const range = (await readOffsets(admin, topic)).find((offsets) => offsets.partition === partition);
  if (range === undefined)
    throw new ReckonError(
      'log-truncated',
      `Topic ${topic} has no partition ${partition} any more.`,
      'Restore it.',
    );
  if (position === null) return range;
  const hint = 'Restore it, or give the pipeline a new name to count anew.';
  if (!isWithin(range, nextOffset))
    throw new ReckonError(
      'log-truncated',
      `Partition ${partition} of topic ${topic} holds offsets ${range.start} to ${range.end}, and ${reader} ${nextOffset}: records were deleted before they were read, or the topic was recreated.`,
      hint,
    );
  if (Number.isFinite(logTimeMs)) {
    const younger = (await readOffsetsAtTime(admin, topic, logTimeMs + 1)).get(partition) ?? range.end;
    if (younger < nextOffset)
      throw new ReckonError(
        'log-truncated',
        `Topic ${topic} was recreated: ${reader} offset ${nextOffset} of partition ${partition}, and offset ${younger} is younger than all that was read.`,
        hint,
      );
  }
  return range;
}

/** @returns by partition, the first offset whose timestamp is at or after `timestampMs`; absent where there is none. */
export async function readOffsetsAtTime(
  admin: Admin,
  topic: string,
  timestampMs: number,
): Promise<Map<number, number>> {
  const offsets = await admin.fetchTopicOffsetsByTimestamp(topic, Math.max(0, timestampMs));
  return new Map(
    offsets
      .filter(({ offset }) => Number(offset) >= 0)
      .map(({ partition, offset }) => [partition, Number(offset)]),
  );
}

/** @returns by partition, what a group has committed; absent where it has not. */
export async function readGroupOffsets(
  admin: Admin,
  groupId: string,
  topic: string,
): Promise<Map<number, { offset: number; metadata: string }>> {
  const [found] = await admin.fetchOffsets({ groupId, topics: [topic] });
  return new Map(
    (found?.partitions ?? [])
      .filter(({ offset }) => Number(offset) >= 0)
      .map(({ partition, offset, metadata }) => [
        partition,
        { offset: Number(offset), metadata: metadata ?? '' },
      ]),
  );
}

/** A consumer whose group moves quickly and whose fetches do not sleep (DESIGN.md section 10). */
export function createConsumer(brokers: string, clientId: string, groupId: string): Consumer {
  return createKafka(brokers, clientId).consumer({
    groupId,
    allowAutoTopicCreation: false,
    sessionTimeout: 10_000,
    rebalanceTimeout: 15_000,
    heartbeatInterval: 1_000,
    maxWaitTimeInMs: 100,
    maxBytesPerPartition: 2 << 20,
    maxBytes: 16 << 20,
    retry: {
      initialRetryTime: 200,
      retries: 30,
      maxRetryTime: 2_000,
    },
  });
}

/** Bytes → text; null when they are not UTF-8. The `ReadText` of `domain/decode.ts`. */
export function readUtf8(value: Uint8Array): string | null {
  const text = Buffer.isBuffer(value) ? value.toString() : Buffer.from(value).toString();
  // U+FFFD stands for bytes that are no UTF-8, or was sent. Most texts are one byte a character and cannot hold it.
  return text.includes('\ufffd') && !isUtf8(value) ? null : text;
}

/** A driver's error as what a person should read; anything else as it is. */
export function kafkaFailure(error: unknown): unknown {
  // kafkajs' own error classes cannot be imported by name from ESM; their names can be read.
  if (!(error instanceof Error) || !error.name.startsWith('KafkaJS')) return error;
  const line = `Kafka: ${error.message.replace(/\.$/, '')}.`;
  return new ReckonError('unreachable', line, 'See the broker.', { cause: error });
}

/** Whether the brokers refused a request because a message in it is too large for its topic. */
export function isMessageTooLarge(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause)
    if ((at as { type?: string }).type === 'MESSAGE_TOO_LARGE') return true;
  return false;
}
