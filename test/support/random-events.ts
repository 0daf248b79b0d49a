/** Events that try to part the decoder's two ways: all types, spaces, orders, escapes, repeated and unknown properties, broken JSON. */
import * as fc from 'fast-check';
import { definePipeline } from '../../domain/pipeline.ts';
import type { Pipeline, PipelineInput } from '../../domain/pipeline.ts';

export const nowMs = Date.UTC(2026, 0, 1);

/** A pipeline of which only the event matters. */
export const define = (event: unknown): Pipeline =>
  definePipeline({
    name: 'scanned',
    event,
    aggregates: { all: { window: { tumbling: '1m' }, measures: { n: 'count' } } },
  } as PipelineInput);

export const orders = define({
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
export const closed = define({
  schema: {
    type: 'object',
    additionalProperties: false,
    required: ['id', 'at'],
    properties: { id: { type: 'string' }, at: { type: 'string' }, quantity: { type: 'number' } },
  },
  id: 'id',
  time: 'at',
});
export const seconds = define({
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
export const pipelines = { orders, closed, seconds };

const space = fc.constantFrom('', '', '', '', ' ', '\n\t', ' \r\n', '\f');
const text = fc.oneof(
  fc.constantFrom('new', 'paid', '', 'a@b.de', 'not a mail', '12.50', '1.234', 'x'.repeat(40)),
  fc.string(),
  fc.string({ unit: 'binary' }),
);
const time = fc.constantFrom(
  ...['2025-12-31T23:59:59Z', '2026-01-01', '1767225600', '1767225600000', '1767225600.125', '99e12', '-1'],
);
/** Numbers as they may be written. */
export const number = fc.oneof(
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
/** JSON, mostly acceptable events; some of it broken. */
export const document = fc.oneof(
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
