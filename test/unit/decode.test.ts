/** The decoder is total and strict: one event or one reason of the closed list for every sequence of bytes. */
import * as fc from 'fast-check';
import { readUtf8 } from '../../clients/kafka.ts';
import { createDecoder } from '../../domain/decode.ts';
import { rejectionReasons } from '../../domain/event.ts';
import type { Decoded } from '../../domain/event.ts';
import { definePipeline } from '../../domain/pipeline.ts';
import type { PipelineInput } from '../../domain/pipeline.ts';

const nowMs = Date.UTC(2026, 0, 1);
const definition = {
  name: 'shop',
  event: {
    schema: {
      required: ['id', 'time'],
      properties: {
        id: { type: 'string' },
        time: { type: 'string' },
        user: { properties: { id: { type: 'string' }, constructor: { type: 'string' } } },
        amount: { type: ['number', 'string', 'boolean', 'null'] },
        quantity: { type: ['integer', 'null'], minimum: -100 },
        ratio: { type: ['number', 'null'] },
        paid: { type: 'boolean' },
        anything: {},
        constructor: { type: 'string' },
        toString: { type: 'string' },
        mail: { type: 'string', format: 'email' },
      },
    },
    id: 'id',
    time: 'time',
    decimals: { amount: 2 },
    sizeMaxBytes: 300_000,
  },
  aggregates: { all: { window: { tumbling: '1m' }, measures: { n: 'count' } } },
} as unknown as PipelineInput;

const decodeWith = (input: PipelineInput) => {
  const pipeline = definePipeline(input);
  const decode = createDecoder(pipeline, readUtf8);
  const values = (decoded: Decoded) =>
    decoded.ok
      ? Object.fromEntries(pipeline.fields.map(({ name }, i) => [name, decoded.event.values[i]]))
      : decoded.rejection;
  const bytes = (value: Uint8Array | null) =>
    decode({ partition: 0, offset: 0, timestampMs: nowMs, key: null, value });
  return { bytes, json: (text: string) => bytes(Buffer.from(text)), values };
};
const { bytes, json, values } = decodeWith(definition);
const event = (members: string) => json(`{"id":"a","time":"2025-12-31T23:59:59Z"${members}}`);
const reasonOf = (decoded: Decoded) => (decoded.ok ? 'accepted' : decoded.rejection.reason);

const cases: [string, () => Decoded, string][] = [
  ['no value', () => bytes(null), 'empty-value'],
  ['an empty value', () => bytes(new Uint8Array()), 'empty-value'],
  ['a value above the limit', () => bytes(Buffer.alloc(300_001, 0x20)), 'too-large'],
  ['a value at the limit', () => bytes(Buffer.alloc(300_000, 0x20)), 'invalid-json'],
  ['bytes that are not UTF-8', () => bytes(Uint8Array.of(0x22, 0xc3, 0x22)), 'invalid-utf8'],
  ['a surrogate in UTF-8', () => bytes(Uint8Array.of(0x22, 0xed, 0xa0, 0x80, 0x22)), 'invalid-utf8'],
  ['a broken object', () => json('{"id":'), 'invalid-json'],
  ['a byte order mark', () => json('\ufeff{}'), 'invalid-json'],
  ['NaN', () => event(',"ratio":NaN'), 'invalid-json'],
  ['a text', () => json('"x"'), 'wrong-type'],
  ['null', () => json('null'), 'wrong-type'],
  ['an array', () => json('[]'), 'wrong-type'],
  [
    '100,000 nested arrays',
    () => event(`,"anything":${'['.repeat(100_000)}${']'.repeat(100_000)}`),
    'too-deep',
  ],
  ['501 levels', () => event(`,"anything":${'{"a":'.repeat(500)}1${'}'.repeat(500)}`), 'too-deep'],
  ['500 levels', () => event(`,"anything":${'[ '.repeat(499)}${' ]'.repeat(499)}`), 'accepted'],
  ['no id', () => json('{"time":"2025-12-31T23:59:59Z"}'), 'missing-field'],
  ['no time', () => json('{"id":"a"}'), 'missing-field'],
  ['a number where a text is due', () => json('{"id":1,"time":"2025-12-31T23:59:59Z"}'), 'wrong-type'],
  ['a nested text where an object is due', () => event(',"user":{"id":5}'), 'wrong-type'],
  ['a text where an integer is due', () => event(',"quantity":"1"'), 'wrong-type'],
  ['a fraction where an integer is due', () => event(',"quantity":1.5'), 'wrong-type'],
  ['a boolean where a decimal is due', () => event(',"amount":true'), 'wrong-type'],
  ['a word where a decimal is due', () => event(',"amount":"ten"'), 'wrong-type'],
  ['below the minimum', () => event(',"quantity":-101'), 'schema-violation'],
  ['no mail address', () => event(',"mail":"nobody"'), 'schema-violation'],
  ['half a pair in the id', () => json('{"id":"\\ud83d","time":"2025-12-31T23:59:59Z"}'), 'malformed-string'],
  ['half a pair in a field', () => event(',"user":{"id":"\\ude00\\ud83d"}'), 'malformed-string'],
  ['a whole pair', () => event(',"user":{"id":"\\ud83d\\ude00"}'), 'accepted'],
  ['an integer of 2^53', () => event(',"quantity":9007199254740992'), 'number-out-of-range'],
  ['an integer of 2^53 − 1', () => event(',"quantity":9007199254740991'), 'accepted'],
  ['a decimal of 2^53 units', () => event(',"amount":"90071992547409.92"'), 'number-out-of-range'],
  ['a decimal beyond the doubles', () => event(',"amount":1e400'), 'number-out-of-range'],
  ['a number beyond the doubles', () => event(',"ratio":1e400'), 'number-out-of-range'],
  ['a decimal with three digits', () => event(',"amount":1.005'), 'too-precise'],
  ['a decimal text with three digits', () => event(',"amount":"1.005"'), 'too-precise'],
  ['0.1 + 0.2', () => event(',"amount":0.30000000000000004'), 'too-precise'],
  ['a time without offset', () => json('{"id":"a","time":"2025-12-31T23:59:59"}'), 'invalid-time'],
  ['a time 5 minutes ahead', () => json('{"id":"a","time":"2026-01-01T00:05:00Z"}'), 'accepted'],
  [
    'a time a millisecond further',
    () => json('{"id":"a","time":"2026-01-01T00:05:00.001Z"}'),
    'time-in-future',
  ],
];

