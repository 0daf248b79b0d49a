/**
 * The rules by which records were decoded and counted, as text that stays with what was made by them, and what a changed definition does
 * to them. Guarantee: pure; only optional properties that are added to event.schema are let through, everything else is named.
 * Fields go by their names, so that the order of properties, and indexes that shift, change nothing.
 */
import type { Aggregate } from './aggregate.ts';
import type { JsonSchema } from './field.ts';
import type { Pipeline } from './pipeline.ts';

/** What a decoded record depends on. */
export interface DecodingRules {
  readonly topic: string;
  readonly schema: JsonSchema;
  /** By the names that a definition gives them; each as one text or null. */
  readonly settings: Readonly<Record<string, string | number | null>>;
  /** Scale of each decimal field. */
  readonly decimals: Readonly<Record<string, number>>;
}

/** What a count depends on. */
export interface CountingRules extends DecodingRules {
  /** By name; each as text. */
  readonly aggregates: Readonly<Record<string, string>>;
}

/** What a definition comes to beside the rules of a lake or a state. */
export type Evolution =
  | { readonly kind: 'same' }
  /** Names of the properties that were added, at least one. */
  | { readonly kind: 'widened'; readonly added: readonly string[] }
  /** Each change in words that begin with its place: `event.schema.properties.amount: type changed from …`. */
  | { readonly kind: 'refused'; readonly changes: readonly string[] };

export function decodingRulesOf({ topic, event, fields, maxFutureMs }: Pipeline): DecodingRules {
  const { salting } = event;
  return {
    topic,
    schema: event.schema,
    settings: {
      'event.id': event.idPath.join('.'),
      'event.time': `${event.timePath.join('.')} (${event.timeFormat})`,
      'event.key': event.keyPath.join('.'),
      'event.salting': salting === null ? null : canonical(salting),
      'event.sizeMaxBytes': event.sizeMaxBytes,
      maxFuture: maxFutureMs,
    },
    decimals: Object.fromEntries(
      fields.flatMap(({ name, type, scale }) => (type === 'decimal' ? [[name, scale]] : [])),
    ),
  };
}

export function countingRulesOf(pipeline: Pipeline): CountingRules {
  const { outOfOrderMs, allowedLatenessMs, dedupHorizonMs } = pipeline;
  const decoding = decodingRulesOf(pipeline);
  return {
    ...decoding,
    settings: {
      ...decoding.settings,
      outOfOrder: outOfOrderMs,
      allowedLateness: allowedLatenessMs,
      dedupHorizon: dedupHorizonMs,
    },
    aggregates: Object.fromEntries(
      pipeline.aggregates.map((aggregate) => [aggregate.name, aggregateText(aggregate, pipeline)]),
    ),
  };
}

/** An aggregate with the names of its fields in the place of their indexes. */
function aggregateText(aggregate: Aggregate, { fields }: Pipeline): string {
  const nameOf = (index: number) => fields[index]?.name ?? null;
  const named = <T extends { readonly field: number }>(list: readonly T[]) =>
    list.map((item) => ({ ...item, field: nameOf(item.field) }));
  return canonical({
    ...aggregate,
    groupBy: aggregate.groupBy.map(nameOf),
    where: named(aggregate.where),
    measures: named(aggregate.measures),
    slots: named(aggregate.slots),
  });
}

/** JSON with sorted keys: equal rules are equal texts. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, child: unknown) =>
    typeof child === 'object' && child !== null && !Array.isArray(child)
      ? Object.fromEntries(Object.entries(child).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
      : child,
  );
}

/** @param before by which rows or counts were made @param after of the definition as it is now */
export function compareRules<Rules extends DecodingRules | CountingRules>(
  before: Rules,
  after: Rules,
): Evolution {
  const found: Found = { added: [], gone: [], changes: [] };
  const { added, gone, changes } = found;
  if (before.topic !== after.topic) changes.push(`topic: changed from ${before.topic} to ${after.topic}`);
  compareSchemas('event.schema', [], before.schema, after.schema, found);
  compareValues('', before.settings, after.settings, changes);
  // The scale of a property comes and goes with it.
  const scales = (decimals: DecodingRules['decimals'], paths: readonly string[]) =>
    Object.fromEntries(
      Object.entries(decimals).filter(
        ([name]) => !paths.some((path) => name === path || name.startsWith(`${path}.`)),
      ),
    );
  compareValues('event.decimals.', scales(before.decimals, gone), scales(after.decimals, added), changes);
  if ('aggregates' in before && 'aggregates' in after)
    compareAggregates(before.aggregates, after.aggregates, changes);
  if (changes.length > 0) return { kind: 'refused', changes };
  return added.length > 0 ? { kind: 'widened', added } : { kind: 'same' };
}

