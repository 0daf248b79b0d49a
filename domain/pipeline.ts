/**
 * The pipeline's definition: what a user writes in one short file and every process reads.
 * Guarantee: `definePipeline` returns a complete, consistent `Pipeline` or throws one `ReckonError` that names every
 * wrong field and what it should be.
 */
import { slotsOfMeasures } from './aggregate.ts';
import type { Aggregate } from './aggregate.ts';
import { parseDefinition } from './definition.ts';
import type {
  AggregateInput,
  EventInput,
  PipelineInput,
  RetentionInput,
  SaltingInput,
} from './definition.ts';
import { parseDurationMs } from './duration.ts';
import { fieldsOfSchema } from './field.ts';
import type { Field } from './field.ts';
import type { Filter } from './filter.ts';
import { Problems, resolveFilter, resolveMeasures, resolveWindow } from './resolve.ts';
import { compileSchema } from './schema.ts';
import { timeFormats } from './time.ts';
import type { TimeFormat } from './time.ts';
import { doubleViewColumn } from './view-columns.ts';

export type { AggregateInput, EventInput, PipelineInput } from './definition.ts';
export { saltedKey } from './salting.ts';

/** A validated definition with every default filled in; times in milliseconds. */
export interface Pipeline {
  readonly name: string;
  readonly topic: string;
  readonly deadLetterTopic: string;
  readonly lateTopic: string;
  /** How many partitions the topic gets where Reckon creates it. */
  readonly partitions: number;
  readonly event: {
    readonly schema: EventInput['schema'];
    readonly idPath: readonly string[];
    readonly timePath: readonly string[];
    readonly timeFormat: TimeFormat;
    readonly keyPath: readonly string[];
    readonly salting: SaltingInput | null;
    readonly sizeMaxBytes: number;
  };
  readonly fields: readonly Field[];
  readonly aggregates: readonly Aggregate[];
  readonly outOfOrderMs: number;
  readonly allowedLatenessMs: number;
  readonly dedupHorizonMs: number;
  readonly maxFutureMs: number;
  readonly retentionMs: {
    readonly windows: number;
    /** Null where nothing of the lake ever becomes cold. */
    readonly hot: number | null;
    readonly lake: number;
    readonly deadLetters: number;
  };
  /** Turns a row of a replayed file into an event (see `npm run replay`). */
  readonly replayMap: ((row: Record<string, unknown>) => Record<string, unknown>) | null;
}

const defaults = {
  partitions: 4,
  sizeMaxBytes: 262_144,
  outOfOrder: '5s',
  allowedLateness: '5m',
  dedupHorizon: '1h',
  maxFuture: '5m',
  retention: { windows: '7d', lake: '90d', deadLetters: '30d' },
} as const;

/** The dedup index keeps log times in 32 bits of milliseconds (`stream/dedup-index.ts`), which is 49 days. */
const dedupHorizonMaxMs = 30 * 86_400_000;

/** @throws ReckonError `invalid-definition`: every problem, each beginning with the field's name. */
export function definePipeline(input: PipelineInput): Pipeline {
  const problems = new Problems();
  const parsed = parseDefinition(input, problems);
  if (parsed === null) throw problems.asError(nameOf(input));
  const { event } = parsed;
  const fields = fieldsOfSchema(event.schema, event.decimals ?? {});
  checkFields(fields, event, problems);
  const time =
    typeof event.time === 'string' ? { field: event.time, format: 'iso8601' as const } : event.time;
  if (!timeFormats.includes(time.format))
    problems.add('event.time.format', `must be one of ${timeFormats.join(', ')}`);

  const duration = (name: string, value: unknown): number => {
    const parsedMs = parseDurationMs(value);
    if (parsedMs === null)
      problems.add(name, `must be a duration such as '30s', '5m', '1h' or a number of milliseconds`);
    return parsedMs ?? 0;
  };
  const retention: RetentionInput = { ...defaults.retention, ...parsed.retention };
  const allowedLatenessMs = duration('allowedLateness', parsed.allowedLateness ?? defaults.allowedLateness);
  const pipeline: Pipeline = {
    name: parsed.name,
    topic: parsed.topic ?? parsed.name,
    deadLetterTopic: `${parsed.topic ?? parsed.name}.dead-letter`,
    lateTopic: `${parsed.topic ?? parsed.name}.late`,
    partitions: parsed.partitions ?? defaults.partitions,
    event: {
      schema: event.schema,
      idPath: pathOf(fields, event.id),
      timePath: pathOf(fields, time.field),
      timeFormat: time.format,
      keyPath: pathOf(fields, event.key ?? event.id),
      salting: event.salting ?? null,
      sizeMaxBytes: event.sizeMaxBytes ?? defaults.sizeMaxBytes,
    },
    fields,
    aggregates: Object.entries(parsed.aggregates).map(([name, aggregate]) =>
      resolveAggregate(name, aggregate, fields, event, allowedLatenessMs, problems),
    ),
    outOfOrderMs: duration('outOfOrder', parsed.outOfOrder ?? defaults.outOfOrder),
    allowedLatenessMs,
    dedupHorizonMs: duration('dedupHorizon', parsed.dedupHorizon ?? defaults.dedupHorizon),
    maxFutureMs: duration('maxFuture', parsed.maxFuture ?? defaults.maxFuture),
    retentionMs: {
      windows: duration('retention.windows', retention.windows),
      hot: retention.hot === undefined ? null : duration('retention.hot', retention.hot),
      lake: duration('retention.lake', retention.lake),
      deadLetters: duration('retention.deadLetters', retention.deadLetters),
    },
    replayMap: parsed.replay?.map ?? null,
  };
  if (pipeline.dedupHorizonMs > dedupHorizonMaxMs) problems.add('dedupHorizon', 'must be at most 30d');
  const { hot, lake } = pipeline.retentionMs;
  if (hot !== null && hot > lake) problems.add('retention.hot', 'must be at most retention.lake');
  if (lake < 2 * pipeline.dedupHorizonMs)
    problems.add(
      'retention.lake',
      'must be at least twice dedupHorizon, or nothing whole would be left to compare with',
    );
  if (problems.found) throw problems.asError(pipeline.name);
  return pipeline;
}

