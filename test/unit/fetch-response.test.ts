/**
 * Our decoder of fetch responses gives what kafkajs' own gives, object for object, or leaves the response to it; and it is the
 * one that kafkajs asks. The responses are written by kafkajs' encoders.
 */
import { createRequire } from 'node:module';
import * as fc from 'fast-check';
import { createFetchDecoder, decodeFetchResponse } from '../../clients/fetch-response.ts';
import type { DecodeFetchResponse, FetchResponse } from '../../clients/fetch-response.ts';
import { FetchedMessage } from '../../clients/fetched-message.ts';

const inner = createRequire(__filename);
const protocol = inner('kafkajs/src/protocol/requests/fetch/v11/response') as { decode: DecodeFetchResponse };
const decodeByKafkajs = protocol.decode;

interface Encoder {
  readonly buffer: Buffer;
  writeInt8(value: number): Encoder;
  writeInt16(value: number): Encoder;
  writeInt32(value: number): Encoder;
  writeInt64(value: bigint): Encoder;
  writeString(value: string): Encoder;
  writeBuffer(value: Buffer): Encoder;
}
const EncoderClass = inner('kafkajs/src/protocol/encoder') as new () => Encoder;
const { RecordBatch } = inner('kafkajs/src/protocol/recordBatch/v0') as {
  RecordBatch: (batch: Record<string, unknown>) => Promise<Encoder>;
};
const encodeRecord = inner('kafkajs/src/protocol/recordBatch/record/v0') as (record: object) => Encoder;

interface RecordInput {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: Readonly<Record<string, Buffer | Buffer[]>>;
  readonly timestampDelta: number;
}
interface BatchInput {
  readonly records: readonly RecordInput[];
  readonly firstOffset: bigint;
  readonly firstTimestamp: number;
  readonly logAppendTime: boolean;
  readonly compression: number;
  readonly transactional: boolean;
  readonly control: boolean;
  readonly producerId: bigint;
}

/** Where a batch's attributes are: after offset, length, leader epoch, magic byte and checksum. */
const attributesAt = 21;

async function encodeBatch({ records, logAppendTime, control, ...batch }: BatchInput): Promise<Buffer> {
  const encoded = records.map((record, offsetDelta) => encodeRecord({ ...record, offsetDelta }));
  const maxTimestamp = batch.firstTimestamp + 1_000;
  const settings = {
    ...batch,
    maxTimestamp,
    lastOffsetDelta: Math.max(0, records.length - 1),
    records: encoded,
  };
  const { buffer } = await RecordBatch(settings);
  const attributes = buffer.readInt16BE(attributesAt) | (logAppendTime ? 0x08 : 0) | (control ? 0x20 : 0);
  buffer.writeInt16BE(attributes, attributesAt);
  return buffer;
}

function encodeResponse(
  partitions: readonly { readonly set: Buffer; readonly aborted?: readonly bigint[] }[],
): Buffer {
  const response = new EncoderClass()
    .writeInt32(7)
    .writeInt16(0)
    .writeInt32(0)
    .writeInt32(1)
    .writeString('t');
  response.writeInt32(partitions.length);
  for (const [partition, { set, aborted = [] }] of partitions.entries()) {
    response.writeInt32(partition).writeInt16(0);
    for (const offset of [12_345_678_901n, 12_345_678_901n, 0n]) response.writeInt64(offset);
    response.writeInt32(aborted.length);
    for (const producerId of aborted) response.writeInt64(producerId).writeInt64(0n);
    response.writeInt32(-1).writeInt32(set.length).writeBuffer(set);
  }
  return response.buffer;
}

const bytes = (maxLength: number) => fc.uint8Array({ maxLength }).map((array) => Buffer.from(array));
const record = fc.record({
  key: fc.option(bytes(20)),
  value: fc.option(fc.oneof(bytes(100), bytes(300))),
  headers: fc.oneof(
    { weight: 4, arbitrary: fc.constant({}) },
    {
      weight: 1,
      arbitrary: fc.dictionary(fc.string({ maxLength: 4 }), fc.oneof(bytes(9), fc.array(bytes(3)))),
    },
    {
      weight: 1,
      arbitrary: fc.constantFrom(
        { constructor: Buffer.from('x') },
        { a: [Buffer.from('1'), Buffer.from('2')] },
      ),
    },
  ),
  timestampDelta: fc.oneof(
    fc.integer({ min: -70, max: 70 }),
    fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  ),
});
const rarely = fc.integer({ min: 0, max: 19 }).map((n) => n === 0);
const batch: fc.Arbitrary<BatchInput> = fc.record({
  records: fc.array(record, { maxLength: 70 }),
  firstOffset: fc.oneof(fc.bigInt({ min: 0n, max: 10n ** 12n }), fc.bigInt({ min: 0n, max: 2n ** 60n })),
  firstTimestamp: fc.integer({ min: 0, max: 2 ** 43 }),
  logAppendTime: fc.boolean(),
  compression: rarely.map(Number),
  transactional: rarely,
  control: rarely,
  producerId: fc.constantFrom(-1n, 0n, 5n, 123_456n),
});
const partition = fc.record({
  batches: fc.array(batch, { maxLength: 3 }),
  /** How much of the last batch is there. */
  kept: fc.oneof(
    { weight: 3, arbitrary: fc.constant(1) },
    { weight: 1, arbitrary: fc.double({ min: 0, max: 1, noNaN: true }) },
  ),
  aborted: fc.oneof(
    { weight: 9, arbitrary: fc.constant<bigint[]>([]) },
    { weight: 1, arbitrary: fc.constant<bigint[]>([5n]) },
  ),
});

