/**
 * NDJSON: one row a line. Guarantee: every line that is not blank becomes a row exactly as it is, without its line break:
 * malformed JSON and bytes that are not UTF-8 too, so that the pipeline can dead-letter them and nothing is lost.
 */
import { isUtf8 } from 'node:buffer';
import { createReadStream } from 'node:fs';
import type { ReadStream } from 'node:fs';
import { pipeline } from 'node:stream';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { ReckonError } from '../domain/errors.ts';
import type { Source, SourceFile, SourceRow } from './source-file.ts';

const blockBytes = 256 << 10;
/** Longer than any message a topic takes; it bounds the memory for a file without line breaks. */
const lineBytesMax = 32 << 20;
const newline = 0x0a;

export function openLines(file: SourceFile): Source {
  const { raw, bytes } = openBytes(file);
  return { rows: lines(file, bytes), fraction: () => raw.bytesRead / file.sizeBytes };
}

/** The beginning of the (unpacked) file, up to 256 KiB. */
export async function readHead(file: SourceFile): Promise<string> {
  const { bytes } = openBytes(file);
  try {
    for await (const block of bytes) return (block as Buffer).toString('utf8');
    return '';
  } catch (cause) {
    throw unreadable(file, cause);
  }
}

function openBytes(file: SourceFile): { raw: ReadStream; bytes: Readable } {
  const raw = createReadStream(file.path, { highWaterMark: blockBytes });
  if (!file.gzip) return { raw, bytes: raw };
  const unpacked = createGunzip({ chunkSize: blockBytes });
  // A failure of either stream ends the other; whoever reads the second one sees it.
  pipeline(raw, unpacked, () => undefined);
  return { raw, bytes: unpacked };
}

async function* lines(file: SourceFile, bytes: Readable): AsyncGenerator<SourceRow[], void> {
  let rest: Buffer[] = [];
  let restBytes = 0;
  let first = true;
  try {
    for await (const chunk of bytes) {
      let block = chunk as Buffer;
      if (first && block[0] === 0xef && block[1] === 0xbb && block[2] === 0xbf) block = block.subarray(3);
      first = false;
      const end = block.lastIndexOf(newline);
      if (end >= 0) {
        const rows = split(Buffer.concat([...rest, block.subarray(0, end)]));
        rest = [];
        restBytes = 0;
        if (rows.length > 0) yield rows;
      }
      rest.push(block.subarray(end + 1));
      restBytes += block.length - end - 1;
      if (restBytes > lineBytesMax)
        throw new ReckonError(
          'invalid-input',
          `${file.name} has a line of more than ${lineBytesMax >> 20} MiB.`,
          'NDJSON has one object a line.',
        );
    }
  } catch (cause) {
    throw unreadable(file, cause);
  }
  const last = split(Buffer.concat(rest));
  if (last.length > 0) yield last;
}

/** Whole lines → rows. Where all is UTF-8 (the usual case) they are decoded at once. */
function split(block: Buffer): SourceRow[] {
  const rows: SourceRow[] = [];
  if (isUtf8(block)) {
    for (const line of block.toString('utf8').split('\n')) {
      const text = line.trim();
      if (text !== '') rows.push(text);
    }
    return rows;
  }
  for (let start = 0; start < block.length;) {
    const found = block.indexOf(newline, start);
    const end = found < 0 ? block.length : found;
    let line = block.subarray(start, end);
    if (line.at(-1) === 0x0d) line = line.subarray(0, -1);
    start = end + 1;
    if (!isUtf8(line)) rows.push(Buffer.from(line));
    else if (line.toString('utf8').trim() !== '') rows.push(line.toString('utf8').trim());
  }
  return rows;
}

function unreadable(file: SourceFile, cause: unknown): unknown {
  if (cause instanceof ReckonError) return cause;
  return new ReckonError(
    'invalid-input',
    `${file.name} cannot be read: ${(cause as Error).message}.`,
    file.gzip ? 'Is it really gzip, and complete?' : '',
    { cause },
  );
}
