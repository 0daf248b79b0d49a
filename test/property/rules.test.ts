/**
 * What a changed definition may do: any optional property that is added is let through, and nothing is named; every other change is
 * refused, and named by its place.
 */
import * as fc from 'fast-check';
import type { JsonSchema } from '../../domain/field.ts';
import { definePipeline } from '../../domain/pipeline.ts';
import type { PipelineInput } from '../../domain/pipeline.ts';
import { compareRules, countingRulesOf, decodingRulesOf } from '../../domain/rules.ts';
import type { CountingRules, Evolution } from '../../domain/rules.ts';

const base = {
  name: 'orders',
  event: {
    schema: {
      type: 'object',
      required: ['id', 'at'],
      properties: {
        id: { type: 'string' },
        at: { type: 'integer' },
        amount: { type: 'number', minimum: 0 },
        user: {
          type: 'object',
          required: ['region'],
          properties: { region: { type: 'string', enum: ['a', 'b'] }, age: { type: ['integer', 'null'] } },
        },
        closed: { type: 'object', additionalProperties: false, properties: { x: { type: 'string' } } },
        tags: { type: 'array', items: { type: 'string' } },
      },
    },
    id: 'id',
    time: { field: 'at', format: 'epoch-ms' },
    key: 'id',
    decimals: { amount: 2 },
  },
  aggregates: {
    by_region: {
      window: { tumbling: '1m' },
      groupBy: ['user.region', 'id'],
      where: { 'user.age': { gte: 18 } },
      measures: { n: 'count', sum: { sum: 'amount' } },
    },
    visits: { window: { session: '1m' }, groupBy: 'id', measures: { oldest: { max: 'user.age' } } },
  },
} satisfies PipelineInput;

/** The definition as something that can be changed anywhere. */
interface Loose {
  aggregates: Record<'by_region' | 'visits', object>;
  event: { schema: { properties: Record<string, Shape> }; decimals: Record<string, number> };
}
type Shape = JsonSchema & { readonly properties?: Record<string, Shape> };
/** As a lake or Redis keeps them: text in between. */
const kept = (rules: CountingRules) => JSON.parse(JSON.stringify(rules)) as CountingRules;
const rulesOf = (input: unknown) => countingRulesOf(definePipeline(input as PipelineInput));
const compared = (after: unknown, before: unknown = base): Evolution =>
  compareRules(kept(rulesOf(before)), rulesOf(after));
const copy = () => structuredClone(base) as unknown as Loose;

const leaf: fc.Arbitrary<JsonSchema> = fc.constantFrom<JsonSchema[]>(
  { type: 'string' },
  { type: 'integer', minimum: 3 },
  { type: ['number', 'null'] },
  { type: 'boolean' },
  { enum: ['x', 'y'] },
  { type: 'object', required: ['in'], properties: { in: { type: 'string' }, deep: { type: 'integer' } } },
  { type: 'array' },
);
const newName = fc
  .oneof(
    fc.stringMatching(/^[a-zA-Z][\w ]{0,8}$/),
    fc.constantFrom('constructor', 'toString', '0', '12', 'new.dotted'),
  )
  .filter(
    (name) => !['id', 'at', 'amount', 'user', 'closed', 'tags', 'region', 'age'].includes(name.toLowerCase()),
  )
  .filter((name) => !name.toLowerCase().startsWith('user_') && !name.toLowerCase().startsWith('closed_'));

/** Adds a property at any place among the others: indexes of the fields behind it shift. */
function insert(
  into: Record<string, Shape>,
  name: string,
  schema: JsonSchema,
  at: number,
): Record<string, Shape> {
  const entries = Object.entries(into);
  entries.splice(at % (entries.length + 1), 0, [name, schema]);
  return Object.fromEntries(entries);
}

