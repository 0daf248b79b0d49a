/**
 * The rules of DESIGN.md section 2, said as plainly as possible and slowly: every record is judged by looking at all
 * earlier ones again, and every cell is a list of values that is folded at the end. Shares no code with the project.
 */

/** A record as its author knows it: what it means, not how it was written. */
export interface PlainRecord {
  readonly offset: number;
  readonly timestampMs: number;
  /** The reason for which it must be rejected, or the event. */
  readonly dead: string | null;
  readonly id: string;
  readonly timeMs: number;
  readonly fields: PlainFields;
}

/** Integers, and decimals at their scale, are bigints. */
export type PlainFields = Readonly<Record<string, string | bigint | number | boolean | null>>;

export interface PlainAggregate {
  readonly name: string;
  readonly sizeMs: number;
  readonly groupBy: (fields: PlainFields) => readonly (string | null)[];
  readonly where: (fields: PlainFields) => boolean;
  /** Fields whose sum, count, min and max are asked for. */
  readonly measured: readonly string[];
}

export interface PlainRules {
  readonly outOfOrderMs: number;
  readonly allowedLatenessMs: number;
  readonly dedupHorizonMs: number;
  readonly aggregates: readonly PlainAggregate[];
}

/** What both layers must come to: `<aggregate>|<window start>` → `<slot>|<group>` → integer, and the counters. */
export interface Outcome {
  readonly windows: Record<string, Record<string, bigint>>;
  readonly counters: Record<string, bigint>;
}

export function naiveOutcome(rules: PlainRules, log: readonly PlainRecord[]): Outcome {
  const counters: Record<string, bigint> = {};
  const lists: Record<string, Record<string, bigint[]>> = {};
  const count = (name: string, amount = 1) => {
    counters[name] = (counters[name] ?? 0n) + BigInt(amount);
  };
  const logTimeAt = (i: number) => Math.max(...log.slice(0, i + 1).map(({ timestampMs }) => timestampMs));

  log.forEach((record, i) => {
    const earlier = log.slice(0, i).map((other, j) => ({ ...other, j }));
    const readable = earlier.filter(({ dead }) => dead === null);
    const before = log[i - 1];
    if (before !== undefined && record.offset > before.offset + 1)
      count('gaps', record.offset - before.offset - 1);
    count('consumed');
    if (record.dead !== null) return count(`dead:${record.dead}`);
    if (readable.some(({ id, j }) => id === record.id && logTimeAt(i) - logTimeAt(j) <= rules.dedupHorizonMs))
      return count('duplicate');
    const watermark = Math.max(...readable.map(({ timeMs }) => timeMs)) - rules.outOfOrderMs;
    for (const { name, sizeMs, groupBy, where, measured } of rules.aggregates) {
      const size = BigInt(sizeMs);
      const time = BigInt(record.timeMs);
      const start = Number(time - (((time % size) + size) % size));
      if (!where(record.fields)) count(`filtered:${name}`);
      else if (start + sizeMs + rules.allowedLatenessMs <= watermark) count(`late:${name}`);
      else {
        count(`counted:${name}`);
        const window = (lists[`${name}|${start}`] ??= {});
        const group = JSON.stringify(groupBy(record.fields));
        (window[`rows|${group}`] ??= []).push(1n);
        for (const field of measured) {
          const value = record.fields[field];
          if (typeof value === 'bigint')
            for (const slot of ['sum', 'count', 'min', 'max'])
              (window[`${slot}:${field}|${group}`] ??= []).push(slot === 'count' ? 1n : value);
        }
      }
    }
  });
  const windows = Object.fromEntries(
    Object.entries(lists).map(([member, cells]) => [
      member,
      Object.fromEntries(Object.entries(cells).map(([cell, values]) => [cell, resultOf(cell, values)])),
    ]),
  );
  return { windows, counters };
}

function resultOf(cell: string, values: readonly bigint[]): bigint {
  if (cell.startsWith('min:')) return values.reduce((a, b) => (b < a ? b : a));
  if (cell.startsWith('max:')) return values.reduce((a, b) => (b > a ? b : a));
  return values.reduce((a, b) => a + b);
}
