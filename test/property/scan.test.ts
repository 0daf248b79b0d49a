/** The decoder's short way takes nothing that the long way would not, and reads the same; ordinary events do take it. */
import * as fc from 'fast-check';
import { readUtf8 } from '../../clients/kafka.ts';
import { createDecoder } from '../../domain/decode.ts';
import { definePipeline } from '../../domain/pipeline.ts';
import type { Pipeline, PipelineInput } from '../../domain/pipeline.ts';
import { createScanner } from '../../domain/scan.ts';

const nowMs = Date.UTC(2026, 0, 1);

const define = (event: unknown): Pipeline =>
  definePipeline({
    name: 'scanned',
    event,
    aggregates: { all: { window: { tumbling: '1m' }, measures: { n: 'count' } } },
  } as PipelineInput);

const orders = define({
  schema: {
    type: 'object',
    required: ['id', 'at', 'user'],
    properties: {
      id: { type: 'string' },
      at: { type: 'integer' },
      amount: { type: ['number', 'string'] },
      quantity: { type: 'integer', minimum: -5, maximum: 1_000 },
      ratio: { type: 'number' },
      paid: { type: 'boolean' },
      status: { type: 'string', enum: ['new', 'paid', ''] },
      mail: { type: 'string', format: 'email', maxLength: 12 },
      free: { type: ['string', 'null'] },
      user: {
        type: 'object',
        required: ['id'],
        properties: {
          id: { type: 'string' },
          address: { type: ['object', 'null'], properties: { city: { type: 'string' } } },
        },
      },
    },
  },
  id: 'id',
  time: { field: 'at', format: 'epoch-ms' },
  decimals: { amount: 2 },
});
const closed = define({
  schema: {
    type: 'object',
    additionalProperties: false,
    required: ['id', 'at'],
    properties: { id: { type: 'string' }, at: { type: 'string' }, quantity: { type: 'number' } },
  },
  id: 'id',
  time: 'at',
});
const seconds = define({
  schema: {
    required: ['level'],
    properties: {
      id: { type: 'integer' },
      at: { type: 'number' },
      amount: { type: 'number' },
      units: { type: 'integer' },
      level: { type: ['string', 'null'], enum: ['low', 'high'] },
    },
  },
  id: 'id',
  time: { field: 'at', format: 'epoch-s' },
  decimals: { at: 3, amount: 4, units: 1 },
});
const pipelines = { orders, closed, seconds };

const space = fc.constantFrom('', '', '', '', ' ', '\n\t', ' \r\n', '\f');
const text = fc.oneof(
  fc.constantFrom('new', 'paid', '', 'a@b.de', 'not a mail', '12.50', '1.234', 'x'.repeat(40)),
  fc.string(),
  fc.string({ unit: 'binary' }),
);
const time = fc.constantFrom(
  ...['2025-12-31T23:59:59Z', '2026-01-01', '1767225600', '1767225600000', '1767225600.125', '99e12', '-1'],
);
const number = fc.oneof(
  fc.double().map(String),
  fc.double({ noNaN: true, min: -1e6, max: 1e6 }).map((value) => value.toFixed(3)),
  fc.integer({ min: -2e6, max: 2e6 }).map((value) => (value / 100).toFixed(2)),
  fc.tuple(fc.bigInt({ min: 0n, max: 10n ** 17n }), fc.nat({ max: 17 })).map(([digits, point]) => {
    const padded = String(digits).padStart(point + 1, '0');
    return point === 0 ? padded : `${padded.slice(0, -point)}.${padded.slice(-point)}`;
  }),
  fc.bigInt({ min: -(10n ** 17n), max: 10n ** 17n }).map(String),
  fc.constantFrom(
    ...['0', '-0', '-0.0', '00', '01', '1.', '.5', '-', '+1', '1e3', '1E-2', '1.50', '1.0', '0.1'],
  ),
  fc.constantFrom('9007199254740991', '9007199254740992', '9007199254740993', '0.30000000000000004', '1e400'),
);
const names = [
  'id',
  'at',
  'amount',
  'quantity',
  'ratio',
  'paid',
  'status',
  'mail',
  'free',
  'city',
  'address',
];
const name = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(...names, 'user').map((plain) => JSON.stringify(plain)) },
  {
    weight: 1,
    arbitrary: fc.constantFrom('"extra"', '"__proto__"', '"toString"', '"i\\u0064"', '"i"', '"idx"', 'id'),
  },
  { weight: 1, arbitrary: fc.string().map((any) => JSON.stringify(any)) },
);
const { value } = fc.letrec<{ value: string; object: string }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    text.map((plain) => JSON.stringify(plain)),
    number,
    fc.oneof(
      time,
      time.map((plain) => `"${plain}"`),
    ),
    fc.constantFrom(
      'true',
      'false',
      'null',
      'nul',
      'truE',
      '"\\ud800"',
      '"\\u0000"',
      '"\t"',
      '[]',
      '[1]',
      '""x',
    ),
    tie('object'),
  ),
  object: fc
    .array(fc.tuple(space, name, space, space, tie('value'), space), { maxLength: 12 })
    .map(
      (members) =>
        `{${members.map(([a, key, b, c, held, d]) => `${a}${key}${b}:${c}${held}${d}`).join(',')}}`,
    ),
}));

