/**
 * The shape of a definition as the user writes it, and its check by zod. Guarantee: a wrong, missing or unknown key is
 * reported under its full name.
 */
import { z } from 'zod';
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
  /** Digits after the point of each decimal field: `{ amount: 2 }`. */
  readonly decimals?: Readonly<Record<string, number>>;
  /** Longer values are dead-lettered; 256 KiB when left out. */
  readonly sizeMaxBytes?: number;
}

/** A constant means equality: `{ status: 'paid' }` is `{ status: { eq: 'paid' } }`. */
export type WhereInput = Readonly<Record<string, unknown>>;
export type ComparisonInput = Readonly<Partial<Record<ComparisonOperator, unknown>>>;

/** `'count'` counts events; `{ count: 'x' }` those where `x` is present; the others need an integer or decimal field. */
export type MeasureInput =
  | 'count'
  | { readonly count: string }
  | { readonly sum: string }
  | { readonly min: string }
  | { readonly max: string }
  | { readonly avg: string };

export interface AggregateInput {
  readonly window: { readonly tumbling: Duration };
  readonly groupBy?: string | readonly string[];
  readonly where?: WhereInput;
  readonly measures: Readonly<Record<string, MeasureInput>>;
}

export interface RetentionInput {
  readonly windows?: Duration;
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
    decimals: z.record(z.string(), z.number().int().min(0).max(12)).optional(),
    sizeMaxBytes: z.number().int().min(1).max(8_000_000).optional(),
  }),
  aggregates: z.record(
    identifier,
    z.strictObject({
      window: z.strictObject({ tumbling: duration }),
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
  else if (issue.code === 'invalid_union' && issue.path[2] === 'measures')
    problems.add(label, `must be 'count' or one of { count | sum | min | max | avg: field }`);
  else if (issue.code === 'invalid_key') problems.add(label, issue.issues[0]?.message ?? issue.message);
  else if (issue.code === 'invalid_type' && issue.message.endsWith('received undefined'))
    problems.add(label, `is missing (${issue.expected} expected)`);
  else problems.add(label, issue.message.replace(/^Invalid input: /, 'must be otherwise: '));
}