it.each(cases)('%s: %#', (_name, decode, reason) => {
  expect(reasonOf(decode())).toBe(reason);
});

it('has a case for every reason of the closed list', () => {
  const covered = new Set(cases.map(([, , reason]) => reason));
  expect(Object.keys(rejectionReasons).filter((reason) => !covered.has(reason))).toEqual([]);
});

it('details name the field', () => {
  const detail = (decoded: Decoded) => (decoded.ok ? '' : decoded.rejection.detail);
  expect(detail(event(',"user":{"id":5}'))).toMatch(/^user\.id /);
  expect(detail(json('{"id":"a"}'))).toBe('time is missing');
  expect(detail(event(',"amount":1.005'))).toContain('amount is 1.005');
});

it('values: absent and null are null, decimals are scaled integers, zero has no sign, nothing is inherited', () => {
  expect(
    values(event(',"amount":-12.5,"quantity":-0,"ratio":0.1,"paid":false,"anything":{"b":[1,null]}')),
  ).toEqual({
    id: 'a',
    time: '2025-12-31T23:59:59Z',
    'user.id': null,
    'user.constructor': null,
    amount: -1250,
    quantity: 0,
    ratio: 0.1,
    paid: false,
    anything: '{"b":[1,null]}',
    constructor: null,
    toString: null,
    mail: null,
  });
  expect(
    values(event(',"amount":"-0.00","quantity":null,"user":{},"__proto__":{"mail":"a@b.c"}')),
  ).toMatchObject({ amount: 0, quantity: null, 'user.id': null, mail: null });
  expect(Object.is((values(event(',"amount":-0.0')) as Record<string, unknown>)['amount'], 0)).toBe(true);
  expect(values(event(',"constructor":"own","toString":"too","user":{"constructor":"x"}'))).toMatchObject({
    constructor: 'own',
    toString: 'too',
    'user.constructor': 'x',
  });
});

it('takes integers as ids, as their decimal text', () => {
  const numbered = decodeWith({
    ...definition,
    event: {
      ...definition.event,
      schema: { properties: { id: { type: 'integer' }, time: { type: 'string' } } },
      decimals: {},
    },
  });
  const id = (text: string) => numbered.json(`{"id":${text},"time":"2025-12-31T23:59:59Z"}`);
  expect(id('42')).toMatchObject({ event: { id: '42' } });
  expect(id('-0')).toMatchObject({ event: { id: '0' } });
  expect(reasonOf(id('9007199254740993'))).toBe('number-out-of-range');
  expect(reasonOf(id('"42"'))).toBe('wrong-type');
  expect(reasonOf(id('null'))).not.toBe('accepted');
});

it('finds properties whose own name holds a dot', () => {
  const properties = {
    'event.id': { type: 'string' },
    '@time': { type: 'string' },
    'event.kind': { type: 'string' },
  };
  const dotted = decodeWith({
    ...definition,
    event: { schema: { properties }, id: 'event.id', time: '@time' },
  });
  const text = '{"event.id":"7","@time":"2025-12-31T23:59:59Z","event.kind":"k"}';
  expect(dotted.json(text)).toMatchObject({
    ok: true,
    event: { id: '7', values: ['7', '2025-12-31T23:59:59Z', 'k'] },
  });
});

it('never throws, whatever the bytes, and answers the same twice', () => {
  const near = fc.record(
    {
      id: fc.anything(),
      time: fc.oneof(fc.constant('2025-12-31T23:59:59Z'), fc.anything()),
      amount: fc.anything(),
      quantity: fc.anything(),
      anything: fc.anything({ maxDepth: 5 }),
      user: fc.anything(),
    },
    { requiredKeys: [] },
  );
  const value = fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    fc.json({ stringUnit: 'binary' }).map((text) => Buffer.from(text)),
    near.map((object) => {
      try {
        return Buffer.from(JSON.stringify(object) ?? '');
      } catch {
        return Buffer.from('{"bigint":1}');
      }
    }),
  );
  fc.assert(
    fc.property(value, (raw) => {
      const decoded = bytes(raw);
      expect(bytes(raw)).toEqual(decoded);
      if (!decoded.ok) expect(Object.keys(rejectionReasons)).toContain(decoded.rejection.reason);
    }),
    { numRuns: 3_000 },
  );
});
