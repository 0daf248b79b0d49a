/**
 * The ids that Kafka gives topics (KIP-516), which kafkajs does not ask for: version 10 of the metadata request, put beside those
 * that it knows. Guarantee: the same metadata as version 6 gives, and the id with each partition; a broker that has no ids is
 * asked by kafkajs' own versions. Layout: https://kafka.apache.org/protocol (Metadata, ApiKey 3).
 */
import { ReckonError } from '../domain/errors.ts';
import type { Admin } from './kafka.ts';

const apiKey = 3;
const version = 10;
const idBytes = 16;

/** What is used of kafkajs' `Encoder`. */
interface Encoder {
  writeBoolean(value: boolean): this;
  writeUVarInt(value: number): this;
  writeUVarIntString(value: string): this;
  writeBufferInternal(value: Buffer): void;
}

/** What is used of kafkajs' `Decoder`. */
interface Decoder {
  offset: number;
  readInt16(): number;
  readInt32(): number;
  readBoolean(): boolean;
  readBytes(length: number): Buffer;
  readUVarInt(): number;
  readUVarIntString(): string | null;
  readUVarIntArray<T>(read: () => T): T[] | null;
}

/** A topic's partition in kafkajs' form, and one field more. */
interface PartitionMetadata {
  readonly partitionErrorCode: number;
  readonly partitionId: number;
  readonly leader: number;
  readonly replicas: readonly number[];
  readonly isr: readonly number[];
  readonly offlineReplicas: readonly number[];
  /** As Kafka's own tools print it; null where the broker gives none. */
  readonly topicId: string | null;
}

interface MetadataResponse {
  readonly throttleTime: number;
  readonly clientSideThrottleTime: number;
  readonly brokers: readonly object[];
  readonly clusterId: string | null;
  readonly controllerId: number;
  readonly topicMetadata: readonly {
    readonly topicErrorCode: number;
    readonly topic: string | null;
    readonly isInternal: boolean;
    readonly partitionMetadata: readonly PartitionMetadata[];
  }[];
}

interface Protocol {
  readonly request: object;
  readonly response: {
    readonly decode: (raw: Buffer) => Promise<MetadataResponse>;
    readonly parse: (data: MetadataResponse) => Promise<MetadataResponse>;
  };
}

/** kafkajs' table of the versions of a request. */
export interface RequestVersions {
  versions: string[];
  protocol: (wanted: { version: number }) => (options: { topics: readonly string[] }) => Protocol;
}

export interface Coders {
  readonly Encoder: new () => Encoder;
  readonly Decoder: new (raw: Buffer) => Decoder;
}

/**
 * @returns the id that Kafka has given the topic; null where the broker gives none (Kafka before 2.8)
 * @throws ReckonError `unreachable` when no broker tells
 */
export async function readTopicId(admin: Admin, topic: string): Promise<string | null> {
  try {
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
    const [first] = topics[0]?.partitions ?? [];
    return (first as { topicId?: string | null } | undefined)?.topicId ?? null;
  } catch (cause) {
    // Where every broker fails, kafkajs goes on with null for an answer.
    if (!(cause instanceof TypeError)) throw cause;
    throw new ReckonError('unreachable', `No Kafka broker tells of topic ${topic}.`, 'See the brokers.', {
      cause,
    });
  }
}

/**
 * @param expected of the topic that was read so far; null where it had none
 * @param reader whose they are, in messages: `the counts in Redis`
 * @throws ReckonError `log-truncated` when the name belongs to another topic by now
 */
export function requireTopicId(
  topic: string,
  expected: string | null,
  found: string | null,
  reader: string,
): void {
  if (expected !== null && found !== null && expected !== found)
    throw new ReckonError(
      'log-truncated',
      `Topic ${topic} was recreated: ${reader} are of the topic with id ${expected}, and Kafka has ${found} under its name.`,
      'Give the pipeline a new name to count anew.',
    );
}

/** Teaches kafkajs the version; every client of the process uses it from then on, where the broker knows it. */
export function addTopicIds(metadata: RequestVersions, coders: Coders): void {
  const { protocol } = metadata;
  const { parse } = protocol({ version: 6 })({ topics: [] }).response;
  metadata.versions = [...metadata.versions, String(version)];
  metadata.protocol = (wanted) =>
    wanted.version < version
      ? protocol(wanted)
      : ({ topics }) => ({
          request: {
            apiKey,
            apiVersion: version,
            apiName: 'Metadata',
            encode: async () => encodeRequest(topics, new coders.Encoder()),
          },
          response: { decode: async (raw) => decodeResponse(new coders.Decoder(raw)), parse },
        });
}

/** The topics by name; empty for all of them, as with kafkajs' versions above 0 a null list. */
function encodeRequest(topics: readonly string[], encoder: Encoder): Encoder {
  // Tagged fields of the header, which kafkajs writes without.
  encoder.writeUVarInt(0);
  encoder.writeUVarInt(topics.length === 0 ? 0 : topics.length + 1);
  for (const topic of topics) {
    encoder.writeBufferInternal(Buffer.alloc(idBytes));
    encoder.writeUVarIntString(topic).writeUVarInt(0);
  }
  // Reckon creates its topics itself, in so many partitions as they need: none comes into being by being asked for.
  const isCreationAllowed = false;
  return encoder.writeBoolean(isCreationAllowed).writeBoolean(false).writeBoolean(false).writeUVarInt(0);
}

function decodeResponse(decoder: Decoder): MetadataResponse {
  skipTaggedFields(decoder);
  const clientSideThrottleTime = decoder.readInt32();
  const brokers = array(decoder, () => {
    const nodeId = decoder.readInt32();
    const host = decoder.readUVarIntString();
    const port = decoder.readInt32();
    const rack = decoder.readUVarIntString();
    skipTaggedFields(decoder);
    return { nodeId, host, port, rack };
  });
  const clusterId = decoder.readUVarIntString();
  const controllerId = decoder.readInt32();
  const topicMetadata = array(decoder, () => {
    const topicErrorCode = decoder.readInt16();
    const topic = decoder.readUVarIntString();
    const id = decoder.readBytes(idBytes);
    const topicId = id.every((byte) => byte === 0) ? null : id.toString('base64url');
    const isInternal = decoder.readBoolean();
    const partitionMetadata = array(decoder, () => decodePartition(decoder, topicId));
    // Which operations the client is authorised for, which was not asked for.
    decoder.readInt32();
    skipTaggedFields(decoder);
    return { topicErrorCode, topic, isInternal, partitionMetadata };
  });
  return { throttleTime: 0, clientSideThrottleTime, brokers, clusterId, controllerId, topicMetadata };
}

function decodePartition(decoder: Decoder, topicId: string | null): PartitionMetadata {
  const ids = () => array(decoder, () => decoder.readInt32());
  const partitionErrorCode = decoder.readInt16();
  const partitionId = decoder.readInt32();
  const leader = decoder.readInt32();
  // The leader's epoch.
  decoder.readInt32();
  const [replicas, isr, offlineReplicas] = [ids(), ids(), ids()];
  skipTaggedFields(decoder);
  return { partitionErrorCode, partitionId, leader, replicas, isr, offlineReplicas, topicId };
}

function array<T>(decoder: Decoder, read: () => T): T[] {
  return decoder.readUVarIntArray(read) ?? [];
}

function skipTaggedFields(decoder: Decoder): void {
  for (let left = decoder.readUVarInt(); left > 0; left--) {
    decoder.readUVarInt();
    decoder.offset += decoder.readUVarInt();
  }
}