/** @returns the field's index, or −1. */
export function fieldIndex(fields: readonly Field[], name: string): number {
  return fields.findIndex((field) => field.name === name);
}

/** A property's own name may hold a dot, so the schema decides where a field is, not its name. */
function pathOf(fields: readonly Field[], name: string): readonly string[] {
  return fields[fieldIndex(fields, name)]?.path ?? name.split('.');
}

function resolveAggregate(
  name: string,
  input: AggregateInput,
  fields: readonly Field[],
  event: EventInput,
  allowedLatenessMs: number,
  problems: Problems,
): Aggregate {
  const at = `aggregates.${name}`;
  const groupBy = (typeof input.groupBy === 'string' ? [input.groupBy] : (input.groupBy ?? [])).map(
    (field) => {
      const index = fieldIndex(fields, field);
      if (index < 0) problems.unknownField(`${at}.groupBy`, field, fields);
      else if (fields[index]?.type === 'json' || fields[index]?.type === 'number')
        problems.add(`${at}.groupBy`, `\`${field}\` must be a string, an integer, a boolean or a decimal`);
      return index;
    },
  );
  const where: Filter = resolveFilter(`${at}.where`, input.where ?? {}, fields, problems);
  const keyField = fieldIndex(fields, event.key ?? event.id);
  const window = resolveWindow(`${at}.window`, input.window, groupBy, keyField, problems);
  if (window.kind === 'session' && event.salting !== undefined)
    problems.add(
      `${at}.window`,
      `session windows need all events of a key in one partition: leave event.salting out`,
    );
  const { slots, measures } = slotsOfMeasures(
    window,
    resolveMeasures(`${at}.measures`, input.measures, fields, problems),
    fields,
  );
  const double = doubleViewColumn({ groupBy, measures }, fields);
  if (double !== null)
    problems.add(
      `${at}.measures`,
      `two columns of its batch view would be called \`${double}\` (case does not tell them apart): rename a measure`,
    );
  return {
    name,
    window,
    groupBy,
    where,
    measures,
    slots,
    allowedLatenessMs,
  };
}

function checkFields(fields: readonly Field[], event: EventInput, problems: Problems): void {
  for (const name of Object.keys(event.decimals ?? {}))
    if (fieldIndex(fields, name) < 0) problems.unknownField('event.decimals', name, fields);
  const time = typeof event.time === 'string' ? event.time : event.time.field;
  const roles = {
    'event.id': event.id,
    'event.time': time,
    ...(event.key === undefined ? {} : { 'event.key': event.key }),
  };
  for (const [role, name] of Object.entries(roles)) {
    const field = fields[fieldIndex(fields, name)];
    if (field === undefined) problems.unknownField(role, name, fields);
    else if (role !== 'event.time' && field.type !== 'string' && field.type !== 'integer')
      problems.add(role, `\`${name}\` must be a string or an integer in event.schema`);
  }
  checkNames(fields, problems);
  try {
    compileSchema(event.schema);
  } catch (error) {
    problems.add('event.schema', `is no valid JSON Schema: ${(error as Error).message}`);
  }
}

/** Names become columns of the lake and, as `<slot>|<group>`, fields of Redis hashes. */
function checkNames(fields: readonly Field[], problems: Problems): void {
  const columns = new Map<string, string>();
  for (const { name, path, column } of fields) {
    const twin = columns.get(column.toLowerCase());
    if (twin !== undefined)
      problems.add('event.schema', `\`${twin}\` and \`${name}\` would share the column ${column}`);
    else if (fields.filter((other) => other.name === name).length > 1)
      problems.add('event.schema', `has two fields called \`${name}\``);
    if (column.startsWith('_'))
      problems.add('event.schema', `\`${name}\`: names that begin with _ are Reckon's own`);
    if (/[|\p{Cc}\p{Cs}]/u.test(name) || path.includes(''))
      problems.add(
        'event.schema',
        `${JSON.stringify(name)}: a name must not be empty nor hold | or control characters`,
      );
    columns.set(column.toLowerCase(), name);
  }
}

function nameOf(input: unknown): string {
  const name = (input as { name?: unknown } | null)?.name;
  return typeof name === 'string' ? name : '(unnamed)';
}

/** What a decoded record depends on, as text: rows decoded by different rules must never mix. */
export function decodingRules({ topic, event, fields, maxFutureMs }: Pipeline): string {
  return JSON.stringify([topic, event, fields, maxFutureMs]);
}

/** What a count depends on, as text: a state counted by other rules must never be added to. */
export function countingRules(pipeline: Pipeline): string {
  const { aggregates, outOfOrderMs, allowedLatenessMs, dedupHorizonMs } = pipeline;
  return JSON.stringify([
    decodingRules(pipeline),
    aggregates,
    outOfOrderMs,
    allowedLatenessMs,
    dedupHorizonMs,
  ]);
}
