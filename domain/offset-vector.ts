/** Offset vectors: how far into the log a state reaches. Guarantee: offsets travel as decimal strings, never rounded. */

/** By partition, the next offset to read: everything below it is inside. */
export type OffsetVector = Readonly<Record<string, string>>;

export function toOffsetVector(
  nextOffsets: Iterable<readonly [partition: number, nextOffset: number]>,
): OffsetVector {
  const entries = [...nextOffsets].sort(([a], [b]) => a - b);
  return Object.fromEntries(entries.map(([partition, offset]) => [String(partition), String(offset)]));
}

export function fromOffsetVector(vector: OffsetVector): Map<number, number> {
  return new Map(Object.entries(vector).map(([partition, offset]) => [Number(partition), Number(offset)]));
}

/** @returns whether `reached` is at or beyond `wanted` in every partition that `wanted` names. */
export function covers(reached: OffsetVector, wanted: OffsetVector): boolean {
  return Object.entries(wanted).every(
    ([partition, offset]) => Number(offset) === 0 || Number(reached[partition] ?? '0') >= Number(offset),
  );
}
