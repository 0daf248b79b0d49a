/**
 * Topics that Java's producer compresses, read by our consumer: every record of every codec, in large and small batches. What
 * the producer did is seen in the broker's own files.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectAdmin, createConsumer } from '../../clients/kafka.ts';
import { provision } from '../../scripts/stack/provision.ts';
import { layout } from '../../scripts/stack/settings.ts';
import { startStack, stopStack } from '../../scripts/stack/stack.ts';

const quiet = () => undefined;
const dir = mkdtempSync(join(tmpdir(), 'reckon-compression-'));
let brokers: string;
let libs: string;

beforeAll(async () => {
  const stack = await startStack({ dir, only: ['kafka'], ports: 'free', progress: quiet });
  brokers = stack.endpoints.kafkaBrokers;
  libs = join(await provision('kafka', process.env, quiet), 'libs');
});
afterAll(async () => {
  await stopStack(dir, quiet);
  rmSync(dir, { recursive: true, force: true });
});

/** What the broker's protocol calls the codecs: the lowest bits of a batch's attributes. */
const numbers = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 } as const;

/** Lines that compress a little; a long one that does not compress, one of one letter, and one in another script. */
const lines = [
  ...Array.from({ length: 4_000 }, (_, i) =>
    JSON.stringify({ id: `e${(i * 7919) % 100_003}`, at: 1_700_000_000_000 + i * 13, delay: (i * 31) % 500 }),
  ),
  Array.from({ length: 30_000 }, (_, i) => ((i * i * 2_654_435_761) % 36).toString(36)).join(''),
  'x'.repeat(200_000),
  'Ωμέγα '.repeat(100),
];

async function produce(topic: string, codec: string, properties: readonly string[]): Promise<void> {
  const java =
    process.env['JAVA_HOME'] === undefined ? 'java' : join(process.env['JAVA_HOME'], 'bin', 'java');
  const options = [`--bootstrap-server=${brokers}`, `--topic=${topic}`, `--compression-codec=${codec}`];
  const child = spawn(
    java,
    [
      '-cp',
      join(libs, '*'),
      'org.apache.kafka.tools.ConsoleProducer',
      ...options,
      ...properties.flatMap((property) => ['--producer-property', property]),
    ],
    { stdio: ['pipe', 'ignore', 'pipe'] },
  );
  let words = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (words += text));
  child.stdin.end(`${lines.join('\n')}\n`);
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Error(`the producer ended with ${code}:\n${words}`);
}

async function read(topic: string): Promise<string[]> {
  const values: string[] = [];
  const consumer = createConsumer(brokers, 'test', `read-${topic}`);
  await consumer.connect();
  try {
    await consumer.subscribe({ topic, fromBeginning: true });
    await new Promise<void>((resolve, reject) => {
      consumer.on(consumer.events.CRASH, ({ payload }) => {
        if (!payload.restart) reject(payload.error);
      });
      consumer
        .run({
          eachBatch: async ({ batch }) => {
            values.push(...batch.messages.map(({ value }) => String(value)));
            if (values.length >= lines.length) resolve();
          },
        })
        .catch(reject);
    });
  } finally {
    await consumer.disconnect();
  }
  return values;
}

/** The codec of every batch that the broker has stored. */
function storedCodecs(topic: string): number[] {
  const log = readFileSync(join(layout(dir).kafkaData, `${topic}-0`, '00000000000000000000.log'));
  const codecs: number[] = [];
  // First offset (8), length (4), epoch (4), magic (1), checksum (4), attributes (2).
  for (let at = 0; at < log.length; at += 12 + log.readInt32BE(at + 8))
    codecs.push(log.readInt16BE(at + 21) & 7);
  return codecs;
}

const large = ['batch.size=900000', 'linger.ms=500', 'max.request.size=1000000'];

it.each([
  ['none', large],
  ['gzip', large],
  ['snappy', large],
  ['snappy', []],
  ['lz4', large],
  ['lz4', []],
  ['zstd', large],
  ['zstd', []],
  ['zstd', [...large, 'compression.zstd.level=19']],
  ['lz4', [...large, 'compression.lz4.level=17']],
] as const)('%s by a producer with %j is read record by record', async (codec, properties) => {
  const topic = `${codec}-${properties.length}`;
  const admin = await connectAdmin(brokers, 'test');
  await admin.createTopics({ topics: [{ topic, numPartitions: 1 }], waitForLeaders: true });
  await admin.disconnect();
  await produce(topic, codec, properties);
  expect(await read(topic)).toEqual(lines);
  const stored = storedCodecs(topic);
  expect(stored.length).toBeGreaterThan(0);
  // Where compressing does not make a batch smaller, it is stored compressed all the same.
  expect(new Set(stored)).toEqual(new Set([numbers[codec]]));
});
