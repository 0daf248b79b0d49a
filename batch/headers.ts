/**
 * The headers of a Kafka record on their way into the lake. Guarantee: keys and bytes as kafkajs gives them, in its order (it groups
 * values of one key); pure.
 */

/** Delta's type of the column: an array of `{key, value}`. */
export const headersDeltaType = {
  type: 'array',
  elementType: {
    type: 'struct',
    fields: [
      { name: 'key', type: 'string', nullable: true, metadata: {} },
      { name: 'value', type: 'binary', nullable: true, metadata: {} },
    ],
  },
  containsNull: true,
} as const;

export const headersDuckDbType = 'STRUCT("key" VARCHAR, "value" BLOB)[]';

/**
 * As the text in which headers wait for their file; `headersSql` reads it. Base64 passes whatever a producer sends.
 * @returns null where there are none, as for most records
 */
export function encodeHeaders(headers: Readonly<Record<string, unknown>>): string | null {
  const pairs: { k: string; v: string | null }[] = [];
  // A loop ends at once where there are none; a list of the keys would be made for every record.
  for (const key in headers) {
    if (!Object.hasOwn(headers, key)) continue;
    const k = Buffer.from(key).toString('base64');
    for (const value of [headers[key]].flat())
      pairs.push({ k, v: value === null || value === undefined ? null : bytesOf(value).toString('base64') });
  }
  return pairs.length === 0 ? null : JSON.stringify(pairs);
}

function bytesOf(value: unknown): Buffer {
  return value instanceof Uint8Array ? Buffer.from(value) : Buffer.from(String(value));
}

export function headersSql(encoded: string): string {
  return `CASE WHEN ${encoded} IS NULL THEN NULL ELSE list_transform(from_json(${encoded}, '[{"k":"VARCHAR","v":"VARCHAR"}]'), lambda h: {'key': decode(from_base64(h.k)), 'value': from_base64(h.v)})::${headersDuckDbType} END`;
}
