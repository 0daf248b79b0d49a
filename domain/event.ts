/**
 * Events, the records that carry them, and the closed list of reasons for which a record is rejected.
 * Guarantee: past the decoder, types are trusted.
 */
import type { Value } from './field.ts';

/** A record of the log. `timestampMs` is the broker's (LogAppendTime). */
export interface LogRecord {
  readonly partition: number;
  readonly offset: number;
  readonly timestampMs: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers?: Readonly<Record<string, unknown>>;
  /** Of a record from the lake: what the decoder made of it when it was archived. */
  readonly decoded?: Decoded;
}

/** A decoded event; `values` are parallel to the pipeline's fields. */
export interface Event {
  readonly id: string;
  readonly timeMs: number;
  readonly values: readonly Value[];
}

/** Why a record is dead-lettered; each with what it means. */
export const rejectionReasons = {
  'empty-value': 'the record has no value',
  'too-large': 'the value is longer than the pipeline allows',
  'invalid-utf8': 'the value is not UTF-8',
  'invalid-json': 'the value is not JSON',
  'too-deep': 'objects and arrays are nested deeper than any reader can be sure to follow',
  'missing-field': 'a required field is missing',
  'wrong-type': 'a field has another type than the schema says',
  'schema-violation': 'the event breaks another rule of the schema',
  'malformed-string': 'a text holds half of a surrogate pair, which no UTF-8 reader could read back',
  'number-out-of-range': 'a number is beyond what is exact (2^53 − 1 units) or, a double, beyond its range',
  'too-precise': 'a decimal has more digits than its declared scale',
  'invalid-time': 'the event time is not of the declared format',
  'time-in-future': 'the event time is beyond the broker timestamp plus maxFuture',
} as const;

export type RejectionReason = keyof typeof rejectionReasons;

/** A rejected record; `detail` names the field and what was found. */
export interface Rejection {
  readonly reason: RejectionReason;
  readonly detail: string;
}

export type Decoded =
  { readonly ok: true; readonly event: Event } | { readonly ok: false; readonly rejection: Rejection };
