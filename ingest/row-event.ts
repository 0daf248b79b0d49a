/**
 * A row of a file → the message of an event. Guarantee: replaying the same file again makes the same ids and keys, so it
 * counts once; no row is dropped, and the text of a row that needs no change is sent as it is.
 *
 * Where the event has no id, the id is a 128-bit hash of the row's text and its number in the file. Text alone would make
 * two equal rows of one file (two flights of the same minute, route and delay) one event; the number alone would make
 * rows of different files one event. The name of the file is left out, so a moved or renamed file keeps its ids. Hence
 * a file that is edited in the middle is a new file from there on: with inserted rows, give the events ids of their own.
 *
 * The key derives from the event alone (equal ids always land in one partition): the field at `keyPath`, else the id; hot
 * keys with a salt from the id.
 */
import { hash } from 'node:crypto';
import { ReckonError } from '../domain/errors.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import { saltedKey } from '../domain/salting.ts';
import { parseEventTimeMs } from '../domain/time.ts';
import type { SourceRow } from './source-file.ts';

export interface RowEvent {
  readonly key: string;
  readonly value: string | Buffer;
  /** The event as an object; undefined where the row is none. */
  readonly event: JsonObject | undefined;
}

export type JsonObject = Record<string, unknown>;

/** @returns a function of a row and its number, counted from 0. */
export function createRowReader(pipeline: Pipeline): (row: SourceRow, rowNumber: number) => RowEvent {
  const { idPath, keyPath } = pipeline.event;
  const map = pipeline.replayMap;

  return function read(row, rowNumber) {
    const parsed = typeof row === 'string' ? parseObject(row) : undefined;
    if (parsed === undefined || typeof row !== 'string')
      return { key: deriveId(row, rowNumber), value: row, event: undefined };
    let event = parsed;
    let value = row;
    if (map !== null) ({ event, value } = applyMap(map, parsed, pipeline.name, rowNumber));
    let id = valueAt(event, idPath);
    if (id === undefined || id === null) {
      id = deriveId(row, rowNumber);
      value = withId(value, event, idPath, id as string);
    }
    const key = asKey(valueAt(event, keyPath)) ?? asKey(id) ?? deriveId(row, rowNumber);
    return { key: saltedKey(pipeline, key, asKey(id) ?? key), value, event };
  };
}

/** The event time, for the pacing; null where there is none. */
export function eventTimeOf(pipeline: Pipeline, event: JsonObject | undefined): number | null {
  return event === undefined
    ? null
    : parseEventTimeMs(valueAt(event, pipeline.event.timePath), pipeline.event.timeFormat);
}

/** 132 bits of SHA-256 in 22 characters. */
export function deriveId(row: SourceRow, rowNumber: number): string {
  const numbered =
    typeof row === 'string' ? `${rowNumber}:${row}` : Buffer.concat([Buffer.from(`${rowNumber}:`), row]);
  return hash('sha256', numbered, 'base64url').slice(0, 22);
}

const longDigits = /\d{16}/;
const tokens = /"[^"\\]*(?:\\.[^"\\]*)*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/gs;

/**
 * JSON → object, or undefined where the text is something else. An integer beyond ±(2^53 − 1) becomes a text with all of
 * its digits: as a number, two different 64-bit ids could become equal.
 */
export function parseObject(text: string): JsonObject | undefined {
  let value: unknown;
  try {
    value = JSON.parse(longDigits.test(text) ? text.replaceAll(tokens, quoteUnsafe) : text);
  } catch {
    return undefined;
  }
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as JsonObject)
    : undefined;
}

function quoteUnsafe(token: string): string {
  return /^-?\d{16,}$/.test(token) && !Number.isSafeInteger(Number(token)) ? `"${token}"` : token;
}

function applyMap(
  map: NonNullable<Pipeline['replayMap']>,
  row: JsonObject,
  pipelineName: string,
  rowNumber: number,
): { event: JsonObject; value: string } {
  let problem: string;
  try {
    const event: unknown = map(row);
    if (typeof event === 'object' && event !== null && !Array.isArray(event))
      return { event: event as JsonObject, value: JSON.stringify(event) };
    problem = 'it must return an object';
  } catch (error) {
    problem = error instanceof Error ? error.message : String(error);
  }
  throw new ReckonError(
    'invalid-definition',
    `replay.map of pipeline ${pipelineName} failed at row ${rowNumber + 1}: ${problem.split('\n')[0]}.`,
    'Correct the definition.',
  );
}

/** Writes the id into the text without touching the rest of it, wherever that is possible. */
function withId(text: string, event: JsonObject, idPath: readonly string[], id: string): string {
  const [first = '', ...rest] = idPath;
  if (!Object.hasOwn(event, first)) {
    const nested = rest.reduceRight<unknown>((inner, name) => ({ [name]: inner }), id);
    const member = `${JSON.stringify(first)}:${JSON.stringify(nested)}`;
    return Object.keys(event).length === 0
      ? `{${member}}`
      : `{${member},${text.slice(text.indexOf('{') + 1)}`;
  }
  const filled = fill(event, idPath, id);
  return filled === null ? text : JSON.stringify(filled);
}

/** A copy with the id set; null where something that is no object stands in the way (the pipeline will reject it). */
function fill(event: unknown, path: readonly string[], id: string): unknown {
  const [name, ...rest] = path;
  if (name === undefined) return id;
  if (event !== undefined && event !== null && (typeof event !== 'object' || Array.isArray(event)))
    return null;
  const object = (event ?? {}) as JsonObject;
  const inner = fill(object[name], rest, id);
  return inner === null ? null : { ...object, [name]: inner };
}

function asKey(value: unknown): string | null {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    ? String(value)
    : null;
}

function valueAt(object: JsonObject, path: readonly string[]): unknown {
  let value: unknown = object;
  for (const name of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
    value = (value as JsonObject)[name];
  }
  return value;
}
