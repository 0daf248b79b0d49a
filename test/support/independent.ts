/**
 * What the tests compare with: Redis, Kafka, the lake and source files, read by drivers and plain SQL alone. Nothing here
 * uses Reckon's own code, so that an error there cannot hide in the check.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import type { DuckDBValue } from '@duckdb/node-api';
import { Cluster, Redis } from 'ioredis';
import { Kafka, logLevel } from 'kafkajs';
import type { KafkaMessage } from 'kafkajs';

/** `aggregate · start of the window (epoch ms) · group · slot` → integer. */
export type Cells = Map<string, bigint>;

/** @param url one server, or nodes of a cluster, separated by commas */
export async function withRedis<T>(url: string, work: (redis: Redis | Cluster) => Promise<T>): Promise<T> {
  const redis = url.includes(',') ? new Cluster(url.split(',')) : new Redis(url);
  try {
    return await work(redis);
  } finally {
    redis.disconnect();
  }
}

async function keysOf(redis: Redis | Cluster, pattern: string): Promise<string[]> {
  const keys = new Set<string>();
  // Of a cluster, each node tells its own.
  if (redis instanceof Cluster) await redis.ping();
  for (const node of redis instanceof Cluster ? redis.nodes('master') : [redis]) {
    let cursor = '0';
    do {
      const [next, found] = await node.scan(cursor, 'MATCH', pattern, 'COUNT', 10_000);
      for (const key of found) keys.add(key);
      cursor = next;
    } while (cursor !== '0');
  }
  return [...keys];
}

/** All (tumbling) windows of a pipeline, merged over its partitions. */
export async function redisCells(url: string, pipeline: string): Promise<Cells> {
  return withRedis(url, async (redis) => {
    const cells: Cells = new Map();
    for (const key of await keysOf(redis, `reckon:{${pipeline}:*}:pane:*`)) {
      const [, aggregate, startMs] = /:pane:(.+)\|(-?\d+)\|-?\d+$/.exec(key) ?? [];
      for (const [field, text] of Object.entries(await redis.hgetall(key))) {
        if (field === 'revision' || field === 'owner') continue;
        const at = field.indexOf('|');
        const slot = field.slice(0, at);
        const name = `${aggregate} · ${startMs} · ${field.slice(at + 1)} · ${slot}`;
        cells.set(name, merge(slot, cells.get(name), BigInt(text)));
      }
    }
    return cells;
  });
}

function merge(slot: string, before: bigint | undefined, value: bigint): bigint {
  if (before === undefined) return value;
  if (slot.startsWith('min:')) return value < before ? value : before;
  if (slot.startsWith('max:')) return value > before ? value : before;
  return before + value;
}

/** A counter of the speed layer, summed over the partitions. */
export async function counter(redis: Redis | Cluster, pipeline: string, name: string): Promise<number> {
  let sum = 0;
  for (const key of await keysOf(redis, `reckon:{${pipeline}:*}:meta`))
    sum += Number((await redis.hget(key, name)) ?? '0');
  return sum;
}

/**
 * The cells that a plain GROUP BY gives.
 * @param sql returns `start_ms`, `grp` (JSON text) and one column for each slot, named as it
 */
export async function sqlCells(aggregate: string, sql: string): Promise<Cells> {
  const cells: Cells = new Map();
  for (const { start_ms: startMs, grp, ...slots } of await duck(sql))
    for (const [slot, value] of Object.entries(slots))
      if (value !== null)
        cells.set(`${aggregate} · ${String(startMs)} · ${String(grp)} · ${slot}`, toBigInt(value));
  return cells;
}

function toBigInt(value: DuckDBValue): bigint {
  if (typeof value === 'bigint') return value;
  if (typeof value === 'number' && Number.isInteger(value)) return BigInt(value);
  throw new Error(`${String(value)} is no integer`);
}

/** What differs, each as one line; at most twenty. */
export function differences(actual: Cells, expected: Cells): string[] {
  const names = new Set([...actual.keys(), ...expected.keys()]);
  const lines: string[] = [];
  for (const name of names) {
    const [is, wanted] = [actual.get(name), expected.get(name)];
    if (is !== wanted) lines.push(`${name}: ${is ?? 'absent'} instead of ${wanted ?? 'absent'}`);
  }
  return lines.slice(0, 20);
}

/** Runs a query in a DuckDB of its own. */
export async function duck(sql: string): Promise<Record<string, DuckDBValue>[]> {
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  try {
    await connection.run(`SET TimeZone = 'UTC'`);
    return (await connection.runAndReadAll(sql)).getRowObjects();
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

interface DeltaAdd {
  readonly path: string;
  readonly stats?: string;
}

/** The live files of a Delta table, by replaying its log as the protocol says. */
function liveFiles(table: string): DeltaAdd[] {
  const log = join(table, '_delta_log');
  const files = new Map<string, DeltaAdd>();
  for (const name of existsSync(log) ? readdirSync(log).sort() : []) {
    if (!/^\d{20}\.json$/.test(name)) continue;
    for (const line of readFileSync(join(log, name), 'utf8').split('\n').filter(Boolean)) {
      const { add, remove } = JSON.parse(line) as { add?: DeltaAdd; remove?: { path: string } };
      if (add !== undefined) files.set(add.path, add);
      if (remove !== undefined) files.delete(remove.path);
    }
  }
  return [...files.values()];
}

/** A FROM clause over the lake's live files. */
export function lakeFrom(table: string): string {
  const paths = liveFiles(table).map(({ path }) => `'${join(table, decodeURIComponent(path))}'`);
  return `read_parquet([${paths.join(', ')}])`;
}

/** How many rows the log says are in the lake. */
export function lakeRows(table: string): number {
  const rows = liveFiles(table).map(
    ({ stats }) => (JSON.parse(stats ?? '{}') as { numRecords?: number }).numRecords,
  );
  return rows.reduce<number>((sum, count) => sum + (count ?? 0), 0);
}

export interface Span {
  readonly partition: number;
  readonly first: number;
  readonly next: number;
}

export function kafka(brokers: string): Kafka {
  return new Kafka({ clientId: 'end-to-end-test', brokers: brokers.split(','), logLevel: logLevel.NOTHING });
}

export async function topicSpans(brokers: string, topic: string): Promise<Span[]> {
  const admin = kafka(brokers).admin();
  await admin.connect();
  try {
    const offsets = await admin.fetchTopicOffsets(topic);
    return offsets
      .map(({ partition, low, high }) => ({ partition, first: Number(low), next: Number(high) }))
      .sort((a, b) => a.partition - b.partition);
  } finally {
    await admin.disconnect();
  }
}

/** All records that a topic holds now, each with its partition. */
export async function readTopic(
  brokers: string,
  topic: string,
): Promise<(KafkaMessage & { partition: number })[]> {
  const spans = await topicSpans(brokers, topic);
  const expected = spans.reduce((sum, { first, next }) => sum + next - first, 0);
  const messages: (KafkaMessage & { partition: number })[] = [];
  if (expected === 0) return messages;
  const consumer = kafka(brokers).consumer({ groupId: `read-${topic}-${process.hrtime.bigint()}` });
  await consumer.connect();
  try {
    await consumer.subscribe({ topic, fromBeginning: true });
    await new Promise<void>((resolve, reject) => {
      consumer
        .run({
          eachBatch: async ({ batch }) => {
            messages.push(
              ...batch.messages.map((message) => Object.assign(message, { partition: batch.partition })),
            );
            if (messages.length >= expected) resolve();
          },
        })
        .catch(reject);
    });
  } finally {
    await consumer.disconnect();
  }
  return messages;
}
