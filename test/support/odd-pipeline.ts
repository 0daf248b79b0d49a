/** A pipeline that tries to break SQL, Redis and the fold, and the same rules as plain functions for the naive model. */
import { definePipeline } from '../../domain/pipeline.ts';
import type { PipelineInput } from '../../domain/pipeline.ts';
import type { PlainAggregate, PlainFields, PlainRules, PlainWindow } from './naive-model.ts';

/** Each aggregate twice: as a user writes it, and as a plain function. Fields have names that SQL uses itself. */
const where: Record<string, { input: Record<string, unknown>; plain: (fields: PlainFields) => boolean }> = {
  text_lt: {
    input: { shop: { lt: '\uFF5E' } },
    plain: ({ shop }) => typeof shop === 'string' && bytes(shop, '\uFF5E') < 0,
  },
  text_gte: {
    input: { shop: { gte: "it's" } },
    plain: ({ shop }) => typeof shop === 'string' && bytes(shop, "it's") >= 0,
  },
  text_eq: { input: { shop: '' }, plain: ({ shop }) => shop === '' },
  text_ne: {
    input: { shop: { ne: '\u{1F600}' } },
    plain: ({ shop }) => shop !== null && shop !== '\u{1F600}',
  },
  text_in: {
    input: { shop: { in: ['a', '"', '\\', "it's"] } },
    plain: ({ shop }) => ['a', '"', '\\', "it's"].includes(shop as string),
  },
  in_nothing: { input: { shop: { in: [] } }, plain: () => false },
  absent: { input: { 'user.region': { exists: false } }, plain: (fields) => fields['user.region'] === null },
  present: { input: { 'user.region': { exists: true } }, plain: (fields) => fields['user.region'] !== null },
  integer_range: {
    input: { late: { gt: -3, lte: 4.5 } },
    plain: ({ late }) => typeof late === 'bigint' && late > -3n && late <= 4n,
  },
  decimal_range: {
    input: { price: { gte: -0.05, lt: 10.5 } },
    plain: ({ price }) => typeof price === 'bigint' && price >= -5n && price < 1050n,
  },
  decimal_in: {
    input: { price: { in: [0.1, 0, -0.01] } },
    plain: ({ price }) => [10n, 0n, -1n].includes(price as bigint),
  },
  double_eq: {
    input: { score: { eq: 0.30000000000000004 } },
    plain: ({ score }) => score === 0.1 + 0.2,
  },
  double_lt: {
    input: { score: { lt: 0.30000000000000004 } },
    plain: ({ score }) => score !== null && (score as number) < 0.1 + 0.2,
  },
  flag: { input: { vip: true }, plain: ({ vip }) => vip === true },
  flag_lt: { input: { vip: { lt: true } }, plain: ({ vip }) => vip === false },
  both: {
    input: { vip: { ne: true }, shop: { exists: true } },
    plain: ({ vip, shop }) => vip === false && shop !== null,
  },
};

const everything = (fields: readonly string[]) =>
  Object.fromEntries(
    fields.flatMap((field) =>
      ['sum', 'count', 'min', 'max', 'avg'].map((kind) => [`${kind} of ${field}`, { [kind]: field }]),
    ),
  );

/** Measures that keep more than one integer. */
const valued = {
  'distinct shops': { distinct: 'shop' },
  'distinct prices': { distinct: 'price' },
  'distinct late': { distinct: 'late' },
  'top shops': { topK: 'shop', k: 3 },
  'top prices': { topK: 'price' },
  'top flags': { topK: 'vip', k: 1 },
  'median price': { quantile: 'price', at: 0.5 },
  'low of late': { quantile: 'late', at: 0 },
  'high of late': { quantile: 'late', at: 0.99 },
};

