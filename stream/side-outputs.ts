/**
 * Dead letters and late records on their way to their topics. Guarantee: sent before the commit that counts them, so none
 * is lost; after a crash in between one may be there twice, recognisable by its topic, partition and offset headers.
 */
import type { Producer, ProducedMessage } from '../clients/kafka.ts';
import type { LogRecord } from '../domain/event.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import type { SideOutput } from './fold.ts';

/** Bytes in one produce request; the topics take messages of up to 8 MiB. */
const requestMaxBytes = 1 << 20;

export async function sendSideOutputs(
  producer: Producer,
  pipeline: Pipeline,
  outputs: readonly SideOutput[],
): Promise<void> {
  for (const kind of ['dead', 'late'] as const) {
    const topic = kind === 'dead' ? pipeline.deadLetterTopic : pipeline.lateTopic;
    let request: ProducedMessage[] = [];
    let requestBytes = 0;
    const send = async () => {
      if (request.length > 0) await producer.send({ topic, messages: request, acks: -1 });
      request = [];
      requestBytes = 0;
    };
    for (const output of outputs) {
      if (output.kind !== kind) continue;
      request.push(toMessage(pipeline, output));
      requestBytes += (output.record.value?.length ?? 0) + 512;
      if (requestBytes >= requestMaxBytes) await send();
    }
    await send();
  }
}

function toMessage(pipeline: Pipeline, output: SideOutput): ProducedMessage {
  const { record } = output;
  return {
    key: toBuffer(record.key),
    value: toBuffer(record.value),
    headers: {
      ...originHeaders(pipeline, record),
      ...(output.kind === 'dead'
        ? {
            '__streams.errors.exception': output.rejection.reason,
            '__streams.errors.message': output.rejection.detail,
            'reckon.reason': output.rejection.reason,
          }
        : {
            'reckon.late.aggregates': JSON.stringify(output.aggregates),
            'reckon.late.watermark': String(output.watermarkMs),
          }),
    },
  };
}

/** The origin in the names of KIP-1034, which other tools know, and what Reckon needs besides. */
function originHeaders(pipeline: Pipeline, record: LogRecord): Record<string, string> {
  return {
    '__streams.errors.topic': pipeline.topic,
    '__streams.errors.partition': String(record.partition),
    '__streams.errors.offset': String(record.offset),
    'reckon.pipeline': pipeline.name,
    'reckon.timestamp': String(record.timestampMs),
  };
}

function toBuffer(bytes: Uint8Array | null): Buffer | null {
  return bytes === null ? null : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
