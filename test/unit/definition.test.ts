/** A wrong definition names each wrong field by its full path, and all of them at once. */
import { ReckonError } from '../../domain/errors.ts';
import { definePipeline } from '../../domain/pipeline.ts';
import type { PipelineInput } from '../../domain/pipeline.ts';

type Loose = Record<string, unknown>;

/** A definition that is right, to be made wrong. */
const good = () => ({
  name: 'orders',
  event: {
    schema: {
      type: 'object',
      properties: {
        id: { type: 'string' },
        at: { type: 'string' },
        user: { type: 'object', properties: { id: { type: 'integer' } } },
        amount: { type: ['number', 'null'] },
        ratio: { type: 'number' },
        paid: { type: 'boolean' },
        tags: { type: 'array' },
      },
    },
    id: 'id',
    time: 'at',
    decimals: { amount: 2 },
  } as Loose,
  aggregates: { hourly: { window: { tumbling: '1h' }, measures: { n: 'count' } } } as Loose,
});

const define = (input: unknown) => definePipeline(input as PipelineInput);

function messageOf(input: unknown): string {
  try {
    define(input);
  } catch (error) {
    if (!(error instanceof ReckonError)) throw error;
    expect(error.code).toBe('invalid-definition');
    expect(error.line).not.toContain('\n');
    return error.message;
  }
  return 'accepted';
}

/** Sets `path` in a good definition; `undefined` removes it. */
function changed(path: string, value: unknown): Loose {
  const definition = good();
  const names = path.split('/');
  const last = names.pop() ?? '';
  let at = definition as unknown as Loose;
  for (const name of names) at = at[name] as Loose;
  if (value === undefined) delete at[last];
  else at[last] = value;
  return definition;
}

it('takes the good one, with every default filled in', () => {
  expect(define(good())).toMatchObject({
    name: 'orders',
    topic: 'orders',
    deadLetterTopic: 'orders.dead-letter',
    lateTopic: 'orders.late',
    partitions: 4,
    event: {
      idPath: ['id'],
      timePath: ['at'],
      timeFormat: 'iso8601',
      keyPath: ['id'],
      salting: null,
      sizeMaxBytes: 262_144,
    },
    outOfOrderMs: 5_000,
    allowedLatenessMs: 300_000,
    dedupHorizonMs: 3_600_000,
    maxFutureMs: 300_000,
    replayMap: null,
  });
});

