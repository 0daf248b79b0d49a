/**
 * Rule 1, decode: text → `Event`, or a rejection from the closed list (DESIGN.md section 2). Guarantee: total (every input
 * gives one of the two, nothing is thrown), and a function of the record alone.
 */
import type { ErrorObject } from 'ajv';
import { scaleNumber, scaleText } from './decimal.ts';
import type { Decoded, LogRecord, Rejection, RejectionReason } from './event.ts';
import type { Field, Value } from './field.ts';
import type { Pipeline } from './pipeline.ts';
import { createScanner } from './scan.ts';
import type { EventScanner, ReadText } from './scan.ts';
import type { ScannedFields } from './scanned-fields.ts';
import { compileSchema } from './schema.ts';
import { parseEventTimeMs } from './time.ts';

/**
 * Levels of objects and arrays. Validating and printing recurse, and where a stack ends depends on the process: without
 * a limit of our own, the two layers could take the same record differently.
 */
const nestingMax = 500;

export type { ReadText };

export type Decoder = (record: LogRecord) => Decoded;

/** An event as it was scanned, where it was: `fields` are ranges of the record's bytes, and those of the next event after the next call. */
export interface ScannedEvent {
  readonly ok: true;
  readonly timeMs: number;
  readonly fields: ScannedFields;
}

/**
 * For who copies the bytes, such as the archiver: most events come as they were scanned, with no string made of any.
 * @param from @param to where the value is in the bytes
 */
export type ScanDecoder = (
  bytes: Uint8Array | null,
  from: number,
  to: number,
  timestampMs: number,
) => Decoded | ScannedEvent;

/** Where a value cannot be taken; distinct from any value of an event. */
class Unreadable {
  readonly rejection: Rejection;
  constructor(reason: RejectionReason, detail: string) {
    this.rejection = { reason, detail };
  }
}

/**
 * Compiles the decoder of a pipeline.
 * @param scanner the short way for ordinary events; null sends all of them the long way, with the same outcome
 */
export function createDecoder(
  pipeline: Pipeline,
  readText: ReadText,
  scanner: EventScanner | null = createScanner(pipeline),
): Decoder {
  const decode = decoderOf(pipeline, readText, scanner, (taken, timeMs, bytes): Decoded => {
    const text = readText(bytes) ?? '';
    return { ok: true, event: { id: taken.idIn(text), timeMs, values: taken.valuesIn(text) } };
  });
  return ({ value, timestampMs }) => decode(value, 0, value?.length ?? 0, timestampMs);
}

/** The same decoder, whose events stay bytes where they can. */
export function createScanDecoder(pipeline: Pipeline, readText: ReadText): ScanDecoder {
  return decoderOf<ScannedEvent>(pipeline, readText, createScanner(pipeline), ({ fields }, timeMs) => ({
    ok: true,
    timeMs,
    fields,
  }));
}

/** @param finish what becomes of an event that was scanned and found right */
function decoderOf<T>(
  pipeline: Pipeline,
  readText: ReadText,
  scanner: EventScanner | null,
  finish: (taken: EventScanner, timeMs: number, bytes: Uint8Array) => T,
): (bytes: Uint8Array | null, from: number, to: number, timestampMs: number) => T | Decoded {
  const { event, fields, maxFutureMs } = pipeline;
  const validate = compileSchema(event.schema);
  const readers = fields.map((field) => valueReader(field));

  /** @returns the time in epoch milliseconds, or why id and time are refused. */
  function timeOf(id: unknown, time: unknown, timestampMs: number): number | Decoded {
    if (typeof id !== 'string' && typeof id !== 'number') return absent(event.idPath, id);
    if (typeof id === 'number' && !Number.isSafeInteger(id))
      return reject('number-out-of-range', event.idPath.join('.'));
    if (time === undefined || time === null) return absent(event.timePath, time);
    const timeMs = parseEventTimeMs(time, event.timeFormat);
    if (timeMs === null)
      return reject('invalid-time', `${event.timePath.join('.')} is ${show(time)}, not ${event.timeFormat}`);
    if (timeMs > timestampMs + maxFutureMs)
      return reject(
        'time-in-future',
        `${event.timePath.join('.')} is ${timeMs - timestampMs} ms ahead of the broker's clock`,
      );
    return timeMs;
  }

  return function decode(bytes, from, to, timestampMs) {
    if (bytes === null || from === to) return reject('empty-value', 'the record has no value');
    if (to - from > event.sizeMaxBytes)
      return reject('too-large', `${to - from} bytes; the limit is ${event.sizeMaxBytes}`);
    if (scanner !== null && scanner.take(bytes, from, to, readText)) {
      const timeMs = timeOf(scanner.id, scanner.time, timestampMs);
      return typeof timeMs === 'number' ? finish(scanner, timeMs, bytes) : timeMs;
    }
    const text = readText(bytes.subarray(from, to));
    if (text === null) return reject('invalid-utf8', 'the value is not UTF-8');
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch (error) {
      return reject('invalid-json', (error as Error).message);
    }
    if (typeof json !== 'object' || json === null || Array.isArray(json))
      return reject('wrong-type', 'the event is not an object');
    if (text.length > 2 * nestingMax && isNestedDeeper(json, nestingMax))
      return reject('too-deep', `more than ${nestingMax} levels`);
    if (!validate(json)) return { ok: false, rejection: explain(validate.errors?.[0]) };

    const id = at(json, event.idPath);
    if (typeof id === 'string' && !isWellFormed(id))
      return reject('malformed-string', event.idPath.join('.'));
    const timeMs = timeOf(id, at(json, event.timePath), timestampMs);
    if (typeof timeMs !== 'number') return timeMs;
    const values = new Array<Value>(readers.length);
    for (let i = 0; i < readers.length; i++) {
      const read = (readers[i] as ValueReader)(json);
      if (read instanceof Unreadable) return { ok: false, rejection: read.rejection };
      values[i] = read;
    }
    return { ok: true, event: { id: String(id), timeMs, values } };
  };
}