async function encodePartition({
  batches,
  kept,
  aborted,
}: {
  batches: BatchInput[];
  kept: number;
  aborted: bigint[];
}) {
  const encoded = await Promise.all(batches.map(encodeBatch));
  const last = encoded.pop() ?? Buffer.alloc(0);
  return { set: Buffer.concat([...encoded, last.subarray(0, Math.ceil(last.length * kept))]), aborted };
}

/** As kafkajs has it: a message of ours as every property that is read of it, one of kafkajs as it is. */
function plainly(response: FetchResponse | null) {
  if (response === null) return null;
  const asObject = (message: FetchedMessage) =>
    message instanceof FetchedMessage
      ? Object.fromEntries(properties.map((name) => [name, message[name]]))
      : message;
  const responses = response.responses.map(({ partitions, ...topic }) => ({
    ...topic,
    partitions: partitions.map(({ messages, ...rest }) => ({ ...rest, messages: messages.map(asObject) })),
  }));
  return { ...response, responses };
}
const properties = [
  ...(['magicByte', 'attributes', 'timestamp', 'offset', 'key', 'value'] as const),
  ...(['headers', 'isControlRecord', 'batchContext'] as const),
];

/** What comes of it: where kafkajs throws, we have to, too. */
const outcome = (decode: DecodeFetchResponse, raw: Buffer): Promise<unknown> =>
  decode(raw).then(plainly, (error: unknown) => (error as Error).name);

it('gives what kafkajs gives, or leaves it to kafkajs', async () => {
  let taken = 0;
  let left = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(partition, { maxLength: 3 }), async (partitions) => {
      const raw = encodeResponse(await Promise.all(partitions.map(encodePartition)));
      expect(await outcome(createFetchDecoder(decodeByKafkajs), raw)).toEqual(
        await outcome(decodeByKafkajs, raw),
      );
      const ours = decodeFetchResponse(raw);
      if (ours === null) left++;
      else taken++;
      // What is taken is equal by the line above; here, that it can be changed by its reader as kafkajs' own.
      if (ours !== null) expect(Object.keys(ours.responses[0] ?? {})).toEqual(['topicName', 'partitions']);
    }),
    { numRuns: 300 },
  );
  expect([taken > 30, left > 10]).toEqual([true, true]);
});

const plain: RecordInput = { key: Buffer.from('k'), value: Buffer.from('v'), headers: {}, timestampDelta: 0 };
const common: BatchInput = {
  records: Array.from({ length: 500 }, () => plain),
  firstOffset: 4_000_000_000n,
  firstTimestamp: 1_767_225_600_000,
  logAppendTime: true,
  compression: 0,
  transactional: false,
  control: false,
  producerId: 9n,
};

it.each([
  ['a batch', common, true],
  ['timestamps of the producer', { ...common, logAppendTime: false }, true],
  [
    'headers',
    { ...common, records: [{ ...plain, headers: { a: Buffer.from('1'), b: Buffer.from('2') } }] },
    true,
  ],
  ['compression', { ...common, compression: 1 }, false],
  ['a transaction', { ...common, transactional: true }, false],
  ['a control record', { ...common, control: true }, false],
  ['offsets beyond 2^53', { ...common, firstOffset: 2n ** 53n }, false],
])('%s: taken or left', async (_, input, isTaken) => {
  const raw = encodeResponse([{ set: await encodeBatch(input) }]);
  const ours = decodeFetchResponse(raw);
  expect(ours !== null).toBe(isTaken);
  if (ours !== null) expect(plainly(ours)).toEqual(await decodeByKafkajs(raw));
});

it('a message knows where its key and its value are in the response', async () => {
  const records = [
    plain,
    { ...plain, key: null },
    { ...plain, value: null },
    { ...plain, value: Buffer.alloc(0) },
  ];
  const raw = encodeResponse([{ set: await encodeBatch({ ...common, records }) }]);
  const messages = decodeFetchResponse(raw)?.responses[0]?.partitions[0]?.messages ?? [];
  const ranges = messages.map(({ keyFrom, keyTo, valueFrom, valueTo }) => [
    keyTo < 0 ? null : String(raw.subarray(keyFrom, keyTo)),
    valueTo < 0 ? null : String(raw.subarray(valueFrom, valueTo)),
  ]);
  expect(ranges).toEqual([
    ['k', 'v'],
    [null, 'v'],
    ['k', null],
    ['k', ''],
  ]);
  expect(messages.map(({ key, value }) => [key && String(key), value && String(value)])).toEqual(ranges);
});

it('a response that is cut off is left to kafkajs', async () => {
  const raw = encodeResponse([{ set: await encodeBatch(common) }]);
  for (const length of [0, 3, 9, 20, 40, 60]) expect(decodeFetchResponse(raw.subarray(0, length))).toBeNull();
});

it('kafkajs asks the decoder put in the place of its own', async () => {
  await import('../../clients/kafka.ts');
  expect(protocol.decode).not.toBe(decodeByKafkajs);
  // What kafkajs' broker uses for a fetch: the newest version that it knows.
  const fetch = inner('kafkajs/src/protocol/requests/fetch') as {
    versions: number[];
    protocol: (options: { version: number }) => (request: object) => { response: { decode: unknown } };
  };
  const version = Math.max(...fetch.versions.map(Number));
  expect(fetch.protocol({ version })({ topics: [] }).response.decode).toBe(protocol.decode);
});
