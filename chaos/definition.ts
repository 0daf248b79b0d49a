/**
 * A round's pipeline, by seed: the definition as a user writes it, and the same rules as plain data for the recomputation.
 * Guarantee: pure; both say the same.
 */
import type { AggregateInput, EventInput, PipelineInput } from '../domain/definition.ts';
import type { Random } from './random.ts';
import type { PlainAggregate, PlainMeasure, PlainRules, PlainValues, PlainWindow } from './rules.ts';
import type { RoundPlan } from './schedule.ts';

export const timeFormats = ['epoch-ms', 'iso8601', 'epoch-us', 'epoch-s'] as const;

export interface Definition {
  readonly input: PipelineInput;
  readonly rules: PlainRules;
  readonly timeFormat: (typeof timeFormats)[number];
  /** Who stamps the records: the broker when it takes them, or the producer. */
  readonly stampedBy: 'broker' | 'producer';
  /** One line for people. */
  readonly summary: string;
}

export const sizeMaxBytes = 2_000;
export const amountScale = 2;
export const statuses = ['paid', 'shipped', 'open'];

/** Each filter twice: as a user writes it, and as a plain function. */
const filters: readonly {
  readonly where: NonNullable<AggregateInput['where']>;
  readonly plain: (values: PlainValues) => boolean;
}[] = [
  { where: {}, plain: () => true },
  { where: {}, plain: () => true },
  {
    where: { status: { in: ['paid', 'shipped'] } },
    plain: ({ status }) => status === 'paid' || status === 'shipped',
  },
  { where: { amount: { gt: 0 } }, plain: ({ amount }) => typeof amount === 'bigint' && amount > 0n },
  {
    where: { amount: { lte: 99.99 }, status: 'open' },
    plain: ({ amount, status }) => typeof amount === 'bigint' && amount <= 9999n && status === 'open',
  },
  { where: { vip: true }, plain: ({ vip }) => vip === true },
  { where: { country: { exists: true } }, plain: ({ country }) => country !== null },
  {
    where: { country: { ne: 'DE' }, qty: { gte: 0, lt: 12 } },
    plain: ({ country, qty }) =>
      country !== null && country !== 'DE' && typeof qty === 'bigint' && qty >= 0n && qty < 12n,
  },
  {
    where: { product: { lt: 'p3' } },
    plain: ({ product }) => typeof product === 'string' && product < 'p3',
  },
];

const groupings: readonly (readonly string[])[] = [
  [],
  ['country'],
  ['country', 'status'],
  ['qty'],
  ['vip', 'country'],
];
const keyGroupings: readonly (readonly string[])[] = [['user.id'], ['user.id', 'vip'], ['status', 'user.id']];

const measures: Readonly<Record<string, PlainMeasure>> = {
  events: 'count',
  priced: { count: 'amount' },
  revenue: { sum: 'amount' },
  pieces: { sum: 'qty' },
  smallest: { min: 'amount' },
  largest: { max: 'amount' },
  least: { min: 'qty' },
  most: { max: 'qty' },
  mean: { avg: 'amount' },
  mean_pieces: { avg: 'qty' },
  users: { distinct: 'user.id' },
  products: { distinct: 'product' },
  ids: { distinct: 'id' },
  amounts: { distinct: 'amount' },
  median: { quantile: 'amount', at: 0.5 },
  high: { quantile: 'amount', at: 0.95 },
  lowest: { quantile: 'qty', at: 0 },
  top_products: { topK: 'product', k: 3 },
  top_countries: { topK: 'country', k: 2 },
  top_quantities: { topK: 'qty', k: 5 },
};

