/**
 * What an engine has counted, read from Redis with plain commands. Guarantee: nothing of Reckon's own readers is used, so
 * that an error of theirs cannot hide in the comparison; sums are integers of cents.
 */
import type { RedisNode } from '../clients/redis.ts';
import { aggregate } from './pipeline.ts';
import { keysOf } from './servers.ts';

export interface Cell {
  count: number;
  cents: number;
}

/** By `<start of the window (epoch ms)> <product>`. */
export type Results = Map<string, Cell>;

export const cellName = (startMs: number | string, product: string): string => `${startMs} ${product}`;

const keysPerRead = 2_000;

/** Ours, merged over the partitions: hashes of cells `<slot>|["<product>"]`. */
export async function readOurs(redis: RedisNode, pipeline: string): Promise<Results> {
  const results: Results = new Map();
  const hashes = await readHashes(redis, `reckon:{${pipeline}:*}:*:${aggregate}|*`);
  for (const [key, fields] of hashes) {
    const [, startMs = ''] = key.split(`:${aggregate}|`)[1]?.match(/^(-?\d+)/) ?? [];
    for (const [field, text] of Object.entries(fields)) {
      const [, slot, group = ''] = /^(rows|sum:amount)\|(.*)$/.exec(field) ?? [];
      if (slot === undefined) continue;
      const cell = cellOf(results, cellName(startMs, (JSON.parse(group) as [string])[0]));
      if (slot === 'rows') cell.count += Number(text);
      else cell.cents += Number(text);
    }
  }
  return results;
}

/** A peer's: one hash for each window and product, `<prefix>:<start>:<product>`, with the sum as a double. */
export async function readPeer(redis: RedisNode, prefix: string): Promise<Results> {
  const results: Results = new Map();
  for (const [key, { count = '0', sum = '0' }] of await readHashes(redis, `${prefix}:*`)) {
    const [, startMs = '', product = ''] = key.split(':');
    results.set(cellName(startMs, product), { count: Number(count), cents: Math.round(Number(sum) * 100) });
  }
  return results;
}

/** How many events are in the windows. */
export function countOf(results: Results): number {
  let count = 0;
  for (const cell of results.values()) count += cell.count;
  return count;
}

/** What differs, in words, for the first cell in which something does; null when nothing does. */
export function firstDifference(ours: Results, theirs: Results, engine: string): string | null {
  for (const name of new Set([...ours.keys(), ...theirs.keys()])) {
    const [a, b] = [ours.get(name), theirs.get(name)];
    if (a?.count === b?.count && a?.cents === b?.cents) continue;
    const show = (cell: Cell | undefined) =>
      cell === undefined ? 'nothing' : `${cell.count} events, ${cell.cents} cents`;
    return `window and product ${name}: we have ${show(a)}, ${engine} has ${show(b)}.`;
  }
  return null;
}

export function cellOf(results: Results, name: string): Cell {
  let cell = results.get(name);
  if (cell === undefined) results.set(name, (cell = { count: 0, cents: 0 }));
  return cell;
}

async function readHashes(redis: RedisNode, pattern: string): Promise<[string, Record<string, string>][]> {
  const keys = await keysOf(redis, pattern);
  const hashes: [string, Record<string, string>][] = [];
  for (let first = 0; first < keys.length; first += keysPerRead) {
    const some = keys.slice(first, first + keysPerRead);
    const batch = redis.pipeline();
    for (const key of some) batch.hgetall(key);
    const replies = (await batch.exec()) ?? [];
    for (const [i, [error, fields]] of replies.entries()) {
      if (error !== null) throw error;
      hashes.push([some[i] ?? '', fields as Record<string, string>]);
    }
  }
  return hashes;
}
