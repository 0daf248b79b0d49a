/**
 * Resolves the names in a definition (`where`, `measures`) to fields. Guarantee: what comes out is consistent with the
 * schema; every problem is collected under the name of its field, so that a user sees all of them at once.
 */
import type { MeasureChoice, MeasureKind } from './aggregate.ts';
import { scaleNumber } from './decimal.ts';
import type { ComparisonInput, MeasureInput, WhereInput, WindowInput } from './definition.ts';
import { parseDurationMs } from './duration.ts';
import { ReckonError } from './errors.ts';
import type { Field, Value } from './field.ts';
import { comparisonOperators } from './filter.ts';
import type { Comparison, ComparisonOperator, Filter } from './filter.ts';
import type { Window } from './window.ts';

/** Collects what is wrong with a definition. */
export class Problems {
  readonly #list: string[] = [];

  get found(): boolean {
    return this.#list.length > 0;
  }

  add(field: string, message: string): void {
    this.#list.push(`${field} ${message}`);
  }

  unknownField(at: string, name: string, fields: readonly Field[]): void {
    this.add(
      at,
      `names \`${name}\`, which event.schema does not have (it has ${fields.map((f) => f.name).join(', ')})`,
    );
  }

  asError(pipeline: string): ReckonError {
    const list = this.#list.map((problem) => problem.replace(/\s+/g, ' '));
    return new ReckonError('invalid-definition', `pipeline ${pipeline}: ${list.join('; ')}.`);
  }
}

export function resolveFilter(
  at: string,
  where: WhereInput,
  fields: readonly Field[],
  problems: Problems,
): Filter {
  const comparisons: Comparison[] = [];
  for (const [name, condition] of Object.entries(where)) {
    const index = fields.findIndex((field) => field.name === name);
    const field = fields[index];
    if (field === undefined) {
      problems.unknownField(at, name, fields);
      continue;
    }
    if (field.type === 'json') {
      problems.add(`${at}.${name}`, 'cannot compare an object or an array');
      continue;
    }
    const operators = isPlainObject(condition) ? (condition as ComparisonInput) : { eq: condition };
    for (const [operator, operand] of Object.entries(operators)) {
      const label = `${at}.${name}.${operator}`;
      if (!comparisonOperators.includes(operator as ComparisonOperator))
        problems.add(label, `is no comparison; use ${comparisonOperators.join(', ')}`);
      else
        comparisons.push({
          field: index,
          operator: operator as ComparisonOperator,
          operand: resolveOperand(label, operator as ComparisonOperator, operand, field, problems),
        });
    }
  }
  return comparisons;
}

function resolveOperand(
  label: string,
  operator: ComparisonOperator,
  operand: unknown,
  field: Field,
  problems: Problems,
) {
  if (operator === 'exists') {
    if (typeof operand !== 'boolean') problems.add(label, 'must be true or false');
    return operand === true;
  }
  if (operator !== 'in') return constantOf(label, operand, field, problems);
  if (!Array.isArray(operand)) {
    problems.add(label, 'must be a list');
    return [];
  }
  return operand.map((item: unknown) => constantOf(label, item, field, problems));
}

function constantOf(label: string, constant: unknown, field: Field, problems: Problems): Value {
  if (field.type === 'decimal' && typeof constant === 'number') {
    const scaled = scaleNumber(constant, field.scale);
    if (scaled.ok) return scaled.scaled;
    problems.add(label, `must have at most ${field.scale} digits after the point`);
    return null;
  }
  const expected = field.type === 'string' ? 'string' : field.type === 'boolean' ? 'boolean' : 'number';
  if (typeof constant !== expected) problems.add(label, `must be a ${expected}, as \`${field.name}\` is`);
  else if (typeof constant === 'number' && !Number.isFinite(constant)) problems.add(label, 'must be finite');
  else if (typeof constant === 'string' && /[\0\p{Cs}]/u.test(constant))
    problems.add(label, 'must not hold NUL or half of a surrogate pair, which SQL cannot write');
  else return constant as Value;
  return null;
}

/** What a measure needs its field to be. */
const numericMeasures = new Set<MeasureKind>(['sum', 'min', 'max', 'avg', 'quantile']);
const discreteMeasures = new Set<MeasureKind>(['distinct', 'topK']);
const topDefault = 10;

export function resolveMeasures(
  at: string,
  measures: Readonly<Record<string, MeasureInput>>,
  fields: readonly Field[],
  problems: Problems,
): MeasureChoice[] {
  return Object.entries(measures).map(([name, input]) => {
    if (input === 'count') return { name, kind: 'count', field: -1, argument: null };
    const [kind, fieldName] = Object.entries(input)[0] as [MeasureKind, string];
    const index = fields.findIndex((field) => field.name === fieldName);
    const type = fields[index]?.type;
    if (type === undefined) problems.unknownField(`${at}.${name}`, fieldName, fields);
    else if (type === 'number' && kind !== 'count')
      problems.add(
        `${at}.${name}`,
        `needs exact numbers: give \`${fieldName}\` a scale (event.decimals: { '${fieldName}': 2 }) or the type integer`,
      );
    else if (numericMeasures.has(kind) && type !== 'integer' && type !== 'decimal')
      problems.add(`${at}.${name}`, `needs an integer or decimal field, and \`${fieldName}\` is a ${type}`);
    else if (discreteMeasures.has(kind) && type === 'json')
      problems.add(
        `${at}.${name}`,
        `cannot tell the values of \`${fieldName}\` apart: it is an object or an array`,
      );
    return { name, kind, field: index, argument: argumentOf(input) };
  });
}

function argumentOf(input: Exclude<MeasureInput, 'count'>): number | null {
  if ('quantile' in input) return input.at;
  return 'topK' in input ? (input.k ?? topDefault) : null;
}

/** Reading a window merges all of its panes, and an event shows in as many windows. */
const panesMax = 10_000;

/** @param keyField the field that becomes the Kafka key: only its events are sure to meet in one partition */
export function resolveWindow(
  at: string,
  input: WindowInput,
  groupBy: readonly number[],
  keyField: number,
  problems: Problems,
): Window {
  const duration = (name: string, value: unknown): number => {
    const parsedMs = parseDurationMs(value);
    if (parsedMs !== null && parsedMs > 0) return parsedMs;
    problems.add(`${at}.${name}`, `must be a duration above zero, such as '1m' or '1d'`);
    return 1;
  };
  if ('tumbling' in input) return { kind: 'tumbling', sizeMs: duration('tumbling', input.tumbling) };
  if ('session' in input) {
    if (!groupBy.includes(keyField))
      problems.add(
        at,
        `session windows need the event's key in groupBy: only then one partition sees all of a session`,
      );
    return { kind: 'session', gapMs: duration('session', input.session) };
  }
  const [sizeMs, slideMs] = [duration('hopping', input.hopping), duration('slide', input.slide)];
  if (sizeMs % slideMs !== 0)
    problems.add(`${at}.slide`, `must divide the window's size without a remainder`);
  else if (sizeMs / slideMs > panesMax)
    problems.add(`${at}.slide`, `must not cut a window into more than ${panesMax} panes`);
  return { kind: 'hopping', sizeMs, slideMs };
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
