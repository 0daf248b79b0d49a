/**
 * Thrift's compact protocol, as far as the metadata of a Parquet file needs it. Guarantee: pure; integers are not negative.
 * Source: the Thrift compact protocol encoding, sections "Integer encoding", "Struct encoding", "List and Set".
 */

/** A value with its type on the wire. */
export interface ThriftValue {
  readonly type: number;
  readonly bytes: Buffer;
}

const types = { true: 1, i32: 5, i64: 6, binary: 8, list: 9, struct: 12 } as const;
/** From here on the number of items, or the step to the next field, does not fit beside the type. */
const shortMax = 15;

/** As a field of a struct, a boolean is in its type. */
export const yes: ThriftValue = { type: types.true, bytes: Buffer.alloc(0) };

export function i32(value: number): ThriftValue {
  return { type: types.i32, bytes: varint(2 * value) };
}

export function i64(value: number): ThriftValue {
  return { type: types.i64, bytes: varint(2 * value) };
}

export function text(value: string): ThriftValue {
  const bytes = Buffer.from(value);
  return { type: types.binary, bytes: Buffer.concat([varint(bytes.length), bytes]) };
}

/** @param items at least one, all of one type */
export function list(items: readonly ThriftValue[]): ThriftValue {
  const type = items[0]?.type ?? types.struct;
  const isShort = items.length < shortMax;
  const head = Buffer.from([((isShort ? items.length : shortMax) << 4) | type]);
  const count = isShort ? Buffer.alloc(0) : varint(items.length);
  return { type: types.list, bytes: Buffer.concat([head, count, ...items.map(({ bytes }) => bytes)]) };
}

/** Fields in the order of their ids, which are less than 15 apart. */
export function struct(fields: readonly (readonly [id: number, value: ThriftValue])[]): ThriftValue {
  let before = 0;
  const parts = fields.flatMap(([id, { type, bytes }]) => {
    const head = Buffer.from([((id - before) << 4) | type]);
    before = id;
    return [head, bytes];
  });
  return { type: types.struct, bytes: Buffer.concat([...parts, Buffer.from([0])]) };
}

/** An integer of variable length, seven bits a byte. */
export function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 0x80) {
    bytes.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  return Buffer.from([...bytes, rest]);
}
