/** From a fetched batch to the records of the log. Guarantee: offsets, times and bytes as they are in the log. */
import type { Batch, KafkaMessage } from '../clients/kafka.ts';
import type { LogRecord } from '../domain/event.ts';

/** Records made of a fetch at a time: they are gone before the garbage collector would have to move them. */
const recordsPerPart = 2_000;

/**
 * Gives a fetch to `take` part by part, until it takes less than it is given or nothing is wanted any more.
 * @returns how many were taken
 */
export async function takeInParts(
  { partition, messages }: Batch,
  take: (records: readonly LogRecord[]) => Promise<number>,
  wanted: () => boolean,
): Promise<number> {
  let taken = 0;
  while (taken < messages.length && wanted()) {
    const records = toRecords(partition, messages.slice(taken, taken + recordsPerPart));
    const count = await take(records);
    taken += count;
    if (count < records.length) break;
  }
  return taken;
}

/** The hot path of every record: numbers are parsed only where they differ from what the record before says. */
function toRecords(partition: number, messages: readonly KafkaMessage[]): LogRecord[] {
  const first = Number(messages[0]?.offset);
  // Offsets rise strictly: as many as their span has room for follow one another.
  const isDense = Number(messages.at(-1)?.offset) - first === messages.length - 1;
  let timestamp = '';
  let timestampMs = 0;
  return messages.map((message, i) => {
    if (message.timestamp !== timestamp) {
      timestamp = message.timestamp;
      timestampMs = Number(timestamp);
    }
    const { key, value, headers = noHeaders } = message;
    const offset = isDense ? first + i : Number(message.offset);
    return { partition, offset, timestampMs, key, value, headers };
  });
}

const noHeaders: Readonly<Record<string, unknown>> = {};