export const definition = {
  name: 'orders',
  event: {
    schema: {
      type: 'object',
      required: ['id', 'at'],
      properties: {
        id: { type: 'string' },
        at: { type: 'integer' },
        shop: { type: ['string', 'null'] },
        user: { type: ['object', 'null'], properties: { region: { type: ['string', 'null'] } } },
        'dotted.name': { type: ['string', 'null'] },
        price: { type: ['number', 'string', 'null'] },
        late: { type: ['integer', 'null'] },
        duplicate: { type: ['integer', 'null'] },
        score: { type: ['number', 'null'] },
        vip: { type: ['boolean', 'null'] },
        time_ms: { type: ['string', 'null'] },
        // Never set; names that the SQL might take for its own.
        hash: { type: ['string', 'null'] },
        register: { type: ['string', 'null'] },
        rank: { type: ['string', 'null'] },
        slot: { type: ['string', 'null'] },
        value: { type: ['string', 'null'] },
        watermark_ms: { type: ['string', 'null'] },
        grp: { type: ['string', 'null'] },
        window_ms: { type: ['integer', 'null'] },
        rows: { type: ['integer', 'null'] },
        'it"s': { type: ['string', 'null'] },
      },
    },
    id: 'id',
    key: 'shop',
    time: { field: 'at', format: 'epoch-ms' },
    decimals: { price: 2 },
    sizeMaxBytes: 4_000,
  },
  aggregates: {
    by_shop: {
      window: { tumbling: '5s' },
      groupBy: 'shop',
      measures: { n: 'count', ...everything(['price', 'late', 'duplicate']) },
    },
    by_many: {
      window: { tumbling: '7s' },
      groupBy: ['shop', 'user.region', 'vip', 'price', 'late', 'dotted.name'],
      measures: { n: 'count', ...everything(['price']) },
    },
    by_taken_names: {
      window: { tumbling: 1 },
      groupBy: ['grp', 'window_ms', 'it"s'],
      measures: everything(['rows', 'window_ms']),
    },
    total: { window: { tumbling: '1d' }, measures: everything(['price', 'late']) },
    hops: {
      window: { hopping: '9s', slide: '3s' },
      groupBy: 'user.region',
      measures: { n: 'count', ...everything(['late']), ...valued },
    },
    long_hops: { window: { hopping: '1m', slide: 1_500 }, measures: { n: 'count' } },
    sessions: {
      window: { session: '4s' },
      groupBy: ['vip', 'shop'],
      measures: { n: 'count', ...everything(['price']), ...valued },
    },
    values: { window: { tumbling: '13s' }, measures: valued },
    ...Object.fromEntries(
      Object.entries(where).map(([name, { input }]) => [
        name,
        { window: { tumbling: '11s' }, where: input, measures: { n: 'count' } },
      ]),
    ),
  },
  outOfOrder: '2s',
  allowedLateness: '3s',
  dedupHorizon: '10s',
  maxFuture: '1m',
} as unknown as PipelineInput;

export const pipeline = definePipeline(definition);

export const text = (value: PlainFields[string] | undefined) =>
  value === undefined || value === null ? null : String(value);
const aggregate = (
  name: string,
  window: number | PlainWindow,
  groupBy: PlainAggregate['groupBy'],
  measured: string[],
  keep: PlainAggregate['where'] = () => true,
): PlainAggregate => ({
  name,
  window: typeof window === 'number' ? { tumbling: window } : window,
  groupBy,
  where: keep,
  measured,
});
/** The slots of `valued`: the text of a value, or the integer of one whose quantile is asked for. */
const plainValued: PlainAggregate['valued'] = {
  'distinct:shop': ({ shop }) => text(shop),
  'distinct:price': ({ price }) => cents(price),
  'distinct:late': ({ late }) => text(late),
  'top:shop': ({ shop }) => text(shop),
  'top:price': ({ price }) => cents(price),
  'top:vip': ({ vip }) => text(vip),
  'quantile:price': ({ price }) => (typeof price === 'bigint' ? price : null),
  'quantile:late': ({ late }) => (typeof late === 'bigint' ? late : null),
};

export const rules: PlainRules = {
  outOfOrderMs: 2_000,
  allowedLatenessMs: 3_000,
  dedupHorizonMs: 10_000,
  aggregates: [
    aggregate('by_shop', 5_000, ({ shop }) => [text(shop)], ['price', 'late', 'duplicate']),
    aggregate(
      'by_many',
      7_000,
      (f) => [
        text(f['shop']),
        text(f['user.region']),
        text(f['vip']),
        cents(f['price']),
        text(f['late']),
        text(f['dotted.name']),
      ],
      ['price'],
    ),
    aggregate('by_taken_names', 1, (f) => [text(f['grp']), text(f['window_ms']), text(f['it"s'])], [
      'rows',
      'window_ms',
    ]),
    aggregate('total', 86_400_000, () => [], ['price', 'late']),
    {
      ...aggregate('hops', { hopping: 9_000, slide: 3_000 }, (f) => [text(f['user.region'])], ['late']),
      valued: plainValued,
    },
    aggregate('long_hops', { hopping: 60_000, slide: 1_500 }, () => [], []),
    {
      ...aggregate('sessions', { session: 4_000 }, ({ vip, shop }) => [text(vip), text(shop)], ['price']),
      valued: plainValued,
    },
    { ...aggregate('values', 13_000, () => [], []), valued: plainValued },
    ...Object.entries(where).map(([name, { plain }]) => aggregate(name, 11_000, () => [], [], plain)),
  ],
};

const bytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));

export function cents(value: PlainFields[string] | undefined): string | null {
  if (typeof value !== 'bigint') return null;
  const digits = (value < 0n ? -value : value).toString().padStart(3, '0');
  return `${value < 0n ? '-' : ''}${digits.slice(0, -2)}.${digits.slice(-2)}`;
}