const hourly = 'aggregates/hourly';
it.each<[string, unknown, string]>([
  ['name', undefined, 'name is missing'],
  ['name', 'Orders', 'name must be lower-case'],
  ['name', 'a:b', 'name must be lower-case'],
  ['topic', 'a b', 'topic must be a Kafka topic name'],
  ['partitions', 0, 'partitions '],
  ['event', undefined, 'event is missing'],
  ['event/schema', undefined, 'event.schema is missing'],
  ['event/schema/properties', undefined, 'event.schema.properties is missing'],
  ['event/schema/properties/id', { type: 'strin' }, 'event.schema is no valid JSON Schema'],
  ['event/schema/required', 'id', 'event.schema is no valid JSON Schema'],
  ['event/schema/$async', true, 'event.schema is no valid JSON Schema: $async'],
  ['event/schema/$schema', 'urn:nowhere', 'event.schema is no valid JSON Schema'],
  ['event/schema/properties/a|b', { type: 'string' }, 'event.schema "a|b": a name must not'],
  ['event/schema/properties/a\nb', { type: 'string' }, 'event.schema "a\\nb": a name must not'],
  ['event/schema/properties/\ud800', { type: 'string' }, 'event.schema "\\ud800": a name must not'],
  ['event/schema/properties/', { type: 'string' }, 'event.schema "": a name must not be empty'],
  [
    'event/schema/properties/_id',
    { type: 'string' },
    "event.schema `_id`: names that begin with _ are Reckon's own",
  ],
  ['event/schema/properties/ID', { type: 'string' }, 'event.schema `id` and `ID` would share the column ID'],
  [
    'event/schema/properties/user_id',
    { type: 'string' },
    'event.schema `user.id` and `user_id` would share the column',
  ],
  ['event/schema/properties/user.id', { type: 'string' }, 'event.schema has two fields called `user.id`'],
  ['event/id', undefined, 'event.id is missing'],
  ['event/id', 'nope', 'event.id names `nope`'],
  ['event/id', 'user', 'event.id names `user`'],
  ['event/id', 'amount', 'event.id `amount` must be a string or an integer'],
  ['event/key', 'tags', 'event.key `tags` must be'],
  ['event/time', 'nope', 'event.time names `nope`'],
  [
    'event/time',
    { field: 'at', format: 'rfc2822' },
    "event.time must be a field's name or { field, format }",
  ],
  ['event/time', 5, 'event.time must be'],
  ['event/decimals', { nope: 2 }, 'event.decimals names `nope`'],
  ['event/decimals', { amount: 13 }, 'event.decimals.amount '],
  ['event/decimals', { amount: 1.5 }, 'event.decimals.amount '],
  ['event/sizeMaxBytes', 0, 'event.sizeMaxBytes '],
  ['event/colour', 'red', 'event.colour is not a known setting'],
  ['aggregates', {}, 'aggregates must hold at least one aggregate'],
  [
    'aggregates/Bad Name',
    { window: { tumbling: '1h' }, measures: { n: 'count' } },
    'aggregates.Bad Name must be lower-case',
  ],
  [`${hourly}/window`, undefined, 'aggregates.hourly.window must be {'],
  [`${hourly}/window`, { tumbling: '1 hour' }, 'aggregates.hourly.window.tumbling must be a duration'],
  [`${hourly}/window`, { tumbling: 0 }, 'aggregates.hourly.window.tumbling must be a duration above zero'],
  [`${hourly}/window`, { tumbling: true }, 'aggregates.hourly.window.tumbling must be a duration'],
  [`${hourly}/window`, { hopping: '1h' }, 'aggregates.hourly.window.slide must be a duration'],
  [`${hourly}/window`, { tumbling: '1h', slide: '5m' }, 'aggregates.hourly.window.slide is not a known'],
  [`${hourly}/window`, { hopping: '1h', slide: '7m' }, 'aggregates.hourly.window.slide must divide'],
  [`${hourly}/window`, { hopping: '1h', slide: '2h' }, 'aggregates.hourly.window.slide must divide'],
  [
    `${hourly}/window`,
    { hopping: '1h', slide: 0 },
    'aggregates.hourly.window.slide must be a duration above',
  ],
  [`${hourly}/window`, { session: 0 }, 'aggregates.hourly.window.session must be a duration above zero'],
  [`${hourly}/window`, { session: '5m' }, "aggregates.hourly.window session windows need the event's key"],
  [`${hourly}/groupBy`, 'nope', 'aggregates.hourly.groupBy names `nope`'],
  [`${hourly}/groupBy`, ['id', 'tags'], 'aggregates.hourly.groupBy `tags` must be'],
  [`${hourly}/groupBy`, 'ratio', 'aggregates.hourly.groupBy `ratio` must be'],
  [`${hourly}/groupBy`, ['id', 3], "aggregates.hourly.groupBy must be a field's name or a list"],
  [`${hourly}/where`, { nope: 1 }, 'aggregates.hourly.where names `nope`'],
  [`${hourly}/where`, { tags: 1 }, 'aggregates.hourly.where.tags cannot compare'],
  [`${hourly}/where`, { id: { like: 'a' } }, 'aggregates.hourly.where.id.like is no comparison; use eq, ne,'],
  [`${hourly}/where`, { id: 5 }, 'aggregates.hourly.where.id.eq must be a string'],
  [`${hourly}/where`, { id: null }, 'aggregates.hourly.where.id.eq must be a string'],
  [`${hourly}/where`, { id: 'a\0' }, 'aggregates.hourly.where.id.eq must not hold NUL'],
  [`${hourly}/where`, { id: { in: 'a' } }, 'aggregates.hourly.where.id.in must be a list'],
  [`${hourly}/where`, { id: { in: ['a', 5] } }, 'aggregates.hourly.where.id.in must be a string'],
  [`${hourly}/where`, { id: { exists: 1 } }, 'aggregates.hourly.where.id.exists must be true or false'],
  [`${hourly}/where`, { paid: 'yes' }, 'aggregates.hourly.where.paid.eq must be a boolean'],
  [`${hourly}/where`, { amount: 0.001 }, 'aggregates.hourly.where.amount.eq must have at most 2 digits'],
  [`${hourly}/where`, { ratio: { lt: Infinity } }, 'aggregates.hourly.where.ratio.lt must be finite'],
  [`${hourly}/where`, { 'user.id': { lt: NaN } }, 'aggregates.hourly.where.user.id.lt must be finite'],
  [`${hourly}/measures`, undefined, 'aggregates.hourly.measures is missing'],
  [`${hourly}/measures`, {}, 'aggregates.hourly.measures must hold at least one measure'],
  [`${hourly}/measures/n`, 'sum', "aggregates.hourly.measures.n must be 'count', or one of"],
  [`${hourly}/measures/n`, { median: 'amount' }, "aggregates.hourly.measures.n must be 'count', or one of"],
  [`${hourly}/measures/n`, { sum: 'a', max: 'b' }, "aggregates.hourly.measures.n must be 'count', or one of"],
  [`${hourly}/measures/n`, { sum: 'nope' }, 'aggregates.hourly.measures.n names `nope`'],
  [
    `${hourly}/measures/n`,
    { sum: 'ratio' },
    'aggregates.hourly.measures.n needs exact numbers: give `ratio` a scale',
  ],
  [`${hourly}/measures/n`, { avg: 'id' }, 'aggregates.hourly.measures.n needs an integer or decimal field'],
  [`${hourly}/measures/n`, { quantile: 'id', at: 0.5 }, 'aggregates.hourly.measures.n needs an integer or'],
  [`${hourly}/measures/n`, { quantile: 'amount', at: 2 }, 'aggregates.hourly.measures.n.at '],
  [
    `${hourly}/measures/n`,
    { distinct: 'tags' },
    'aggregates.hourly.measures.n cannot tell the values of `tags`',
  ],
  [`${hourly}/measures/n`, { topK: 'id', k: 0 }, 'aggregates.hourly.measures.n.k '],
  ['event/salting', { buckets: 1 }, 'event.salting.buckets '],
  ['event/salting', { buckets: 4, keys: [] }, 'event.salting.keys '],
  ['outOfOrder', '5 parsecs', 'outOfOrder must be a duration'],
  ['allowedLateness', -1, 'allowedLateness must be a duration'],
  ['dedupHorizon', '31d', 'dedupHorizon must be at most 30d'],
  ['dedupHorizon', '1y', 'dedupHorizon must be a duration'],
  ['maxFuture', true, 'maxFuture must be a duration'],
  ['retention', { lake: '1y' }, 'retention.lake must be a duration'],
  ['retention', { warm: '1d' }, 'retention.warm is not a known setting'],
  ['retention', { hot: 'soon' }, 'retention.hot must be a duration'],
  ['retention', { hot: '8d', lake: '7d' }, 'retention.hot must be at most retention.lake'],
  ['replay', { map: 'x' }, 'replay.map must be a function'],
  ['alowedLateness', '1m', 'alowedLateness is not a known setting'],
])('%s = %j: %s', (path, value, expected) => {
  expect(messageOf(changed(path, value))).toContain(` ${expected}`);
});