/** An acceptable event, but that a few members are replaced, repeated, missing or unknown. */
const mostly = (required: readonly string[], optional: readonly string[]) =>
  fc
    .record({
      some: fc.subarray([...optional]),
      missing: fc.option(fc.nat(), { freq: 20 }),
      replaced: fc.array(fc.tuple(fc.nat(), value), { maxLength: 1 }),
      added: fc.array(fc.tuple(name, value), { maxLength: 1 }),
      order: fc.infiniteStream(fc.nat()),
      around: fc.tuple(space, space),
    })
    .map(({ some, missing, replaced, added, order, around: [before, after] }) => {
      const members = [...required, ...some].filter((_, i) => i !== missing);
      for (const [at, held] of replaced) {
        const i = at % Math.max(1, members.length);
        members[i] = `${(members[i] ?? '').split(':')[0]}:${before}${held}`;
      }
      members.push(...added.map(([key, held]) => `${key}${after}:${held}`));
      const placed = members.map((member) => ({ member, place: order.next().value as number }));
      const text = placed.sort((a, b) => a.place - b.place).map(({ member }) => member);
      return `${before}{${text.join(`,${after}`)}}${after}`;
    });
const event = fc.oneof(
  mostly(
    ['"id":"e1"', '"at":1767225599000', '"user":{"id":"u1","address":{"city":"Bonn"}}'],
    [
      '"amount":12.5',
      '"quantity":7',
      '"ratio":0.125',
      '"paid":true',
      '"status":"paid"',
      '"mail":"a@b.de"',
      '"free":null',
    ],
  ),
  mostly(['"id":"e2"', '"at":"2025-12-31T23:59:59.5+01:00"'], ['"quantity":12']),
  mostly(['"id":3', '"at":1767225599.125', '"level":"low"'], ['"amount":0.25', '"units":3']),
);
const cut = fc.tuple(event, fc.nat(), fc.constantFrom('', ' ', '}', '"', '\\', '\u0000', 'é'));
const document = fc.oneof(
  { weight: 6, arbitrary: event },
  { weight: 1, arbitrary: value },
  { weight: 1, arbitrary: cut.map(([whole, at, put]) => whole.slice(0, at % (whole.length + 1)) + put) },
  {
    weight: 1,
    arbitrary: cut.map(([whole, at, put]) => {
      const middle = at % (whole.length + 1);
      return whole.slice(0, middle) + put + whole.slice(middle);
    }),
  },
);

