/** From a fetched batch to the records of the log. Guarantee: offsets, times and bytes as they are in the log. */
import type { KafkaMessage } from '../clients/kafka.ts';
import type { LogRecord } from '../domain/event.ts';

/** The hot path of every record: numbers are parsed only where they differ from what the record before says. */
export function toRecords(partition: number, messages: readonly KafkaMessage[]): LogRecord[] {
  const first = Number(messages[0]?.offset);
  // Offsets rise strictly: as many as their span has room for follow one another.
  const isDense = Number(messages.at(-1)?.offset) - first === messages.length - 1;
  let timestamp = '';
  let timestampMs = 0;
  const records = new Array<LogRecord>(messages.length);
  for (let i = 0; i < messages.length; i++) {
    const message = messages[i] as KafkaMessage;
    if (message.timestamp !== timestamp) {
      timestamp = message.timestamp;
      timestampMs = Number(timestamp);
    }
    const { key, value, headers = noHeaders } = message;
    const offset = isDense ? first + i : Number(message.offset);
    records[i] = { partition, offset, timestampMs, key, value, headers };
  }
  return records;
}

const noHeaders: Readonly<Record<string, unknown>> = {};