type ValueReader = (json: unknown) => Value | Unreadable;

function valueReader(field: Field): ValueReader {
  const { name, path } = field;
  const [first = ''] = path;
  // An absent property may find one of Object's methods; no value of JSON is a function.
  const own = (value: unknown) => (typeof value === 'function' ? undefined : value);
  const get = (json: unknown) =>
    path.length === 1 ? own((json as Record<string, unknown>)[first]) : at(json, path);
  const wrongType = (value: unknown) =>
    new Unreadable('wrong-type', `${name} is ${show(value)}, not ${field.type}`);
  switch (field.type) {
    case 'string':
      return (json) => {
        const value = get(json);
        if (value === undefined || value === null) return null;
        if (typeof value !== 'string') return wrongType(value);
        return isWellFormed(value) ? value : new Unreadable('malformed-string', name);
      };
    case 'integer':
      return (json) => {
        const value = get(json);
        if (value === undefined || value === null) return null;
        if (typeof value !== 'number' || !Number.isInteger(value)) return wrongType(value);
        if (!Number.isSafeInteger(value)) return new Unreadable('number-out-of-range', name);
        return value === 0 ? 0 : value;
      };
    case 'decimal':
      return (json) => {
        const value = get(json);
        if (value === undefined || value === null) return null;
        const scaled =
          typeof value === 'number'
            ? scaleNumber(value, field.scale)
            : typeof value === 'string'
              ? scaleText(value, field.scale)
              : null;
        if (scaled === null) return wrongType(value);
        return scaled.ok
          ? scaled.scaled
          : new Unreadable(scaled.code, `${name} is ${show(value)}; its scale is ${field.scale}`);
      };
    case 'number':
      return (json) => {
        const value = get(json);
        if (value === undefined || value === null) return null;
        if (typeof value !== 'number') return wrongType(value);
        // JSON.parse makes Infinity of 1e400.
        return Number.isFinite(value) ? value : new Unreadable('number-out-of-range', name);
      };
    case 'boolean':
      return (json) => {
        const value = get(json);
        if (value === undefined || value === null) return null;
        return typeof value === 'boolean' ? value : wrongType(value);
      };
    case 'json':
      return (json) => {
        const value = get(json);
        return value === undefined || value === null ? null : JSON.stringify(value);
      };
  }
}

function at(json: unknown, path: readonly string[]): unknown {
  let value = json;
  for (const property of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, property)) return undefined;
    value = (value as Record<string, unknown>)[property];
  }
  return value;
}

/** Level by level, as recursion is what this guards against. */
function isNestedDeeper(json: object, levelsMax: number): boolean {
  let level: object[] = [json];
  for (let depth = 1; level.length > 0; depth++) {
    if (depth > levelsMax) return true;
    level = level.flatMap((value) =>
      Object.values(value).filter((child): child is object => typeof child === 'object' && child !== null),
    );
  }
  return false;
}

function explain(error: ErrorObject | undefined): Rejection {
  if (error === undefined) return { reason: 'schema-violation', detail: 'the event breaks the schema' };
  const where = error.instancePath.slice(1).replaceAll('/', '.');
  const prefix = where === '' ? '' : `${where}.`;
  if (error.keyword === 'required')
    return {
      reason: 'missing-field',
      detail: `${prefix}${String(error.params['missingProperty'])} is missing`,
    };
  const detail = `${where === '' ? 'the event' : where} ${error.message ?? 'breaks the schema'}`;
  return { reason: error.keyword === 'type' ? 'wrong-type' : 'schema-violation', detail };
}

function absent(path: readonly string[], value: unknown): Decoded {
  const name = path.join('.');
  return value === undefined || value === null
    ? reject('missing-field', `${name} is missing`)
    : reject('wrong-type', `${name} is ${show(value)}, not a string or an integer`);
}

function reject(reason: RejectionReason, detail: string): Decoded {
  return { ok: false, rejection: { reason, detail } };
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? typeof value;
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

const surrogate = /[\uD800-\uDFFF]/;
const pairs = /[\uD800-\uDBFF][\uDC00-\uDFFF]/g;

/** Whether every surrogate of the text is one of a pair (ES2024's isWellFormed, which ES2022 lacks). */
function isWellFormed(text: string): boolean {
  return !surrogate.test(text) || !surrogate.test(text.replaceAll(pairs, ''));
}
