/**
 * The decoder's short way: reads an ordinary event straight from its bytes, with no object of JSON in between. Guarantee:
 * it takes only what the long way (`domain/decode.ts`: JSON.parse and the whole schema) would take, with the same outcome.
 * Whatever is out of the ordinary (escapes, repeated properties, exponents, anything that breaks the schema) is left to the
 * long way, which alone rejects. `test/property/scan.test.ts` holds the two equal.
 */
import { scaleNumber, scaleText } from './decimal.ts';
import type { Value } from './field.ts';
import type { Pipeline } from './pipeline.ts';
import { compileScanPlan, kinds } from './scan-plan.ts';
import type { Member, ObjectPlan } from './scan-plan.ts';
import { found, ScannedFields } from './scanned-fields.ts';

/** Bytes → text, or null when the bytes are not UTF-8. Injected, as `domain/` knows no platform. */
export type ReadText = (value: Uint8Array) => string | null;

/** What ends or refuses a text: its closing quote, a backslash, control characters, anything but ASCII. */
const ordinary = Uint8Array.from({ length: 256 }, (_, code) =>
  code >= 0x20 && code < 0x80 && code !== 0x22 && code !== 0x5c ? 1 : 0,
);
const powersOfTen = Array.from({ length: 17 }, (_, exponent) => Number(`1e${exponent}`));
const digitsMax = 16;
const [quote, comma, colon, minus, point, opening, closing] = [0x22, 0x2c, 0x3a, 0x2d, 0x2e, 0x7b, 0x7d];
const [zero, letterE, letterF, letterN, letterT] = [0x30, 0x65, 0x66, 0x6e, 0x74];
/** Stands for an id that is a text: which one is asked for by who keeps it. */
const textId = '';
/** Every scan returns where it ended, or this where it leaves the event to the long way. */
const left = -1;

/** @returns null for a schema of which only the long way knows the meaning. */
export function createScanner(pipeline: Pipeline): EventScanner | null {
  const plan = compileScanPlan(pipeline);
  return plan === null ? null : new EventScanner(plan, pipeline.fields.length);
}

export class EventScanner {
  readonly #plan: ObjectPlan;
  #readText: ReadText = () => null;
  #text: string | null = null;
  #number = 0;
  /** Where the event is in the bytes that were given. */
  #from = 0;
  #to = 0;
  #idFrom = 0;
  #idTo = 0;
  /** What the last `take` that returned true has read. */
  readonly fields: ScannedFields;
  /** As JSON holds them, undefined where absent; of an id that is a text only that it is one (`textId`). */
  id: unknown;
  time: unknown;

  constructor(plan: ObjectPlan, fields: number) {
    this.#plan = plan;
    this.fields = new ScannedFields(fields);
  }

  /**
   * @param from @param to where the event is in the bytes; those after it are never part of what is read
   * @returns whether the event was read; it is ASCII then
   */
  take(bytes: Uint8Array, from: number, to: number, readText: ReadText): boolean {
    this.#text = null;
    this.#readText = readText;
    this.#from = from;
    this.#to = to;
    this.id = undefined;
    this.time = undefined;
    const { what } = this.fields;
    for (let field = 0; field < what.length; field++) what[field] = found.nothing;
    let end = this.#object(bytes, skipSpace(bytes, from), this.#plan);
    // Nothing behind the object's last brace was looked at: what ends in the event has been read of the event alone.
    if (end === left || end > to) return false;
    while (end < to && isSpace(bytes[end] ?? 0)) end++;
    return end === to;
  }

