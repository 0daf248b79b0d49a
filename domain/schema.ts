/**
 * The event's JSON Schema, compiled. Guarantee: a schema that cannot be compiled, or that would not be checked at once
 * (`$async`), is refused with the compiler's reason.
 */
import { Ajv } from 'ajv';
import type { ValidateFunction } from 'ajv';
import addFormats from 'ajv-formats';
import type { JsonSchema } from './field.ts';

/** @throws Error in the words of the compiler */
export function compileSchema(schema: JsonSchema): ValidateFunction {
  // An asynchronous validator answers with a promise, which would count as "valid".
  if ('$async' in schema) throw new Error('$async is not supported');
  // An absent `constructor` must not be found among Object's methods. Asked for only where needed, as it costs some speed.
  const text = JSON.stringify(schema);
  const ownProperties = Object.getOwnPropertyNames(Object.prototype).some((name) =>
    text.includes(`"${name}"`),
  );
  const ajv = new Ajv({ strict: false, allErrors: false, logger: false, ownProperties });
  addFormats.default(ajv);
  return ajv.compile(withOptionalNulls(schema));
}

/**
 * The schema in which a property that is not required may be null: for a count, null and absent are the same, as in SQL.
 * A required property may be null only where its own type says so.
 */
export function withOptionalNulls(schema: JsonSchema): JsonSchema {
  if (schema.properties === undefined) return schema;
  const required = new Set(schema.required ?? []);
  const properties = Object.entries(schema.properties).map(([name, child]): [string, JsonSchema] => {
    const inner = withOptionalNulls(child);
    return [name, required.has(name) ? inner : nullable(inner)];
  });
  return { ...schema, properties: Object.fromEntries(properties) };
}

function nullable(schema: JsonSchema): JsonSchema {
  const { type, enum: values } = schema;
  return {
    ...schema,
    ...(type === undefined ? {} : { type: [...new Set([type, 'null'].flat())] }),
    ...(Array.isArray(values) ? { enum: [...new Set([...(values as unknown[]), null])] } : {}),
  };
}