it('any optional property may be added, anywhere; it is what was added, and nothing else is named', () => {
  fc.assert(
    fc.property(newName, leaf, fc.nat(9), fc.boolean(), fc.boolean(), (name, schema, at, nested, decimal) => {
      const after = copy();
      const { properties } = after.event.schema;
      if (nested)
        properties['user'] = {
          ...properties['user'],
          properties: insert(properties['user']?.properties ?? {}, name, schema, at),
        };
      else after.event.schema.properties = insert(properties, name, schema, at);
      const path = nested ? `user.${name}` : name;
      if (decimal && JSON.stringify(schema.type)?.includes('number')) after.event.decimals[path] = 3;
      expect(compared(after)).toEqual({ kind: 'widened', added: [path] });
      // Taken back, it is named.
      expect(compared(base, after)).toEqual({
        kind: 'refused',
        changes: expect.arrayContaining([expect.stringContaining(name)]) as string[],
      });
      expect(compared(after, after)).toEqual({ kind: 'same' });
    }),
    { seed: 11, numRuns: 60 },
  );
});

it('the order of properties changes nothing', () => {
  const after = copy();
  after.event.schema.properties = Object.fromEntries(Object.entries(after.event.schema.properties).reverse());
  expect(compared(after)).toEqual({ kind: 'same' });
});

type Change = (definition: Loose) => unknown;
const at = (d: Loose, name: string) => d.event.schema.properties[name] as Record<string, unknown>;
const inUser = (d: Loose, name: string) =>
  (d.event.schema.properties['user']?.properties as Record<string, Record<string, unknown>>)[name] as Record<
    string,
    unknown
  >;
const set = (d: object, key: string, value: unknown) => Object.assign(d, { [key]: value });
const mutations: Record<string, [Change, string]> = {
  'a topic': [(d) => set(d, 'topic', 'other'), 'topic: changed from orders to other'],
  'a type': [
    (d) => set(at(d, 'at'), 'type', 'number'),
    'event.schema.properties.at: type changed from integer to number',
  ],
  'a nested type': [
    (d) => set(inUser(d, 'age'), 'type', 'integer'),
    'event.schema.properties.user.properties.age: type changed from ["integer","null"] to integer',
  ],
  'a limit': [
    (d) => set(at(d, 'amount'), 'minimum', 1),
    'event.schema.properties.amount: minimum changed from 0 to 1',
  ],
  'a limit that goes': [
    (d) => delete at(d, 'amount')['minimum'],
    'event.schema.properties.amount: minimum removed (it was 0)',
  ],
  'a limit that comes': [
    (d) => set(at(d, 'amount'), 'maximum', 9),
    'event.schema.properties.amount: maximum added (9)',
  ],
  'a list of values': [
    (d) => set(inUser(d, 'region'), 'enum', ['a', 'b', 'c']),
    'event.schema.properties.user.properties.region: enum changed from ["a","b"] to ["a","b","c"]',
  ],
  'items of a list': [
    (d) => set(at(d, 'tags'), 'items', { type: 'integer' }),
    'event.schema.properties.tags: items changed from {"type":"string"} to {"type":"integer"}',
  ],
  'a property that goes': [
    (d) => delete d.event.schema.properties['tags'],
    'event.schema.properties.tags: removed',
  ],
  'a required property': [
    (d) => {
      set(d.event.schema.properties, 'new', { type: 'string' });
      set(d.event.schema, 'required', ['id', 'at', 'new']);
    },
    'event.schema.required: new added',
  ],
  'one that becomes required': [
    (d) => set(d.event.schema, 'required', ['id', 'at', 'tags']),
    'event.schema.required: tags added',
  ],
  'one that becomes optional': [
    (d) => set(at(d, 'user'), 'required', []),
    'event.schema.properties.user.required: region removed',
  ],
  'a property where others were refused': [
    (d) => set(at(d, 'closed')['properties'] as object, 'y', { type: 'string' }),
    'event.schema.properties.closed.properties.y: added where other properties than those named were refused until now',
  ],
  'a schema that closes': [
    (d) => set(d.event.schema, 'additionalProperties', false),
    'event.schema: additionalProperties added (false)',
  ],
  'an object that opens': [
    (d) => set(at(d, 'tags'), 'properties', { a: { type: 'string' } }),
    'event.schema.properties.tags: properties added ({"a":{"type":"string"}})',
  ],
  'a scale': [(d) => set(d.event, 'decimals', { amount: 3 }), 'event.decimals.amount: changed from 2 to 3'],
  'a scale that comes': [
    (d) => set(d.event, 'decimals', { amount: 2, 'user.age': 1 }),
    'event.decimals.user.age: added (1)',
  ],
  'the id': [(d) => set(d.event, 'id', 'user.region'), 'event.id: changed from id to user.region'],
  'the time': [
    (d) => set(d.event, 'time', { field: 'user.age', format: 'epoch-ms' }),
    'event.time: changed from at (epoch-ms) to user.age (epoch-ms)',
  ],
  'the format of the time': [
    (d) => set(d.event, 'time', { field: 'at', format: 'epoch-s' }),
    'event.time: changed from at (epoch-ms) to at (epoch-s)',
  ],
  'the size': [(d) => set(d.event, 'sizeMaxBytes', 100), 'event.sizeMaxBytes: changed from 262144 to 100'],
  maxFuture: [(d) => set(d, 'maxFuture', '1m'), 'maxFuture: changed from 300000 to 60000'],
};
const mutationsOfCounts: Record<string, [Change, string]> = {
  outOfOrder: [(d) => set(d, 'outOfOrder', '1s'), 'outOfOrder: changed from 5000 to 1000'],
  dedupHorizon: [(d) => set(d, 'dedupHorizon', '2h'), 'dedupHorizon: changed from 3600000 to 7200000'],
  'a window': [
    (d) => set(d.aggregates.by_region, 'window', { tumbling: '2m' }),
    'aggregates.by_region: changed',
  ],
  'a group': [
    (d) => set(d.aggregates.by_region, 'groupBy', ['id', 'user.region']),
    'aggregates.by_region: changed',
  ],
  'a filter': [
    (d) => set(d.aggregates.by_region, 'where', { 'user.age': { gt: 18 } }),
    'aggregates.by_region: changed',
  ],
  'a filtered field': [
    (d) => set(d.aggregates.by_region, 'where', { at: { gte: 18 } }),
    'aggregates.by_region: changed',
  ],
  'a measure': [
    (d) => set(d.aggregates.visits, 'measures', { oldest: { max: 'at' } }),
    'aggregates.visits: changed',
  ],
  'an aggregate that goes': [
    (d) => {
      const { visits } = d.aggregates;
      set(d, 'aggregates', { visits });
    },
    'aggregates.by_region: removed',
  ],
  'an aggregate that comes': [
    (d) => set(d.aggregates, 'more', { window: { tumbling: '1m' }, measures: { n: 'count' } }),
    'aggregates.more: added',
  ],
};

