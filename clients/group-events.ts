/** What a consumer of kafkajs tells of its group and of its fetches. Guarantee: nothing is asked of Kafka. */
import type { Consumer, EachBatchPayload } from './kafka.ts';

export interface Membership {
  /** Called with every new assignment of the topic. */
  readonly assigned: (partitions: readonly number[]) => void;
  /** After a crash that time may heal, kafkajs restarts the consumer itself. */
  readonly restarted: (error: Error) => void;
  /** After any other it would idle on. */
  readonly failed: (error: Error) => void;
}

export function onMembership(consumer: Consumer, topic: string, told: Membership): void {
  const { GROUP_JOIN, CRASH } = consumer.events;
  consumer.on(GROUP_JOIN, ({ payload }) => told.assigned(payload.memberAssignment[topic] ?? []));
  consumer.on(CRASH, ({ payload: { restart, error } }) =>
    restart ? told.restarted(error) : told.failed(error),
  );
}

/** Pauses partitions; while kafkajs restarts the consumer there is nothing to pause, and they are assigned anew. */
export function pauseQuietly(consumer: Consumer, topic: string, partitions: readonly number[]): void {
  try {
    if (partitions.length > 0) consumer.pause([{ topic, partitions: [...partitions] }]);
  } catch (error) {
    if (!(error instanceof Error) || !error.name.startsWith('KafkaJS')) throw error;
  }
}

/** The offset that was asked for when the batch was fetched; kafkajs' types leave it out. */
export function fetchedOffsetOf(batch: EachBatchPayload['batch']): number {
  return Number((batch as unknown as { fetchedOffset: string }).fetchedOffset);
}

/**
 * Hears of fetched batches that hold nothing for a consumer (control records of transactions, aborted or compacted records):
 * kafkajs steps over them by itself.
 * @param skipped called with the first and the next offset of each
 */
export function onSkippedBatch(
  consumer: Consumer,
  skipped: (partition: number, firstOffset: number, nextOffset: number) => void,
): void {
  consumer.on(consumer.events.END_BATCH_PROCESS, ({ payload }) => {
    const { partition, batchSize, firstOffset, lastOffset } = payload;
    if (batchSize === 0) skipped(partition, Number(firstOffset ?? lastOffset), Number(lastOffset) + 1);
  });
}