it.each<[string, unknown]>([
  ['dedupHorizon', '30d'],
  ['event/time', { field: 'ratio', format: 'epoch-s' }],
  [`${hourly}/measures/n`, { count: 'tags' }],
  [`${hourly}/groupBy`, []],
  [`${hourly}/where`, { amount: { in: [] }, 'user.id': { gt: 2.5 } }],
])('%s = %j is fine', (path, value) => {
  expect(messageOf(changed(path, value))).toBe('accepted');
});

it.each([null, undefined, 5, 'x', [], {}])('%j is no definition, and says so in one line', (input) => {
  expect(messageOf(input)).toMatch(/^pipeline \(unnamed\): /);
});

it('reports all problems at once: those of one field, of several, and unknown settings beside wrong names', () => {
  const definition = {
    ...changed(`${hourly}/measures/n`, { sum: 'nope' }),
    outOfOrder: 'soon',
    dedupHorizon: '90d',
    colour: 'red',
  } as Loose;
  (definition['event'] as Loose)['id'] = 'nope';
  const message = messageOf(definition);
  for (const part of [
    'colour is not',
    'event.id names',
    'aggregates.hourly.measures.n names',
    'outOfOrder must',
    'dedupHorizon must',
  ])
    expect(message).toContain(part);
  const shapes = messageOf({ ...definition, name: 5, aggregates: { hourly: { window: {} } } });
  for (const part of [
    'name ',
    'colour is not',
    'aggregates.hourly.window.tumbling must',
    'aggregates.hourly.measures is missing',
  ])
    expect(shapes).toContain(part);
});
