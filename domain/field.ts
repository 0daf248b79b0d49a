/**
 * The scalar fields of an event, derived from its JSON Schema. Guarantee: a field that an aggregate, the id, the time
 * or the key uses exists in the schema and has one known type; every scalar of the schema becomes a column of the lake.
 */

/** The part of JSON Schema that Reckon looks at; validation itself is left to the whole schema. */
export interface JsonSchema {
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly [keyword: string]: unknown;
}

/**
 * - `decimal`: a JSON number or a decimal string at a declared scale; its value is the integer `number × 10^scale`.
 * - `integer`: within ±(2^53 − 1).
 * - `number`: a double; it may be archived and filtered, but not summed (sums of doubles depend on their order).
 * - `json`: an object, an array or a mixture; archived as text.
 */
export type FieldType = 'string' | 'integer' | 'decimal' | 'number' | 'boolean' | 'json';

/** One scalar of an event. */
export interface Field {
  /** As the definition writes it: `user.id`. */
  readonly name: string;
  readonly path: readonly string[];
  readonly type: FieldType;
  /** Digits after the point of a `decimal`; 0 for all others. */
  readonly scale: number;
  /** Name of its column in the lake: `user_id`. */
  readonly column: string;
}

/** A field's value: `null` when absent. Decimals are integers at the field's scale. */
export type Value = string | number | boolean | null;

/**
 * Lists the scalars of a schema in the order in which they are written.
 * @param decimals scale of each decimal field, by name
 */
export function fieldsOfSchema(schema: JsonSchema, decimals: Readonly<Record<string, number>>): Field[] {
  const fields: Field[] = [];
  collect(schema, [], fields, decimals);
  return fields;
}

function collect(
  schema: JsonSchema,
  path: string[],
  into: Field[],
  decimals: Readonly<Record<string, number>>,
) {
  for (const [property, child] of Object.entries(schema.properties ?? {})) {
    const childPath = [...path, property];
    if (child.properties !== undefined) {
      collect(child, childPath, into, decimals);
      continue;
    }
    const name = childPath.join('.');
    const scale = Object.hasOwn(decimals, name) ? decimals[name] : undefined;
    const type = scale === undefined ? typeOfSchema(child) : 'decimal';
    into.push({ name, path: childPath, type, scale: scale ?? 0, column: childPath.join('_') });
  }
}

function typeOfSchema(schema: JsonSchema): FieldType {
  const types = (typeof schema.type === 'string' ? [schema.type] : (schema.type ?? [])).filter(
    (t) => t !== 'null',
  );
  if (types.length !== 1) return 'json';
  const type = types[0];
  return type === 'string' || type === 'integer' || type === 'number' || type === 'boolean' ? type : 'json';
}