  /** The values of the event that was taken. @param text the event's */
  valuesIn(text: string): Value[] {
    return this.fields.values(text, this.#from);
  }

  /** The id of the event that was taken. @param text the event's */
  idIn(text: string): string {
    const from = this.#from;
    return this.id === textId ? text.slice(this.#idFrom - from, this.#idTo - from) : String(this.id);
  }

  /** @param at where the object's brace should be */
  #object(bytes: Uint8Array, at: number, plan: ObjectPlan): number {
    if (bytes[at] !== opening) return left;
    const { members } = plan;
    let seen = 0;
    let expected = 0;
    at = skipSpace(bytes, at + 1);
    if (bytes[at] === closing) return plan.required === 0 ? at + 1 : left;
    for (;;) {
      if (bytes[at] !== quote) return left;
      // Producers write the properties of all their events in one order: the next one is most likely the expected one.
      let member = members[expected];
      if (member === undefined || !isNamed(bytes, at + 1, member.name)) member = find(bytes, at + 1, members);
      if (member === undefined) {
        if (!plan.open) return left;
        at = endOfText(bytes, at + 1);
      } else {
        if ((seen & member.bit) !== 0) return left;
        seen |= member.bit;
        expected = member.position + 1;
        at += member.name.length + 1;
      }
      if (at === left) return left;
      at = skipSpace(bytes, at + 1);
      if (bytes[at] !== colon) return left;
      at = skipSpace(bytes, at + 1);
      at = member === undefined ? this.#ignored(bytes, at) : this.#value(bytes, at, member);
      if (at === left) return left;
      at = skipSpace(bytes, at);
      if (bytes[at] === closing) return (seen & plan.required) === plan.required ? at + 1 : left;
      if (bytes[at] !== comma) return left;
      at = skipSpace(bytes, at + 1);
    }
  }

  #value(bytes: Uint8Array, at: number, member: Member): number {
    const first = bytes[at];
    if (first === quote) {
      const end = endOfText(bytes, at + 1);
      if (end === left || !this.#takeText(bytes, member, at + 1, end)) return left;
      return end + 1;
    }
    if (first === opening) return member.plan === null ? left : this.#object(bytes, at, member.plan);
    if (first === letterN) return (member.takes & kinds.null) === 0 ? left : endOfNull(bytes, at);
    if (first === letterT || first === letterF) {
      const end = first === letterT ? endOfTrue(bytes, at) : endOfFalse(bytes, at);
      return end !== left && this.#takeBoolean(member, first === letterT) ? end : left;
    }
    const end = this.#scanNumber(bytes, at);
    return end !== left && this.#takeNumber(member, this.#number) ? end : left;
  }

  /** The value of a property that the schema does not name. */
  #ignored(bytes: Uint8Array, at: number): number {
    const first = bytes[at];
    if (first === quote) {
      const end = endOfText(bytes, at + 1);
      return end === left ? left : end + 1;
    }
    if (first === letterN) return endOfNull(bytes, at);
    if (first === letterT) return endOfTrue(bytes, at);
    if (first === letterF) return endOfFalse(bytes, at);
    return this.#scanNumber(bytes, at);
  }

  #takeText(bytes: Uint8Array, member: Member, from: number, to: number): boolean {
    if ((member.takes & kinds.string) === 0) return false;
    const { fields } = this;
    const { field, type } = member;
    if (member.check !== null || member.isTime || type === 'decimal') {
      // The only texts of which something has to be known. Up to here all is ASCII, so bytes and characters count alike.
      this.#text ??= this.#readText(bytes.subarray(this.#from, this.#to));
      if (this.#text === null) return false;
      const value = this.#text.slice(from - this.#from, to - this.#from);
      if (member.check !== null && !member.check(value)) return false;
      if (member.isTime) this.time = value;
      if (type === 'decimal') {
        const scaled = scaleText(value, member.scale);
        if (scaled === null || !scaled.ok) return false;
        fields.what[field] = found.number;
        fields.numbers[field] = scaled.scaled;
      }
    }
    if (member.isId) {
      this.id = textId;
      this.#idFrom = from;
      this.#idTo = to;
    }
    if (type === 'decimal') return true;
    fields.what[field] = found.text;
    fields.from[field] = from;
    fields.to[field] = to;
    return type === 'string';
  }

