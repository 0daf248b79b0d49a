/**
 * The shape of a definition as the user writes it, and its check by zod. Guarantee: a wrong, missing or unknown key is
 * reported under its full name.
 */
import { z } from 'zod';
import { scaleMax } from './decimal.ts';
import type { Duration } from './duration.ts';
import type { JsonSchema } from './field.ts';
import type { ComparisonOperator } from './filter.ts';
import type { Problems } from './resolve.ts';
import { timeFormats } from './time.ts';
import type { TimeFormat } from './time.ts';

export interface EventInput {
  /** JSON Schema (draft 7) of one event; nested objects are written as nested `properties`. */
  readonly schema: JsonSchema;
  /** Field that identifies an event; two records of one partition with the same id count once (within `dedupHorizon`). */
  readonly id: string;
  /** Field of the event time; a plain name means ISO 8601 with offset. */
  readonly time: string | { readonly field: string; readonly format: TimeFormat };
  /** Field that becomes the Kafka key; the id when left out. */
  readonly key?: string;
  /** Spreads hot keys over several Kafka keys (`key#0` to `key#7`), chosen by the event's id; see `SaltingInput`. */
  readonly salting?: SaltingInput;
  /** Digits after the point of each decimal field: `{ amount: 2 }`. */
  readonly decimals?: Readonly<Record<string, number>>;
  /** Longer values are dead-lettered; 256 KiB when left out. */
  readonly sizeMaxBytes?: number;
}

/**
 * Each key, or each of the hot `keys`, becomes `buckets` keys, so that one partition need not take all of its events. The bucket
 * derives from the event's id alone: equal ids still meet in one partition, where they are known as duplicates.
 */
export interface SaltingInput {
  readonly buckets: number;
  /** Which keys are hot; all when left out. */
  readonly keys?: readonly string[];
}

/** A constant means equality: `{ status: 'paid' }` is `{ status: { eq: 'paid' } }`. */
export type WhereInput = Readonly<Record<string, unknown>>;
export type ComparisonInput = Readonly<Partial<Record<ComparisonOperator, unknown>>>;

/**
 * `'count'` counts events; `{ count: 'x' }` those where `x` is present; `sum`, `min`, `max`, `avg` and `quantile` need an
 * integer or decimal field. `distinct` is a sketch (standard error 0.6%), `quantile` at `at` (0 to 1) is within 0.8% of the
 * value; all others are exact, `topK` too: it keeps a count of every value, so memory grows with them.
 */
export type MeasureInput =
  | 'count'
  | { readonly count: string }
  | { readonly sum: string }
  | { readonly min: string }
  | { readonly max: string }
  | { readonly avg: string }
  | { readonly distinct: string }
  | { readonly quantile: string; readonly at: number }
  | { readonly topK: string; readonly k?: number };

/**
 * - `tumbling`: one window after the other. `hopping`: windows of that size every `slide`, which must divide it.
 * - `session`: events of a group, each at most the gap after the one before; `groupBy` must contain the event's key.
 */
export type WindowInput =
  | { readonly tumbling: Duration }
  | { readonly hopping: Duration; readonly slide: Duration }
  | { readonly session: Duration };

export interface AggregateInput {
  readonly window: WindowInput;
  readonly groupBy?: string | readonly string[];
  readonly where?: WhereInput;
  readonly measures: Readonly<Record<string, MeasureInput>>;
}

export interface RetentionInput {
  readonly windows?: Duration;
  /** How long the lake's files stay on its first, fast storage; what is older moves to the cold one. Nothing moves when left out. */
  readonly hot?: Duration;
  readonly lake?: Duration;
  readonly deadLetters?: Duration;
}

export interface PipelineInput {
  /** Lower-case letters, digits, `-` and `_`; names the Redis keys and the lake's folder. */
  readonly name: string;
  /** The Kafka topic; the pipeline's name when left out. */
  readonly topic?: string;
  /** Partitions of the topic where Reckon creates it; 4 when left out. */
  readonly partitions?: number;
  readonly event: EventInput;
  readonly aggregates: Readonly<Record<string, AggregateInput>>;
  /** How far an event may be behind the newest one before it holds back nothing any more; `5s` when left out. */
  readonly outOfOrder?: Duration;
  /** How long after its end (in event time) a window still takes events; `5m` when left out. */
  readonly allowedLateness?: Duration;
  /** How far back (in log time) an id is remembered; `1h` when left out. */
  readonly dedupHorizon?: Duration;
  /** How far ahead of the broker's clock an event time may be; `5m` when left out. */
  readonly maxFuture?: Duration;
  readonly retention?: RetentionInput;
  readonly replay?: { readonly map?: (row: Record<string, unknown>) => Record<string, unknown> };
}

const duration = z.union(
  [z.number(), z.string()],
  `must be a duration such as '30s', '5m', '1h' or a number of milliseconds`,
);
const fieldName = z.string().min(1);
const measure = z.union([
  z.literal('count'),
  z.strictObject({ count: fieldName }),
  z.strictObject({ sum: fieldName }),
  z.strictObject({ min: fieldName }),
  z.strictObject({ max: fieldName }),
  z.strictObject({ avg: fieldName }),
  z.strictObject({ distinct: fieldName }),
  z.strictObject({ quantile: fieldName, at: z.number().min(0).max(1) }),
  z.strictObject({ topK: fieldName, k: z.number().int().min(1).max(1_000).optional() }),
]);
const window = z.union([
  z.strictObject({ tumbling: duration }),
  z.strictObject({ hopping: duration, slide: duration }),
  z.strictObject({ session: duration }),
]);
const identifier = z
  .string()
  .regex(/^[a-z][a-z0-9_-]{0,62}$/, 'must be lower-case letters, digits, - or _, and begin with a letter');

