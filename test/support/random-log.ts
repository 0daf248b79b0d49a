/**
 * Logs that try to break the rules: duplicates inside and outside the horizon, disorder, late and rejected records, gaps,
 * nulls, log time that stands still or falls, odd texts, extreme numbers.
 */
import * as fc from 'fast-check';
import type { LogRecord } from '../../domain/event.ts';
import type { PlainRecord } from './naive-model.ts';
import { cents, text } from './odd-pipeline.ts';

export const oddTexts = [
  ...[
    '',
    ' ',
    'a',
    'A',
    'SFO',
    "it's",
    '"',
    '\\',
    '\n',
    '\r\n',
    '\t',
    '\u0000',
    'a\u0000b',
    '\u0001',
    '\u007f',
    '\u2028',
  ],
  ...[
    '|',
    '["',
    '["SFO"]',
    'null',
    'NULL',
    '{}',
    '%',
    '_',
    '*',
    '${x}',
    '; --',
    '__proto__',
    'constructor',
    '\ufeff',
  ],
  ...['é', 'e\u0301', '\u{1F600}', '\uFF5E', '\uE000', '\u{10FFFF}', '\uFFFD', '漢字', 'x'.repeat(300)],
];

const largest = 9_007_199_254_740_991n;

/** One record in both forms. */
export interface Entry {
  readonly plain: PlainRecord;
  readonly record: LogRecord;
}

const anyText = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...oddTexts) },
  fc.string({ unit: 'binary', maxLength: 5 }),
);
const anyInteger = fc.oneof(
  fc.bigInt(-5n, 5n),
  fc.constantFrom(largest, -largest, largest - 1n, 0n),
  fc.bigInt(-largest, largest),
);
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { freq: 4 });

const anyFields = fc.record({
  shop: optional(anyText),
  'user.region': optional(fc.constantFrom('west', 'east|', '["')),
  'dotted.name': optional(fc.constantFrom('x', 'y')),
  price: optional(
    fc.oneof(fc.bigInt(-5n, 12n), fc.constantFrom(10n, 0n, -1n, 1050n, largest, -largest), anyInteger),
  ),
  late: optional(fc.oneof(fc.bigInt(-4n, 6n), anyInteger)),
  duplicate: optional(anyInteger),
  score: optional(
    fc.oneof(
      fc.constantFrom(0.1 + 0.2, 0.3, 0, 1e300, 5e-324),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
    ),
  ),
  vip: optional(fc.boolean()),
  grp: optional(fc.constantFrom('g', 'h')),
  window_ms: optional(fc.bigInt(-1n, 1n)),
  rows: optional(fc.bigInt(0n, 9n)),
  'it"s': optional(fc.constantFrom("'", '"')),
});

const deadReasons = [
  'empty-value',
  'too-large',
  'invalid-utf8',
  'invalid-json',
  'missing-field',
  'wrong-type',
  'number-out-of-range',
  'too-precise',
  'invalid-time',
  'time-in-future',
  'malformed-string',
];

const step = fc.record({
  gap: fc.oneof({ weight: 9, arbitrary: fc.constant(0) }, fc.nat(3)),
  /** Of the broker's clock: mostly forward, sometimes still, sometimes back, sometimes far. */
  tickMs: fc.oneof(
    { weight: 3, arbitrary: fc.integer({ min: -1_500, max: 3_000 }) },
    fc.constantFrom(0, 0, 10_000, 10_001, 1),
  ),
  /** Of the event, against a clock of its own that advances with the log. */
  behindMs: fc.oneof(
    { weight: 3, arbitrary: fc.nat(4_000) },
    fc.constantFrom(0, 5_000, 9_999, 12_000, 40_000),
  ),
  dead: fc.oneof({ weight: 9, arbitrary: fc.constant(null) }, fc.constantFrom(...deadReasons)),
  /** How far back the record is whose id this one repeats; beyond the log's start: a new id. */
  repeats: fc.option(fc.nat(25), { freq: 2 }),
  numericId: fc.boolean(),
  priceAsText: fc.boolean(),
  omitNulls: fc.boolean(),
  fields: anyFields,
});

