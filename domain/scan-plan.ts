/**
 * What the decoder's short way (`domain/scan.ts`) may take for granted, compiled from the schema. Guarantee: there is a plan
 * only where every keyword of the schema is one whose meaning is known here, or belongs to one scalar and is checked by the
 * schema's compiler; a schema that says more has none, and its events take the long way.
 */
import type { FieldType, JsonSchema } from './field.ts';
import type { Pipeline } from './pipeline.ts';
import { compileSchema } from './schema.ts';

/** Kinds of JSON values, as bits. */
export const kinds = { string: 1, integer: 2, number: 4, boolean: 8, null: 16 } as const;

export interface ObjectPlan {
  readonly members: readonly Member[];
  /** Bits of the members that must be there. */
  readonly required: number;
  /** Whether properties that the schema does not name may be there. */
  readonly open: boolean;
}

/** One property. An object inside has a `plan`, a scalar all the rest. */
export interface Member {
  readonly name: Uint8Array;
  readonly position: number;
  readonly bit: number;
  readonly plan: ObjectPlan | null;
  /** The kinds of values that the schema lets through. */
  readonly takes: number;
  /** What the schema says besides the type. */
  readonly check: ((value: unknown) => boolean) | null;
  /** Index into the pipeline's fields; −1 for an object. */
  readonly field: number;
  readonly type: FieldType;
  readonly scale: number;
  readonly isId: boolean;
  readonly isTime: boolean;
}

const annotations = [
  'title',
  'description',
  'examples',
  'default',
  '$comment',
  '$schema',
  '$id',
  'deprecated',
];
const objectKeywords = new Set(['type', 'properties', 'required', 'additionalProperties', ...annotations]);
const checkedKeywords = [
  ...['format', 'pattern', 'minLength', 'maxLength', 'enum'],
  ...['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'],
];
const scalarKeywords = new Set(['type', ...checkedKeywords, ...annotations]);
const membersMax = 31;
const levelsMax = 16;

/** @returns null where the schema says more than is understood here. */
export function compileScanPlan(pipeline: Pipeline): ObjectPlan | null {
  const { schema } = pipeline.event;
  return typesOf(schema).every((type) => type === 'object') ? objectPlan(pipeline, schema, []) : null;
}

function objectPlan(pipeline: Pipeline, schema: JsonSchema, path: readonly string[]): ObjectPlan | null {
  const { properties = {}, required = [], additionalProperties = true } = schema;
  const names = Object.keys(properties);
  if (!Object.keys(schema).every((keyword) => objectKeywords.has(keyword))) return null;
  if (typeof additionalProperties !== 'boolean' || path.length > levelsMax) return null;
  if (names.length > membersMax || !names.every(isPlain)) return null;
  if (!required.every((name) => names.includes(name))) return null;
  const members: Member[] = [];
  for (const [position, name] of names.entries()) {
    const child = properties[name] ?? {};
    const childPath = [...path, name];
    const place = {
      name: Uint8Array.from(name, (letter) => letter.charCodeAt(0)),
      position,
      bit: 1 << position,
    };
    const isOptional = !required.includes(name);
    const member =
      child.properties === undefined
        ? scalarMember(pipeline, child, childPath, place, isOptional)
        : objectMember(pipeline, child, childPath, place, isOptional);
    if (member === null) return null;
    members.push(member);
  }
  const bits = members.filter((_, i) => required.includes(names[i] ?? '')).map(({ bit }) => bit);
  return { members, required: bits.reduce((sum, bit) => sum | bit, 0), open: additionalProperties };
}

type Place = Pick<Member, 'name' | 'position' | 'bit'>;

function objectMember(
  pipeline: Pipeline,
  schema: JsonSchema,
  path: readonly string[],
  place: Place,
  isOptional: boolean,
): Member | null {
  const types = typesOf(schema);
  if (types.length === 0 || !types.every((type) => type === 'object' || type === 'null')) return null;
  const plan = objectPlan(pipeline, schema, path);
  if (plan === null) return null;
  const takes = isOptional || types.includes('null') ? kinds.null : 0;
  const scalar = { check: null, field: -1, type: 'json', scale: 0, isId: false, isTime: false } as const;
  return { ...place, plan, takes, ...scalar };
}

function scalarMember(
  pipeline: Pipeline,
  schema: JsonSchema,
  path: readonly string[],
  place: Place,
  isOptional: boolean,
): Member | null {
  const { fields, event } = pipeline;
  const keywords = Object.keys(schema);
  if (!keywords.every((keyword) => scalarKeywords.has(keyword))) return null;
  const field = fields.findIndex((candidate) => isSame(candidate.path, path));
  const { type, scale } = fields[field] ?? {};
  if (type === undefined || scale === undefined) return null;
  const types = typesOf(schema);
  const isKnown = types.length > 0 && types.every((name) => Object.hasOwn(kinds, name));
  const { enum: listed } = schema;
  const takesNull =
    isOptional || (types.includes('null') && (!Array.isArray(listed) || listed.includes(null)));
  const takes = types
    .filter((name) => name !== 'null')
    .reduce((bits, name) => bits | kinds[name as keyof typeof kinds], takesNull ? kinds.null : 0);
  return {
    ...place,
    plan: null,
    // Without a type the schema lets everything through, and the field's own type decides: the long way.
    takes: isKnown ? takes : 0,
    check: keywords.some((keyword) => checkedKeywords.includes(keyword)) ? compileSchema(schema) : null,
    field,
    type,
    scale,
    isId: isSame(event.idPath, path),
    isTime: isSame(event.timePath, path),
  };
}

function typesOf({ type }: JsonSchema): readonly string[] {
  return typeof type === 'string' ? [type] : (type ?? []);
}

/** Names that are the same as bytes and as text, and that no object has from birth. */
function isPlain(name: string): boolean {
  return /^[\x20\x21\x23-\x5b\x5d-\x7e]+$/.test(name) && !(name in {});
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((part, i) => part === b[i]);
}