it.each(Object.entries(pipelines))('both ways come to the same: %s', (_, pipeline) => {
  const decode = createDecoder(pipeline, readUtf8);
  const decodeLong = createDecoder(pipeline, readUtf8, null);
  fc.assert(
    fc.property(document, (json) => {
      const record = { partition: 0, offset: 0, timestampMs: nowMs, key: null, value: Buffer.from(json) };
      expect(decode(record)).toEqual(decodeLong(record));
    }),
    { numRuns: 3_000 },
  );
});

it('numbers are read as JSON.parse reads them', () => {
  const scanner = createScanner(orders);
  fc.assert(
    fc.property(number, (written) => {
      const json = `{"id":"a","at":1,"user":{"id":"u"},"ratio":${written}}`;
      if (scanner?.take(Buffer.from(json), json) !== true) return;
      const ratio = scanner.values[orders.fields.findIndex(({ name }) => name === 'ratio')];
      expect(Object.is(ratio, (JSON.parse(json) as { ratio: number }).ratio)).toBe(true);
    }),
    { numRuns: 20_000 },
  );
});

const takes = (pipeline: Pipeline, json: string) => createScanner(pipeline)?.take(Buffer.from(json), json);

it.each([
  ['compact', orders, '{"id":"a","at":1767225599000,"user":{"id":"u","address":{"city":"x"}},"amount":12.5}'],
  [
    'with spaces',
    orders,
    ' { "id" : "7" , "at": 1767225599000,\n "user": { "id": "u" }, "amount": "12.50" } ',
  ],
  ['with nulls', orders, '{"id":"a","at":1,"user":{"id":"u","address":null},"paid":null,"free":null}'],
  [
    'in another order',
    orders,
    '{"user":{"id":"u"},"paid":false,"at":1,"status":"new","id":"a","mail":"a@b.de"}',
  ],
  [
    'with more than the schema names',
    orders,
    '{"v":1,"id":"a","x":"y","at":1,"user":{"z":true,"id":"u"},"w":null}',
  ],
  ['with an ISO time', closed, '{"id":"a","at":"2025-12-31T23:59:59Z","quantity":-1.25}'],
  ['with a fractional epoch', seconds, '{"id":1,"at":1767225599.125,"amount":0.0001,"level":"high"}'],
])('an ordinary event takes the short way: %s', (_, pipeline, json) => {
  expect(takes(pipeline, json)).toBe(true);
});

it.each([
  ['a repeated property', '{"id":"a","id":"b","at":1,"user":{"id":"u"}}'],
  ['an escape', '{"id":"a\\n","at":1,"user":{"id":"u"}}'],
  ['an exponent', '{"id":"a","at":1e3,"user":{"id":"u"}}'],
  ['a missing property', '{"id":"a","at":1,"user":{}}'],
  ['a value that the schema refuses', '{"id":"a","at":1,"user":{"id":"u"},"quantity":1001}'],
  ['a list', '{"id":"a","at":1,"user":{"id":"u"},"x":[]}'],
  ['a second event', '{"id":"a","at":1,"user":{"id":"u"}}{}'],
])('is left to the long way: %s', (_, json) => {
  expect(takes(orders, json)).toBe(false);
});

it('null is left to the long way where a list of values lacks it', () => {
  expect(takes(seconds, '{"id":1,"at":1,"level":null}')).toBe(false);
});

it.each([
  ['a keyword for whole objects', { anyOf: [{ required: ['a'] }] }],
  ['a reference', { properties: { id: { type: 'string' }, at: { type: 'integer' }, x: { $ref: '#' } } }],
  [
    'a name that every object has',
    { properties: { id: { type: 'string' }, at: { type: 'integer' }, constructor: { type: 'string' } } },
  ],
])('a schema that is not understood has no short way: %s', (_, schema) => {
  const known = { properties: { id: { type: 'string' }, at: { type: 'integer' } } };
  const pipeline = define({
    schema: { ...known, ...schema },
    id: 'id',
    time: { field: 'at', format: 'epoch-ms' },
  });
  expect(createScanner(pipeline)).toBeNull();
});
