/** Hashes of the `distinct` sketch. Guarantee: MD5 as DuckDB's `md5_number_lower` has it, so that SQL comes to the same. */
import { hash } from 'node:crypto';
import { markOf } from '../domain/distinct.ts';

/** Values repeat; hashing one costs about a microsecond. */
const rememberedMax = 65_536;
const remembered = new Map<string, number>();

/** @returns `register × 64 + rank` of `domain/distinct.ts`. */
export function markOfText(text: string): number {
  const known = remembered.get(text);
  if (known !== undefined) return known;
  const digest = hash('md5', text, 'buffer');
  const mark = markOf(digest.readUInt32LE(8), digest.readUInt32LE(12));
  if (remembered.size >= rememberedMax) remembered.clear();
  // Copied: a part of a text keeps all of it in memory, and this may be a small part of a large event.
  remembered.set(Buffer.from(text).toString(), mark);
  return mark;
}

/** A sketch as one integer (63 bits), equal where all registers are: the MD5 of `register:state,register:state,...`. */
export function digestOf(sketch: Uint8Array): string {
  const texts: string[] = [];
  for (let register = 0; register < sketch.length; register++)
    if (sketch[register] !== 0) texts.push(`${register}:${sketch[register]}`);
  return String(hash('md5', texts.join(','), 'buffer').readBigUInt64LE(8) >> 1n);
}
