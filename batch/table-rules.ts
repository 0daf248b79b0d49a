/**
 * The rules by which a lake's rows were decoded, in the properties of its table, and what a definition may do to them. Guarantee: a table
 * only ever gains nullable columns; every row was decoded by the rules that the table had when the row was committed; pure.
 */
import { createHash } from 'node:crypto';
import { ReckonError } from '../domain/errors.ts';
import { decodingRules } from '../domain/pipeline.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import { canonical, compareRules, decodingRulesOf } from '../domain/rules.ts';
import type { DecodingRules } from '../domain/rules.ts';
import { schemaString } from './delta-actions.ts';
import type { DeltaColumn, MetaData } from './delta-actions.ts';

/** Hash of the rules: all that tables say which were made before fields could be added. */
const hashProperty = 'reckon.decodingRules';
/** The rules themselves. */
const rulesProperty = 'reckon.rules';
/** Names the topic that the table holds, by Kafka's id; '' where the broker gave none. */
const topicProperty = 'reckon.topicId';

export function propertiesOf(pipeline: Pipeline, topicId: string | null): Record<string, string> {
  return { ...rulesOf(pipeline), [topicProperty]: topicId ?? '' };
}

function rulesOf(pipeline: Pipeline): Record<string, string> {
  return {
    [hashProperty]: createHash('sha256').update(decodingRules(pipeline)).digest('hex'),
    [rulesProperty]: canonical(decodingRulesOf(pipeline)),
  };
}

export function topicIdOf(metaData: MetaData | null): string | null {
  return metaData?.configuration[topicProperty] || null;
}

/**
 * What a table has to become before rows of this definition may be in it.
 * @param columns of the definition
 * @returns null where it is so already
 * @throws ReckonError `invalid-definition` that names every change which is more than an added optional property
 */
export function planWidening(
  found: MetaData,
  pipeline: Pipeline,
  columns: readonly DeltaColumn[],
): MetaData | null {
  const rules = rulesOf(pipeline);
  requireRules(found, pipeline, ['same', 'widened']);
  const schema = JSON.parse(found.schemaString) as { fields: { name: string }[] };
  const known = new Set(schema.fields.map(({ name }) => name));
  const added = JSON.parse(schemaString(columns.filter(({ name }) => !known.has(name)))) as typeof schema;
  if (added.fields.length === 0 && found.configuration[rulesProperty] === rules[rulesProperty]) return null;
  return {
    ...found,
    schemaString: JSON.stringify({ ...schema, fields: [...schema.fields, ...added.fields] }),
    configuration: { ...found.configuration, ...rules },
  };
}

/** @throws ReckonError `invalid-definition` where the table has other rules than those of this definition, if only more fields */
export function requireSameRules(found: MetaData | null, pipeline: Pipeline): void {
  if (found !== null) requireRules(found, pipeline, ['same']);
}

function requireRules({ configuration }: MetaData, pipeline: Pipeline, allowed: readonly string[]): void {
  const mine = rulesOf(pipeline);
  const { [hashProperty]: hash, [rulesProperty]: text } = configuration;
  if (text === mine[rulesProperty]) return;
  if (text === undefined) {
    if (hash === undefined || hash === mine[hashProperty]) return;
    throw refused(pipeline, 'from another topic or schema, or by other rules of decoding');
  }
  const evolution = compareRules(JSON.parse(text) as DecodingRules, decodingRulesOf(pipeline));
  if (allowed.includes(evolution.kind)) return;
  const changes =
    evolution.kind === 'refused'
      ? evolution.changes
      : evolution.kind === 'widened'
        ? evolution.added.map((name) => `${name}: not in the lake`)
        : [];
  throw refused(pipeline, `by other rules: ${changes.join('; ')}`);
}

function refused({ name }: Pipeline, how: string): ReckonError {
  return new ReckonError(
    'invalid-definition',
    `The lake of pipeline ${name} was written ${how}.`,
    'Undo the change (only optional properties can be added, and they stay), or give the pipeline a new name.',
  );
}