/** What a comparison comes to: paths of properties, and changes that are refused. */
interface Found {
  readonly added: string[];
  readonly gone: string[];
  readonly changes: string[];
}

/** Goes down where both have properties: only there may one be added. */
function compareSchemas(
  at: string,
  path: readonly string[],
  before: JsonSchema,
  after: JsonSchema,
  found: Found,
): void {
  const { added, gone, changes } = found;
  for (const keyword of keysOf(before, after)) {
    const [old, now] = [own(before, keyword), own(after, keyword)];
    if (keyword === 'properties' && isObject(old) && isObject(now)) continue;
    if (canonical(old) === canonical(now)) continue;
    if (keyword === 'required') changes.push(...compareRequired(at, old, now));
    else changes.push(`${at}: ${keyword} ${changeOf(old, now)}`);
  }
  const [old, now] = [own(before, 'properties'), own(after, 'properties')];
  if (!isObject(old) || !isObject(now)) return;
  for (const name of keysOf(old, now)) {
    const [was, is] = [own(old, name) as JsonSchema | undefined, own(now, name) as JsonSchema | undefined];
    const place = `${at}.properties.${name}`;
    const inner = [...path, name];
    if (is === undefined) {
      gone.push(inner.join('.'));
      changes.push(`${place}: removed`);
    } else if (was !== undefined) compareSchemas(place, inner, was, is, found);
    else if (isClosed(before))
      changes.push(`${place}: added where other properties than those named were refused until now`);
    else if (isRequired(before, name)) changes.push(`${place}: added, and required`);
    // Where it is required from now on, that is named.
    else added.push(inner.join('.'));
  }
}

/** Whether records with a property that the schema does not name were refused, or looked at. */
function isClosed(schema: JsonSchema): boolean {
  const { additionalProperties = true, unevaluatedProperties = true } = schema;
  return additionalProperties !== true || unevaluatedProperties !== true;
}

function compareRequired(at: string, old: unknown, now: unknown): string[] {
  const [before, after] = [namesOf(old), namesOf(now)];
  return [
    ...after.filter((name) => !before.includes(name)).map((name) => `${at}.required: ${name} added`),
    ...before.filter((name) => !after.includes(name)).map((name) => `${at}.required: ${name} removed`),
  ];
}

function isRequired(schema: JsonSchema, name: string): boolean {
  return namesOf(schema.required).includes(name);
}

function namesOf(required: unknown): string[] {
  return Array.isArray(required) ? (required as string[]) : [];
}

function compareValues(
  prefix: string,
  before: Readonly<Record<string, string | number | null>>,
  after: Readonly<Record<string, string | number | null>>,
  changes: string[],
): void {
  for (const name of keysOf(before, after)) {
    const [old, now] = [own(before, name), own(after, name)];
    if (old !== now) changes.push(`${prefix}${name}: ${changeOf(old ?? undefined, now ?? undefined)}`);
  }
}

function compareAggregates(
  before: CountingRules['aggregates'],
  after: CountingRules['aggregates'],
  changes: string[],
): void {
  for (const name of keysOf(before, after)) {
    const [old, now] = [own(before, name), own(after, name)] as [string | undefined, string | undefined];
    if (old === now) continue;
    const what = old === undefined ? 'added' : now === undefined ? 'removed' : 'changed';
    changes.push(`aggregates.${name}: ${what}`);
  }
}

function changeOf(old: unknown, now: unknown): string {
  if (old === undefined) return `added (${show(now)})`;
  return now === undefined ? `removed (it was ${show(old)})` : `changed from ${show(old)} to ${show(now)}`;
}

function show(value: unknown): string {
  const text = typeof value === 'string' ? value : canonical(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

function keysOf(a: object, b: object): string[] {
  return [...new Set([...Object.keys(a), ...Object.keys(b)])];
}

/** A property may be called as one of Object's methods. */
function own(value: object, name: string): unknown {
  return Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
