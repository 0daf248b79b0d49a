/**
 * Whether a definition may go on from counts that another one has made. Guarantee: the aggregates and every rule that they rest on are
 * the same; only optional properties were added to the schema, which no aggregate uses.
 */
import { ReckonError } from '../domain/errors.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import { compareRules, countingRulesOf } from '../domain/rules.ts';
import type { CountingRules } from '../domain/rules.ts';

/**
 * @param found rules of the state as text; '' where it says none
 * @throws ReckonError `invalid-definition` that names every change
 */
export function requireRules(pipeline: Pipeline, found: string): void {
  if (found === '') throw refused(pipeline, 'by another definition');
  const evolution = compareRules(JSON.parse(found) as CountingRules, countingRulesOf(pipeline));
  if (evolution.kind === 'refused')
    throw refused(pipeline, `by another definition: ${evolution.changes.join('; ')}`);
}

export function refused({ name }: Pipeline, how: string): ReckonError {
  return new ReckonError(
    'invalid-definition',
    `The state of pipeline ${name} in Redis was counted ${how}.`,
    'Undo the change (only optional properties can be added, and they stay), or give the pipeline a new name.',
  );
}
