/** The decoder's short way takes nothing that the long way would not, and reads the same; ordinary events do take it. */
import * as fc from 'fast-check';
import { readUtf8 } from '../../clients/kafka.ts';
import { createDecoder } from '../../domain/decode.ts';
import type { Pipeline } from '../../domain/pipeline.ts';
import { createScanner } from '../../domain/scan.ts';
import {
  closed,
  define,
  document,
  nowMs,
  number,
  orders,
  pipelines,
  seconds,
} from '../support/random-events.ts';

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
      if (scanner?.take(Buffer.from(json), 0, json.length, readUtf8) !== true) return;
      const ratio = scanner.valuesIn(json)[orders.fields.findIndex(({ name }) => name === 'ratio')];
      expect(Object.is(ratio, (JSON.parse(json) as { ratio: number }).ratio)).toBe(true);
    }),
    { numRuns: 20_000 },
  );
});

const takes = (pipeline: Pipeline, json: string) =>
  createScanner(pipeline)?.take(Buffer.from(json), 0, Buffer.byteLength(json), readUtf8);

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
