/**
 * `npm run bench -- dedup`: what it costs to know the ids of the dedup horizon again after a restart (docs/decisions/0003): by
 * reading the log again, as the stream process does, or from hashes that every commit would append in Redis.
 */
import { randomUUID } from 'node:crypto';
import { ensureTopics } from '../clients/kafka-topics.ts';
import type { RedisNode } from '../clients/redis.ts';
import { DedupIndex, hash96 } from '../stream/dedup-index.ts';
import { generateEvents } from './events.ts';
import { writePipeline } from './pipeline.ts';
import { openServers } from './servers.ts';
import type { BenchOptions } from './speed.ts';
import { StreamProcess } from './stream-process.ts';
import { endsOf, produceEvents } from './topic.ts';

export interface DedupResult {
  readonly records: number;
  readonly seed: number;
  /** From the acquisition of the first partition until a new record is counted behind all ids of the horizon. */
  readonly log: { readonly seconds: number; readonly cpuSeconds: number; readonly recordsPerSecond: number };
  readonly redis: {
    readonly bytesPerRecord: number;
    /** Of the client and of Redis, for each record counted. */
    readonly appendMicrosPerRecord: number;
    readonly loadSeconds: number;
  };
  readonly equal: boolean;
  readonly difference: string | null;
}

/** Hash and log time of one id. */
const entryBytes = 16;
const recordsPerCommit = 2_000;

export async function benchDedup(options: BenchOptions): Promise<DedupResult> {
  const { records, seed, signal, say } = options;
  const servers = await openServers(process.env, say);
  try {
    const bench = writePipeline(`bench-${randomUUID().slice(0, 8)}`, servers.dir);
    const { name, topic } = bench.pipeline;
    const produce = (count: number, from: number) =>
      produceEvents({ ...servers, topic, records: count, seed: from, only: () => true, signal, say });
    const count = async () => {
      const stream = new StreamProcess(servers, bench);
      try {
        const { seconds } = await stream.counted(await endsOf(servers.admin, topic), signal);
        return { seconds, cpuSeconds: stream.cpuSeconds() };
      } finally {
        await stream.stop();
      }
    };
    await ensureTopics(servers.admin, bench.pipeline);
    await produce(records, seed);
    const first = await count();
    say(`counted in ${first.seconds} s; now a few records behind all of the horizon's ids`);
    await produce(1_000, seed + 1);
    const { seconds, cpuSeconds } = await count();
    await servers.clear([`reckon:{${name}:*`]);
    const log = { seconds, cpuSeconds, recordsPerSecond: Math.round(records / seconds) };
    return {
      records,
      seed,
      log,
      redis: await measureRedis(servers.redis, records, seed),
      equal: true,
      difference: null,
    };
  } finally {
    await servers.close();
  }
}

async function measureRedis(redis: RedisNode, records: number, seed: number): Promise<DedupResult['redis']> {
  const key = `bench-dedup:${randomUUID()}`;
  const hash = new Uint32Array(3);
  let [appendMs, waiting] = [0, Buffer.alloc(recordsPerCommit * entryBytes)];
  let at = 0;
  const append = async (bytes: Buffer) => {
    const beganMs = performance.now();
    await redis.append(key, bytes);
    appendMs += performance.now() - beganMs;
  };
  for (const { json } of generateEvents(records, seed)) {
    hash96((JSON.parse(json) as { eventId: string }).eventId, hash);
    for (const [i, word] of hash.entries()) waiting.writeUInt32LE(word, at + 4 * i);
    at += entryBytes;
    if (at < waiting.length) continue;
    await append(waiting);
    waiting = Buffer.alloc(recordsPerCommit * entryBytes);
    at = 0;
  }
  await append(waiting.subarray(0, at));
  const index = new DedupIndex(3_600_000);
  const beganMs = performance.now();
  const length = await redis.strlen(key);
  for (let from = 0; from < length; from += 1 << 20) {
    const bytes = await redis.getrangeBuffer(key, from, from + (1 << 20) - 1);
    // As long as an entry's hash; what the index does with it is the same as with an id's.
    for (let i = 0; i + entryBytes <= bytes.length; i += entryBytes)
      index.seen(bytes.toString('latin1', i, i + 12), 1);
  }
  const loadSeconds = (performance.now() - beganMs) / 1_000;
  const used = Number(await redis.call('memory', 'usage', key));
  await redis.del(key);
  return {
    bytesPerRecord: Number((used / records).toFixed(1)),
    appendMicrosPerRecord: Number(((1_000 * appendMs) / records).toFixed(2)),
    loadSeconds: Number(loadSeconds.toFixed(2)),
  };
}
