/**
 * What the archiver copies from a fetch into its columns, as bytes, is what it would write of the values of events: the staged files of
 * both are the same, byte by byte, whatever lies before and behind an event in the fetch.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { Tails } from '../../batch/archive-tails.ts';
import { eventColumns, RowBuffer } from '../../batch/event-table.ts';
import type { DuckDb } from '../../clients/duckdb.ts';
import { FetchedMessage } from '../../clients/fetched-message.ts';
import { readUtf8 } from '../../clients/kafka.ts';
import { createDecoder, createScanDecoder } from '../../domain/decode.ts';
import type { Decoder, ScanDecoder } from '../../domain/decode.ts';
import type { Pipeline } from '../../domain/pipeline.ts';
import { document, nowMs, pipelines } from '../support/random-events.ts';
import { pipeline as odd } from '../support/odd-pipeline.ts';
import { anyLog } from '../support/random-log.ts';

let dir: string;
let files = 0;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'reckon-staged-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

interface Sent {
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly timestampMs: number;
}

/** What waits for DuckDB: the staged file, and the statistics. */
async function staged(rows: RowBuffer): Promise<{ bytes: Buffer; statistics: string }> {
  const file = join(dir, `rows-${++files}.parquet`);
  let bytes = Buffer.alloc(0);
  const database = { run: async () => void (bytes = readFileSync(`${file}.staged`)) };
  const statistics = await rows.writeParquet(database as unknown as DuckDb, file);
  return { bytes, statistics };
}

type Staged = Awaited<ReturnType<typeof staged>>;

function expectSame(ours: Staged, wanted: Staged): void {
  expect(ours.statistics).toBe(wanted.statistics);
  expect(wanted.bytes.length).toBeGreaterThan(0);
  expect(Buffer.compare(ours.bytes, wanted.bytes)).toBe(0);
}

/** Of the values, by the long way alone. */
function byValues(pipeline: Pipeline, decode: Decoder, log: readonly Sent[]) {
  const rows = new RowBuffer(eventColumns(pipeline));
  for (const [offset, sent] of log.entries()) {
    const record = { partition: 3, offset, ...sent };
    rows.add(record, decode(record));
  }
  return staged(rows);
}

/** As they come from Kafka. @param between what is in the fetch before, between and behind keys and values */
function byFetch(
  pipeline: Pipeline,
  decode: ScanDecoder,
  log: readonly Sent[],
  between: string,
  isCommon: boolean,
) {
  const pieces: Uint8Array[] = [];
  let at = 0;
  const put = (bytes: Uint8Array | null): [number, number] => {
    pieces.push(Buffer.from(between), bytes ?? new Uint8Array());
    const from = at + Buffer.byteLength(between);
    at = from + (bytes?.length ?? 0);
    return [from, bytes === null ? -1 : at];
  };
  const places = log.map(({ key, value }) => [...put(key), ...put(value)] as const);
  put(null);
  const raw = Buffer.concat(pieces);
  const messages = log.map(({ timestampMs, headers }, offset) => {
    const [keyFrom, keyTo, valueFrom, valueTo] = places[offset] ?? [0, -1, 0, -1];
    const stamp = String(timestampMs);
    return new FetchedMessage(raw, keyFrom, keyTo, valueFrom, valueTo, String(offset), stamp, 0, headers, {});
  });
  const asKafkajsHasThem = messages.map(({ key, value, offset, timestamp, attributes, headers }) => ({
    ...{ key, value, offset, timestamp, attributes },
    headers: headers as Record<string, Buffer>,
  }));
  const tails = new Tails(pipeline, decode);
  tails.begin(3, 0, 0);
  tails.add(3, isCommon ? (messages as unknown as Parameters<Tails['add']>[1]) : asKafkajsHasThem);
  const rows = tails.take()[0]?.rows;
  if (!rows) throw new Error('nothing was taken');
  return staged(rows);
}

const decodersOf = (pipeline: Pipeline) =>
  [createScanDecoder(pipeline, readUtf8), createDecoder(pipeline, readUtf8, null)] as const;

const bytes = fc.uint8Array({ maxLength: 60 });
const value = fc.oneof(
  { weight: 12, arbitrary: document.map((json) => Buffer.from(json)) },
  // Longer than what a loop copies, and than a first buffer.
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.constantFrom('x', 'é', '\\n', '\\ud800', '"'), fc.constantFrom(47, 48, 49, 5_000, 70_000))
      .map(([unit, length]) =>
        Buffer.from(
          `{"id":"${unit.repeat(length)}","at":1767225599000,"user":{"id":"u"},"free":"${'y'.repeat(length)}"}`,
        ),
      ),
  },
  { weight: 1, arbitrary: fc.oneof(bytes, fc.constant(null), fc.constant(new Uint8Array())) },
);
const sent: fc.Arbitrary<Sent> = fc.record({
  key: fc.option(bytes),
  value,
  headers: fc.oneof(
    { weight: 4, arbitrary: fc.constant({}) },
    {
      weight: 1,
      arbitrary: fc.dictionary(
        fc.string(),
        bytes.map((held) => Buffer.from(held)),
      ),
    },
  ),
  timestampMs: fc.integer({ min: nowMs - 100_000, max: nowMs + 100_000 }),
});
/** Bytes that would go on with what was cut off, if anything were read of them. */
const between = fc.constantFrom(
  '',
  ' ',
  '\n\t',
  '"',
  '}',
  '0',
  '9.5',
  '"}',
  'null',
  ',"at":1}',
  '\u0000',
  'é',
);

it.each(Object.entries(pipelines))(
  'the same rows by bytes and by values: %s',
  async (_, pipeline) => {
    const [decode, decodeLong] = decodersOf(pipeline);
    await fc.assert(
      fc.asyncProperty(
        fc.array(sent, { minLength: 1, maxLength: 30 }),
        between,
        fc.boolean(),
        async (log, junk, isCommon) => {
          expectSame(
            await byFetch(pipeline, decode, log, junk, isCommon),
            await byValues(pipeline, decodeLong, log),
          );
        },
      ),
      { numRuns: 100 },
    );
  },
  60_000,
);

it('the same rows by bytes and by values: logs that try to break the rules', async () => {
  const [decode, decodeLong] = decodersOf(odd);
  await fc.assert(
    fc.asyncProperty(anyLog(40), between, fc.boolean(), async (entries, junk, isCommon) => {
      const log = entries.map(({ record: { value, timestampMs } }) => ({
        key: null,
        value,
        headers: {},
        timestampMs,
      }));
      expectSame(await byFetch(odd, decode, log, junk, isCommon), await byValues(odd, decodeLong, log));
    }),
    { numRuns: 40 },
  );
}, 60_000);

it('ordinary events are copied as bytes', () => {
  const decode = createScanDecoder(pipelines.orders, readUtf8);
  const json = '{"id":"a","at":1767225599000,"user":{"id":"u"},"amount":12.5,"paid":true}';
  const raw = Buffer.from(`9${json}9`);
  const decoded = decode(raw, 1, raw.length - 1, nowMs);
  expect('fields' in decoded).toBe(true);
});