const definition = z.strictObject({
  name: identifier,
  topic: z
    .string()
    .regex(/^[a-zA-Z0-9._-]{1,200}$/, 'must be a Kafka topic name')
    .optional(),
  partitions: z.number().int().min(1).max(10_000).optional(),
  event: z.strictObject({
    schema: z.looseObject({ properties: z.record(z.string(), z.looseObject({})) }),
    id: fieldName,
    time: z.union(
      [fieldName, z.strictObject({ field: fieldName, format: z.enum(timeFormats) })],
      `must be a field's name or { field, format } with a format of ${timeFormats.join(', ')}`,
    ),
    key: fieldName.optional(),
    salting: z
      .strictObject({
        buckets: z.number().int().min(2).max(1_024),
        keys: z.array(z.string().min(1)).min(1).optional(),
      })
      .optional(),
    decimals: z.record(z.string(), z.number().int().min(0).max(scaleMax)).optional(),
    sizeMaxBytes: z.number().int().min(1).max(8_000_000).optional(),
  }),
  aggregates: z.record(
    identifier,
    z.strictObject({
      window,
      groupBy: z
        .union([fieldName, z.array(fieldName)], `must be a field's name or a list of them`)
        .optional(),
      where: z.record(z.string(), z.unknown()).optional(),
      measures: z.record(z.string().min(1), measure),
    }),
  ),
  outOfOrder: duration.optional(),
  allowedLateness: duration.optional(),
  dedupHorizon: duration.optional(),
  maxFuture: duration.optional(),
  retention: z
    .strictObject({
      windows: duration.optional(),
      hot: duration.optional(),
      lake: duration.optional(),
      deadLetters: duration.optional(),
    })
    .optional(),
  replay: z
    .strictObject({ map: z.custom((value) => typeof value === 'function', 'must be a function').optional() })
    .optional(),
});

/** @returns the input, trusted from here on, or null after adding what is wrong to `problems`. */
export function parseDefinition(input: unknown, problems: Problems): PipelineInput | null {
  const parsed = definition.safeParse(input);
  const issues = parsed.error?.issues ?? [];
  for (const issue of issues) addIssue(issue, problems);
  // An unknown setting hides nothing of the others: what they say is checked, too, so that all problems show at once.
  if (!issues.every(({ code }) => code === 'unrecognized_keys')) return null;
  const trusted = input as PipelineInput;
  if (Object.keys(trusted.aggregates).length === 0)
    problems.add('aggregates', 'must hold at least one aggregate');
  for (const [name, aggregate] of Object.entries(trusted.aggregates))
    if (Object.keys(aggregate.measures).length === 0)
      problems.add(`aggregates.${name}.measures`, 'must hold at least one measure');
  return trusted;
}

function addIssue(issue: z.core.$ZodIssue, problems: Problems): void {
  const at = issue.path.join('.');
  const label = at === '' ? 'definition' : at;
  if (issue.code === 'unrecognized_keys')
    for (const key of issue.keys) problems.add(at === '' ? key : `${at}.${key}`, 'is not a known setting');
  else if (issue.code === 'invalid_union') addUnionIssue(issue, label, problems);
  else if (issue.code === 'invalid_key') problems.add(label, issue.issues[0]?.message ?? issue.message);
  else if (issue.code === 'invalid_type' && issue.message.endsWith('received undefined'))
    problems.add(label, `is missing (${issue.expected} expected)`);
  else problems.add(label, issue.message.replace(/^Invalid input: /, 'must be otherwise: '));
}

/** What windows and measures may be, where nothing better can be said. */
const choices: Readonly<Record<string, string>> = {
  measures: `must be 'count', or one of { count | sum | min | max | avg | distinct: field }, { quantile: field, at: 0.95 }, { topK: field, k: 10 }`,
  window: `must be { tumbling: '1m' }, { hopping: '1h', slide: '5m' } or { session: '30m' }`,
};

/** Of several forms, the one that was meant is the one whose settings are all there: what is wrong with it is said. */
function addUnionIssue(
  issue: Extract<z.core.$ZodIssue, { code: 'invalid_union' }>,
  label: string,
  problems: Problems,
): void {
  const [, , setting] = issue.path;
  const isWhole = issue.path.length === (setting === 'measures' ? 4 : 3);
  const choice = isWhole ? choices[String(setting)] : undefined;
  const meant = issue.errors.find((issues) => issues.length > 0 && issues.every(isInside));
  if (choice === undefined) problems.add(label, issue.message);
  else if (meant === undefined) problems.add(label, choice);
  else for (const inner of meant) addIssue({ ...inner, path: [...issue.path, ...inner.path] }, problems);
}

/** Whether an issue is about the value of a setting, rather than about settings that are missing or unknown. */
function isInside({ code, path, message }: z.core.$ZodIssue): boolean {
  return code !== 'unrecognized_keys' && path.length > 0 && !message.endsWith('received undefined');
}