  #takeNumber(member: Member, value: number): boolean {
    const isWhole = (member.takes & kinds.number) === 0;
    if (isWhole && ((member.takes & kinds.integer) === 0 || !Number.isInteger(value))) return false;
    if (member.check !== null && !member.check(value)) return false;
    if (member.isId) this.id = value;
    if (member.isTime) this.time = value;
    const { what, numbers } = this.fields;
    const { field } = member;
    what[field] = found.number;
    switch (member.type) {
      case 'integer':
        // Whole, as its schema says, and of no more digits than are safe, as it was scanned.
        numbers[field] = value === 0 ? 0 : value;
        return true;
      case 'decimal': {
        const scaled = scaleNumber(value, member.scale);
        if (!scaled.ok) return false;
        numbers[field] = scaled.scaled;
        return true;
      }
      case 'number':
        numbers[field] = value;
        return true;
      default:
        return false;
    }
  }

  #takeBoolean(member: Member, value: boolean): boolean {
    if ((member.takes & kinds.boolean) === 0 || member.type !== 'boolean') return false;
    if (member.check !== null && !member.check(value)) return false;
    this.fields.what[member.field] = found.boolean;
    this.fields.numbers[member.field] = value ? 1 : 0;
    return true;
  }

  /**
   * A number whose digits are a safe integer, perhaps divided by a power of ten: both are exact doubles, and division rounds
   * correctly, so the quotient is the double that JSON.parse reads.
   */
  #scanNumber(bytes: Uint8Array, at: number): number {
    const isNegative = bytes[at] === minus;
    if (isNegative) at++;
    const begin = at;
    let digits = 0;
    let code = bytes[at] ?? 0;
    while (code >= zero && code <= 0x39) {
      digits = digits * 10 + (code - zero);
      code = bytes[++at] ?? 0;
    }
    const whole = at - begin;
    if (whole === 0 || (whole > 1 && bytes[begin] === zero)) return left;
    let fraction = 0;
    if (code === point) {
      code = bytes[++at] ?? 0;
      const beginOfFraction = at;
      while (code >= zero && code <= 0x39) {
        digits = digits * 10 + (code - zero);
        code = bytes[++at] ?? 0;
      }
      fraction = at - beginOfFraction;
      if (fraction === 0) return left;
    }
    if (whole + fraction > digitsMax || digits > Number.MAX_SAFE_INTEGER) return left;
    const value = fraction === 0 ? digits : digits / (powersOfTen[fraction] ?? Number.NaN);
    this.#number = isNegative ? -value : value;
    return at;
  }
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;
}

function skipSpace(bytes: Uint8Array, at: number): number {
  while (isSpace(bytes[at] ?? 0xff)) at++;
  return at;
}

/** @param at the text's first byte. @returns where its closing quote is */
function endOfText(bytes: Uint8Array, at: number): number {
  const end = bytes.length;
  while (at < end && ordinary[bytes[at] ?? 0] === 1) at++;
  return bytes[at] === quote ? at : left;
}

/** Whether the name, and after it the closing quote, are there. */
function isNamed(bytes: Uint8Array, at: number, name: Uint8Array): boolean {
  const { length } = name;
  if (bytes[at + length] !== quote) return false;
  for (let i = 0; i < length; i++) if (bytes[at + i] !== name[i]) return false;
  return true;
}

function find(bytes: Uint8Array, at: number, members: readonly Member[]): Member | undefined {
  for (const member of members) if (isNamed(bytes, at, member.name)) return member;
  return undefined;
}

function endOfNull(bytes: Uint8Array, at: number): number {
  return bytes[at + 1] === 0x75 && bytes[at + 2] === 0x6c && bytes[at + 3] === 0x6c ? at + 4 : left;
}

function endOfTrue(bytes: Uint8Array, at: number): number {
  return bytes[at + 1] === 0x72 && bytes[at + 2] === 0x75 && bytes[at + 3] === letterE ? at + 4 : left;
}

function endOfFalse(bytes: Uint8Array, at: number): number {
  const isRest =
    bytes[at + 1] === 0x61 && bytes[at + 2] === 0x6c && bytes[at + 3] === 0x73 && bytes[at + 4] === letterE;
  return isRest ? at + 5 : left;
}
