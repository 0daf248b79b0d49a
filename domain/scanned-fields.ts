/**
 * What the scanner has read of an event, where it lies. Guarantee: made into values it is what the decoder's long way reads, and copied
 * as bytes it is the same in UTF-8 (it is ASCII).
 */
import type { Value } from './field.ts';

/** What was read in the place of a field. */
export const found = { nothing: 0, text: 1, number: 2, boolean: 3 } as const;

/**
 * Of every field, by its index, what the last event held: a text is a range of the bytes that were given, a decimal the integer at its scale, a
 * boolean 0 or 1. Nothing is made of it, as who copies the bytes needs no string.
 */
export class ScannedFields {
  readonly what: Uint8Array;
  readonly numbers: Float64Array;
  readonly from: Int32Array;
  readonly to: Int32Array;
  readonly #absent: readonly Value[];

  constructor(fields: number) {
    this.#absent = new Array<Value>(fields).fill(null);
    this.what = new Uint8Array(fields);
    this.numbers = new Float64Array(fields);
    this.from = new Int32Array(fields);
    this.to = new Int32Array(fields);
  }

  /** The same as values. @param text the event's, of which every byte is a character @param begin where the event is in its bytes */
  values(text: string, begin: number): Value[] {
    const { what, numbers, from, to } = this;
    const values = this.#absent.slice();
    for (let field = 0; field < values.length; field++) {
      const kind = what[field];
      if (kind === found.text)
        values[field] = text.slice((from[field] as number) - begin, (to[field] as number) - begin);
      else if (kind === found.number) values[field] = numbers[field] as number;
      else if (kind === found.boolean) values[field] = numbers[field] === 1;
    }
    return values;
  }
}