it.each(Object.entries({ ...mutations, ...mutationsOfCounts }))(
  '%s: refused, and named',
  (_, [change, named]) => {
    const after = copy();
    change(after);
    const evolution = compared(after);
    expect(evolution).toEqual({ kind: 'refused', changes: expect.arrayContaining([named]) as string[] });
    // The same beside an added property, which is not named.
    set(after.event.schema.properties, 'extra', { type: 'string' });
    expect(JSON.stringify(compared(after))).not.toContain('extra');
  },
);

it.each(Object.entries(mutations))('%s: refused for the lake, too', (_, [change, named]) => {
  const after = copy();
  change(after);
  const [before, now] = [base, after].map((input) => decodingRulesOf(definePipeline(input as PipelineInput)));
  if (before === undefined || now === undefined) throw new Error('two definitions');
  expect(compareRules(before, now)).toEqual({
    kind: 'refused',
    changes: expect.arrayContaining([named]) as string[],
  });
});

it.each(Object.entries(mutationsOfCounts))('%s: nothing to the lake', (_, [change]) => {
  const after = copy();
  change(after);
  const [before, now] = [base, after].map((input) => decodingRulesOf(definePipeline(input as PipelineInput)));
  if (before === undefined || now === undefined) throw new Error('two definitions');
  expect(compareRules(before, now)).toEqual({ kind: 'same' });
});
