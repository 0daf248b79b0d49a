/**
 * Decompression of the record batches that Kafka's producers compress with snappy, lz4 and zstd (gzip is kafkajs' own).
 * Guarantee: what any producer may send is read, in the framing of Java's client and in that of librdkafka; bytes that are
 * none of it are one clear error. Nothing is compressed here: our own producers send uncompressed.
 */
import { decompress as decompressZstd } from 'fzstd';
import { decompressFrame } from 'lz4-napi';
import { uncompress } from 'snappy';
import { ReckonError } from '../domain/errors.ts';

/** The compressed part of a record batch → its records. */
export type Decompress = (compressed: Buffer) => Promise<Buffer>;

export type CodecName = 'snappy' | 'lz4' | 'zstd';

/** A codec in the form of kafkajs. */
export interface Codec {
  readonly compress: () => Promise<never>;
  readonly decompress: Decompress;
}

export const codecs: Readonly<Record<CodecName, Codec>> = {
  // These two in a thread of libuv; zstd in this one (no package of good standing brings a binary of it along).
  snappy: codec('snappy', decompressSnappy),
  lz4: codec('lz4', (compressed) => decompressFrame(compressed)),
  zstd: codec('zstd', (compressed) => asBuffer(decompressZstd(compressed))),
};

function codec(name: CodecName, decompress: (compressed: Buffer) => Buffer | Promise<Buffer>): Codec {
  return {
    compress: async () => {
      throw new ReckonError(
        'invalid-config',
        `Reckon does not compress with ${name}.`,
        'Use gzip, or nothing.',
      );
    },
    decompress: async (compressed) => {
      try {
        return await decompress(compressed);
      } catch (cause) {
        throw new ReckonError(
          'unreachable',
          `Kafka: a record batch is not what ${name} makes: ${(cause as Error).message.replace(/\.$/, '')}.`,
          'See the broker and the producer.',
          { cause },
        );
      }
    },
  };
}

/** Java's stream of blocks (https://github.com/xerial/snappy-java, SnappyOutputStream) begins with this. */
const xerialMagic = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0]);
/** The magic, a version and the lowest version that can read it. */
const xerialHeaderBytes = 16;

/** Blocks of Java's stream, or one block without any frame, as librdkafka sends it. */
async function decompressSnappy(compressed: Buffer): Promise<Buffer> {
  if (!startsXerial(compressed, 0)) return decompressBlock(compressed);
  const blocks: Buffer[] = [];
  let at = 0;
  while (at < compressed.length) {
    if (startsXerial(compressed, at)) {
      at += xerialHeaderBytes;
      continue;
    }
    const end = at + 4 + (at + 4 <= compressed.length ? compressed.readInt32BE(at) : 0);
    if (end <= at + 4 || end > compressed.length) throw new Error('a block of the stream is cut off');
    blocks.push(compressed.subarray(at + 4, end));
    at = end;
  }
  return Buffer.concat(await Promise.all(blocks.map(decompressBlock)));
}

async function decompressBlock(block: Buffer): Promise<Buffer> {
  // Its types leave open that it may be text, which has to be asked for.
  return (await uncompress(block)) as Buffer;
}

function startsXerial(bytes: Buffer, at: number): boolean {
  return bytes.length >= at + xerialHeaderBytes && bytes.compare(xerialMagic, 0, 8, at, at + 8) === 0;
}

function asBuffer({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
