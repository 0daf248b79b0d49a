/**
 * Reads the input of a workflow, which people type into the Temporal UI. Guarantee: nothing, null and `{}` give every
 * default; one JSON object is taken field by field; anything else fails the workflow at once, with a line that names the
 * field and says what it should be (no retry: the same input would fail again).
 */
import { ApplicationFailure } from '@temporalio/workflow';

/** Reads one field; a field that was left out arrives as null. Throws the failure of `wrongInput`. */
export type FieldReader<Value> = (value: unknown, field: string) => Value;

/** @param inputs all arguments of the workflow function, as the server passed them. */
export function readInput<Shape extends object>(
  inputs: readonly unknown[],
  readers: { readonly [Field in keyof Shape]: FieldReader<Shape[Field]> },
): Shape {
  const given = inputs.filter((input) => input !== undefined && input !== null);
  const input = given[0] ?? {};
  if (given.length > 1 || typeof input !== 'object' || Array.isArray(input))
    throw wrongInput(
      `input: must be nothing or one JSON object, not ${shown(given.length > 1 ? given : input)}.`,
    );
  const names = Object.keys(readers);
  for (const field of Object.keys(input)) {
    if (!names.includes(field))
      throw wrongInput(`${field}: no such field; this workflow takes ${names.join(', ')}.`);
  }
  const values = input as Record<string, unknown>;
  const entries = Object.entries<FieldReader<unknown>>(readers);
  return Object.fromEntries(
    entries.map(([field, read]) => [field, read(values[field] ?? null, field)]),
  ) as Shape;
}

export const optionalText: FieldReader<string | null> = (value, field) => {
  if (value === null || (typeof value === 'string' && value !== '')) return value;
  throw wrongInput(`${field}: must be a text that is not empty, not ${shown(value)}.`);
};

export function oneOf<Choice extends string>(
  choices: readonly Choice[],
  byDefault: Choice,
): FieldReader<Choice> {
  return (value, field) => {
    if (value === null) return byDefault;
    const choice = choices.find((candidate) => candidate === value);
    if (choice !== undefined) return choice;
    throw wrongInput(
      `${field}: must be ${choices.map((candidate) => `"${candidate}"`).join(' or ')}, not ${shown(value)}.`,
    );
  };
}

/** The failure's type is the code `invalid-input` of `domain/errors.ts`. */
export function wrongInput(message: string): ApplicationFailure {
  return ApplicationFailure.nonRetryable(message, 'invalid-input');
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 100 ? `${text.slice(0, 100)}…` : text;
}
