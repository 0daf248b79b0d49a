/**
 * A message of a fetch in kafkajs' form, that also knows where in the response its key and its value are: who copies bytes takes them
 * from there. Guarantee: `key` and `value` are what kafkajs has there, each a Buffer that is made when it is read (two of them cost
 * more than all the rest of a message); a copy by `{ ...message }` lacks them.
 */

/** Of the only format of record batches that is decoded here. */
export const currentMagic = 2;

export class FetchedMessage {
  readonly attributes: number;
  readonly timestamp: string;
  readonly offset: string;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly batchContext: object;
  readonly raw: Buffer;
  readonly keyFrom: number;
  /** −1 where there is no key. */
  readonly keyTo: number;
  readonly valueFrom: number;
  /** −1 where there is no value. */
  readonly valueTo: number;

  constructor(
    raw: Buffer,
    keyFrom: number,
    keyTo: number,
    valueFrom: number,
    valueTo: number,
    offset: string,
    timestamp: string,
    attributes: number,
    headers: Readonly<Record<string, unknown>>,
    batchContext: object,
  ) {
    this.attributes = attributes;
    this.timestamp = timestamp;
    this.offset = offset;
    this.headers = headers;
    this.batchContext = batchContext;
    this.raw = raw;
    this.keyFrom = keyFrom;
    this.keyTo = keyTo;
    this.valueFrom = valueFrom;
    this.valueTo = valueTo;
  }

  get key(): Buffer | null {
    return this.keyTo < 0 ? null : this.raw.subarray(this.keyFrom, this.keyTo);
  }

  get value(): Buffer | null {
    return this.valueTo < 0 ? null : this.raw.subarray(this.valueFrom, this.valueTo);
  }

  get magicByte(): number {
    return currentMagic;
  }

  get isControlRecord(): boolean {
    return false;
  }
}