/** One of each kind of window: tumbling, hopping and, where keys are not salted, session. */
export function defineRound(plan: RoundPlan, random: Random): Definition {
  const timeFormat = random.pick(timeFormats);
  const stampedBy = random.chance(0.5) ? 'broker' : 'producer';
  const salted = random.chance(0.3);
  const slide = random.pick([500, 1_000, 2_500, 7_000]);
  const windows: PlainWindow[] = [
    { tumbling: random.pick([1_000, 5_000, 10_000, 60_000, 3_600_000]) },
    { hopping: slide * random.integer(2, 6), slide },
    salted ? { tumbling: random.pick([333, 2_000, 86_400_000]) } : { session: random.pick([50, 400, 2_000]) },
  ];
  const aggregates = windows.map((window, i) => aggregateOf(`by_${'abc'[i]}`, window, random));
  const rules: PlainRules = {
    outOfOrderMs: random.pick([0, 100, 1_000, 3_000]),
    allowedLatenessMs: random.pick([0, 500, 5_000, 15_000]),
    // Of the broker's clock a round sees seconds, of the producers' hours.
    dedupHorizonMs:
      stampedBy === 'broker' ? random.pick([300, 2_000, 10_000]) : random.pick([0, 5_000, 60_000]),
    maxFutureMs: random.pick([5_000, 60_000]),
    scales: { amount: amountScale },
    aggregates: aggregates.map(({ rule }) => rule),
  };
  return {
    input: {
      name: `chaos-${plan.number}`,
      partitions: plan.partitions,
      event: { ...eventInput(timeFormat), ...(salted ? { salting: { buckets: random.integer(2, 8) } } : {}) },
      aggregates: Object.fromEntries(
        aggregates.map(({ rule: { name, window, groupBy, measures: chosen }, where }) => [
          name,
          { window: window, groupBy, where, measures: chosen },
        ]),
      ),
      outOfOrder: rules.outOfOrderMs,
      allowedLateness: rules.allowedLatenessMs,
      dedupHorizon: rules.dedupHorizonMs,
      maxFuture: rules.maxFutureMs,
    },
    rules,
    timeFormat,
    stampedBy,
    summary: [
      ...rules.aggregates.map(
        ({ window, groupBy, measures: chosen }) =>
          `${windowText(window)} by [${groupBy.join(', ')}] ${Object.keys(chosen).join(' ')}`,
      ),
      `outOfOrder ${rules.outOfOrderMs} allowedLateness ${rules.allowedLatenessMs} dedupHorizon ${rules.dedupHorizonMs} ms`,
      `stamped by the ${stampedBy}${salted ? ', salted' : ''}`,
    ].join('; '),
  };
}

function aggregateOf(name: string, window: PlainWindow, random: Random) {
  const { where, plain } = random.pick(filters);
  // Reading a sketch takes a thousand times as long as reading a sum, and there are many more groups in the other windows.
  const sketches = 'tumbling' in window ? 2 : random.integer(0, 1);
  let distinct = 0;
  const affordable = random
    .shuffle(Object.entries(measures))
    .filter(([, how]) => typeof how === 'string' || !('distinct' in how) || ++distinct <= sketches);
  const chosen = affordable.slice(0, random.integer(2, 5));
  const rule: PlainAggregate = {
    name,
    window,
    groupBy: random.pick('session' in window ? keyGroupings : groupings),
    where: plain,
    measures: { events: 'count', ...Object.fromEntries(chosen) },
  };
  return { rule, where };
}

const timeTypes = { 'epoch-ms': 'integer', 'epoch-us': 'integer', 'epoch-s': 'number', iso8601: 'string' };

function eventInput(timeFormat: Definition['timeFormat']): EventInput {
  return {
    schema: {
      type: 'object',
      required: ['id', 'at', 'status'],
      properties: {
        id: { type: 'string' },
        at: { type: timeTypes[timeFormat] },
        user: { type: 'object', properties: { id: { type: 'string' } } },
        country: { type: ['string', 'null'] },
        product: { type: ['string', 'null'] },
        status: { type: 'string', enum: statuses },
        amount: { type: ['number', 'string', 'null'] },
        qty: { type: ['integer', 'null'] },
        vip: { type: ['boolean', 'null'] },
      },
    },
    id: 'id',
    time: { field: 'at', format: timeFormat },
    key: 'user.id',
    decimals: { amount: amountScale },
    sizeMaxBytes,
  };
}

function windowText(window: PlainWindow): string {
  if ('tumbling' in window) return `tumbling ${window.tumbling} ms`;
  if ('session' in window) return `session ${window.session} ms`;
  return `hopping ${window.hopping}/${window.slide} ms`;
}
