/** The codecs on bytes that other programs than Kafka's Java producer have made, and on bytes that nobody has made. */
import { codecs } from '../../clients/kafka-codecs.ts';
import type { CodecName } from '../../clients/kafka-codecs.ts';

const text = Array.from({ length: 40 }, (_, i) => `{"id":"e${i}","n":${i % 7}}`).join('\n');

/** Made by Google's snappy (one block without a frame, as librdkafka sends it), and by the programs of lz4 and zstd. */
const made: Readonly<Record<CodecName, Buffer>> = {
  snappy: Buffer.from(
    '7QVEeyJpZCI6ImUwIiwibiI6MH0KERIAMQkSADEZEgAyCRIAMhkSADMJEgAzGRIANAkSADQZEgA1CRIANRkSADYJEgA2GRIANwkSHX4AOAkSHX4AOQkSHX4AMQ21HX8AMQ22HYAAMQ23ADUZbwAxDbgdggAxDbkdgwAxDbodhAAxDbsuhQANvC6FAA29LoUADb4dhQAyDb4dhQAyDb4dhQAyDb4dhQAyDb4dhQAyDb4dhQAyDb4dhQAyDb4uhQANvgA2OR0AMg2+LoUADb4dhQAzDb4dhQgzMSJFRB2FADMNvh2FADMNvh2FADMNvh2FADMNvh2FADMNvi6FAA2+LoUADb4uhQAgOSIsIm4iOjR9',
    'base64',
  ),
  // Blocks that depend on one another, the size of the content, and its checksum.
  lz4: Buffer.from(
    'BCJNGGxA7QIAAAAAAAAvKAEAAPQDeyJpZCI6ImUwIiwibiI6MH0KEgASMRIAFjESABIyEgAWMhIAEjMSABYzEgASNBIAFjQSABI1EgAWNRIAEjYSABY2EgASNxIAB34AEjgSAAd+ABI5EgAHfgATMbUAB38AEzG2AAeAABMxtwAHgQATMbgAB4IAEzG5AAeDABMxugAHhAATMbsACIUAA7wACIUAA70ACIUAA74AB4UAEzK+AAeFABMyvgAHhQATMr4AB4UAEzK+AAeFABMyvgAHhQATMr4AB4UAEzK+AAiFAAO+AAiFAAO+AAiFAAO+AAeFABMzvgAHhQATM74AB4UAEzO+AAeFABMzvgAHhQATM74AB4UAEzO+AAeFABMzvgAIhQADvgAIhQADvgAIhQCQOSIsIm4iOjR9AAAAAAI8B/c=',
    'base64',
  ),
  zstd: Buffer.from(
    'KLUv/WTtAdUEAGKFDxOwJW3MCqEDg0ta2d07pQ+dCTgQiWev03+/nyeeuUy+7XqceHVLtVbpdRbnzKqIfrsVBjMkIINMIUMIgAgCNyCwo5IHhHjnMV6b29zObW5zM7dZvPMYr81tbuc2t7mZ2yz3LsIjN/Nlwb7ezgKBx222y+J9upltSy4DzeEys2XcZobsG2yLcZsNuW+wLcZtNmQfH0wR1g52HD8C',
    'base64',
  ),
};
const names = Object.keys(made) as CodecName[];

/** Java's stream: magic, version, lowest version, then blocks with their lengths. */
const header = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
function block(bytes: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

it.each(names)('%s is decompressed', async (name) => {
  expect(String(await codecs[name].decompress(made[name]))).toBe(text);
});

it.each([1, 2, 5])('a snappy stream of %i blocks is read whole', async (blocks) => {
  const stream = Buffer.concat([header, ...Array.from({ length: blocks }, () => block(made.snappy))]);
  expect(String(await codecs.snappy.decompress(stream))).toBe(text.repeat(blocks));
});

it('snappy streams that were joined are read one after the other', async () => {
  const stream = Buffer.concat([header, block(made.snappy)]);
  expect(String(await codecs.snappy.decompress(Buffer.concat([stream, stream])))).toBe(text.repeat(2));
});

it('what is decompressed does not depend on where its bytes lie in memory', async () => {
  for (const name of names) {
    const shifted = Buffer.concat([Buffer.alloc(13, 7), made[name], Buffer.alloc(5, 9)]).subarray(13, -5);
    expect(String(await codecs[name].decompress(shifted))).toBe(text);
  }
});

it.each([
  ...names.map((name) => [name, 'no frame at all', Buffer.from('ABC, no frame at all')] as const),
  ['lz4', 'half of a frame', made.lz4.subarray(0, 200)],
  ['zstd', 'half of a frame', made.zstd.subarray(0, 80)],
  ['snappy', 'half of a block', made.snappy.subarray(0, 100)],
  [
    'snappy',
    'a stream whose last block is cut off',
    Buffer.concat([header, block(made.snappy).subarray(0, 90)]),
  ],
  ['snappy', 'a stream that ends within a length', Buffer.concat([header, Buffer.from([0, 0])])],
] as const)('%s: %s is one clear line', async (name, _what, bytes) => {
  await expect(codecs[name].decompress(bytes)).rejects.toMatchObject({
    code: 'unreachable',
    message: expect.stringMatching(
      new RegExp(`^Kafka: a record batch is not what ${name} makes: .+\\.$`),
    ) as string,
  });
});

it.each(names)('%s is not for our own producers', async (name) => {
  await expect(codecs[name].compress()).rejects.toThrow(`Reckon does not compress with ${name}.`);
});
