/**
 * Dead letters and late records on their way to their topics. Guarantee: sent before the commit that counts them, so none
 * is lost; after a crash in between one may be there twice, recognisable by its topic, partition and offset headers.
 */
import { isMessageTooLarge } from '../clients/kafka.ts';
import type { Producer, ProducedMessage } from '../clients/kafka.ts';
import type { LogRecord } from '../domain/event.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import type { SideOutput } from './fold.ts';

/** Bytes in one produce request; the topics take messages of up to 8 MiB. */
const requestMaxBytes = 1 << 20;

/**
 * Sends the side outputs of all partitions of one process, one request at a time: kafkajs numbers an idempotent
 * producer's requests when it sends them, so of two at once a retried one could be taken for a duplicate.
 */
export class SideOutputSender {
  readonly #producer: Producer;
  readonly #pipeline: Pipeline;
  #last: Promise<void> = Promise.resolve();

  constructor(producer: Producer, pipeline: Pipeline) {
    this.#producer = producer;
    this.#pipeline = pipeline;
  }

  /** Resolves once the brokers have acknowledged all of them. */
  send(outputs: readonly SideOutput[]): Promise<void> {
    const sent = this.#last.then(() => this.#send(outputs));
    // The next batch goes out whether or not this one failed; its own caller hears of the failure.
    this.#last = sent.catch(() => undefined);
    return sent;
  }

  async #send(outputs: readonly SideOutput[]): Promise<void> {
    const { deadLetterTopic, lateTopic } = this.#pipeline;
    for (const [kind, topic] of [
      ['dead', deadLetterTopic],
      ['late', lateTopic],
    ] as const)
      for (const messages of this.#requests(outputs.filter((output) => output.kind === kind)))
        await this.#sendRequest(topic, messages);
  }

  /** What the topic does not take is sent without its value, which the lake keeps: one record never stops the others. */
  async #sendRequest(topic: string, messages: ProducedMessage[]): Promise<void> {
    try {
      await this.#producer.send({ topic, messages, acks: -1 });
    } catch (error) {
      if (!isMessageTooLarge(error)) throw error;
      const [first] = messages;
      if (messages.length > 1) for (const message of messages) await this.#sendRequest(topic, [message]);
      else if (first !== undefined && first.value !== null)
        await this.#sendRequest(topic, [withoutValue(first)]);
      else throw error;
    }
  }

  *#requests(outputs: readonly SideOutput[]): Generator<ProducedMessage[]> {
    let request: ProducedMessage[] = [];
    let requestBytes = 0;
    for (const output of outputs) {
      const message = toMessage(this.#pipeline, output);
      request.push((message.value?.length ?? 0) > valueMaxBytes ? withoutValue(message) : message);
      requestBytes += (output.record.value?.length ?? 0) + 512;
      if (requestBytes < requestMaxBytes) continue;
      yield request;
      request = [];
      requestBytes = 0;
    }
    if (request.length > 0) yield request;
  }
}

/** Longer values are sent without: the topics take 8 MiB with the headers. */
const valueMaxBytes = 7 << 20;

function withoutValue(message: ProducedMessage): ProducedMessage {
  const valueBytes = String(message.value?.length ?? 0);
  return {
    ...message,
    value: null,
    headers: { ...message.headers, 'reckon.value.omitted.bytes': valueBytes },
  };
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