/** Event times around 1970, now, and the ends of the calendar; the broker's clock is never before them. */
const eras = [-62_135_596_700_000, -20_000, 1_700_000_000_000, 253_402_300_000_000];

export const anyLog = (maxLength: number): fc.Arbitrary<Entry[]> =>
  fc
    .tuple(fc.constantFrom(...eras), fc.nat(5), fc.array(step, { minLength: 1, maxLength, size: 'max' }))
    .map(([eraMs, first, steps]) => {
      const entries: Entry[] = [];
      let offset = first;
      let timestampMs = Math.max(eraMs, 1_600_000_000_000);
      let clockMs = eraMs + 50_000;
      for (const { gap, tickMs, behindMs, dead, repeats, numericId, ...rest } of steps) {
        if (entries.length > 0) offset += 1 + gap;
        timestampMs += tickMs;
        clockMs += Math.max(0, tickMs);
        const repeated = entries[entries.length - 1 - (repeats ?? Infinity)]?.plain.id;
        const id =
          repeated ?? (numericId ? String(offset) : `id ${offset} ${oddTexts[offset % oddTexts.length]}`);
        const timeMs =
          dead === 'time-in-future'
            ? timestampMs + 60_001
            : Math.min(clockMs - behindMs, timestampMs + 60_000);
        const plain: PlainRecord = { offset, timestampMs, dead, id, timeMs, fields: rest.fields };
        entries.push({
          plain,
          record: {
            partition: 0,
            offset,
            timestampMs,
            key: null,
            value: write(plain, rest.priceAsText, rest.omitNulls),
          },
        });
      }
      return entries;
    });

/** Writes the record as a producer would; what is to be rejected, broken in the way that its reason says. */
function write(
  { id, timeMs, dead, fields, offset }: PlainRecord,
  priceAsText: boolean,
  omitNulls: boolean,
): Uint8Array | null {
  const price = cents(fields['price']);
  // A JSON number of 16 digits may mean two decimals: those are sent as text, as the documentation tells producers.
  const asText = priceAsText || (price?.length ?? 0) > 16;
  const members: [string, string | null][] = [
    ['id', JSON.stringify(id)],
    ['at', String(timeMs)],
    ['user', fields['user.region'] === null ? null : JSON.stringify({ region: fields['user.region'] })],
    ['price', price === null ? null : asText ? `"${price}"` : price],
    ...['shop', 'dotted.name', 'score', 'vip', 'grp', 'it"s'].map((name): [string, string | null] => [
      name,
      fields[name] === null ? null : JSON.stringify(fields[name]),
    ]),
    ...['late', 'duplicate', 'window_ms', 'rows'].map((name): [string, string | null] => [
      name,
      text(fields[name]),
    ]),
  ];
  const put = (name: string, json: string) =>
    members.splice(
      members.findIndex(([other]) => other === name),
      1,
      [name, json],
    );
  if (dead === 'empty-value') return offset % 2 === 0 ? null : new Uint8Array();
  if (dead === 'invalid-utf8') return Uint8Array.of(0x7b, 0xff, 0x7d);
  if (dead === 'invalid-json') return Buffer.from(`{"id":"${offset}"`);
  if (dead === 'missing-field') return Buffer.from('{"id":"x"}');
  if (dead === 'too-large') put('shop', `"${'x'.repeat(4_000)}"`);
  if (dead === 'wrong-type') put('late', '"3"');
  if (dead === 'number-out-of-range') put('late', '9007199254740992');
  if (dead === 'too-precise') put('price', '0.001');
  if (dead === 'invalid-time') put('at', '253402300800000');
  if (dead === 'malformed-string') put('shop', '"\\ud800"');
  const kept = members.filter(([, json]) => json !== null || !omitNulls);
  return Buffer.from(
    `{${kept.map(([name, json]) => `${JSON.stringify(name)}:${json ?? 'null'}`).join(',')}}`,
  );
}
