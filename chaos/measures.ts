/**
 * What a window's measures must come to, from the list of its events. Guarantee: exact, by sets, sorted lists and integers;
 * shares no code with the project.
 */
import type { PlainEvent, PlainMeasure, PlainRules, PlainValue } from './rules.ts';

export interface TopEntry {
  readonly value: string;
  readonly count: string;
}

/** `near`: the value that is read may be off by `tolerance`; both in units of the last digit at `scale`. */
export type Expected =
  | { readonly kind: 'exact'; readonly value: string | readonly TopEntry[] | null }
  | { readonly kind: 'near'; readonly value: bigint; readonly tolerance: bigint; readonly scale: number };

const exact = (value: string | readonly TopEntry[] | null): Expected => ({ kind: 'exact', value });

export function measureOf(
  measure: PlainMeasure,
  events: readonly PlainEvent[],
  scales: PlainRules['scales'],
): Expected {
  if (measure === 'count') return exact(String(events.length));
  const [kind, field] = Object.entries(measure)[0] as [string, string];
  const scale = scales[field] ?? 0;
  const present = events.map(({ values }) => values[field] ?? null).filter((value) => value !== null);
  switch (kind) {
    case 'count':
      return exact(String(present.length));
    case 'distinct':
      return near(BigInt(new Set(present.map((value) => textOf(value, scale))).size), 3n, 2n, 0);
    case 'topK':
      return exact(top(present, scale, (measure as { k: number }).k));
  }
  const numbers = present as bigint[];
  if (numbers.length === 0) return exact(null);
  const sum = numbers.reduce((a, b) => a + b, 0n);
  switch (kind) {
    case 'sum':
      return exact(decimal(sum, scale));
    case 'min':
      return exact(
        decimal(
          numbers.reduce((a, b) => (b < a ? b : a)),
          scale,
        ),
      );
    case 'max':
      return exact(
        decimal(
          numbers.reduce((a, b) => (b > a ? b : a)),
          scale,
        ),
      );
    case 'avg':
      return exact(decimal(halfEven(sum * 10_000n, BigInt(numbers.length)), scale + 4));
    case 'quantile': {
      const sorted = numbers.sort((a, b) => (a < b ? -1 : Number(a > b)));
      const rank = Math.max(1, Math.ceil((measure as { at: number }).at * sorted.length));
      return near(sorted[rank - 1] ?? 0n, 1n, 0n, scale);
    }
    default:
      throw new Error(`no such measure: ${kind}`);
  }
}

/** Within so many percent, or so many units where that is more. */
function near(value: bigint, percent: bigint, units: bigint, scale: number): Expected {
  const share = ((value < 0n ? -value : value) * percent) / 100n;
  return { kind: 'near', value, tolerance: share > units ? share : units, scale };
}

function top(values: readonly PlainValue[], scale: number, k: number): TopEntry[] {
  const counts = new Map<string, number>();
  for (const value of values) {
    const text = textOf(value, scale);
    counts.set(text, (counts.get(text) ?? 0) + 1);
  }
  return [...counts]
    .map(([value, count]) => ({ value, count }))
    .sort((a, b) => b.count - a.count || (a.value < b.value ? -1 : 1))
    .slice(0, k)
    .map(({ value, count }) => ({ value, count: String(count) }));
}

/** How a value is written in groups and lists. */
export function textOf(value: PlainValue, scale: number): string {
  return typeof value === 'bigint' ? decimal(value, scale) : String(value);
}

/** 1205 at scale 2 → `12.05`. */
export function decimal(units: bigint, scale: number): string {
  const sign = units < 0n ? '-' : '';
  const digits = String(units < 0n ? -units : units).padStart(scale + 1, '0');
  return scale === 0 ? `${sign}${digits}` : `${sign}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

/** `12.05` → 1205; the inverse of `decimal`. Null where the text has another number of digits. */
export function unitsOf(text: string, scale: number): bigint | null {
  const match = /^(-?\d+)(?:\.(\d+))?$/.exec(text);
  if (match === null || (match[2] ?? '').length !== scale) return null;
  return BigInt(`${match[1] ?? ''}${match[2] ?? ''}`);
}

/** a ÷ b (b > 0), rounded to the nearest integer, halves to the even one. */
function halfEven(a: bigint, b: bigint): bigint {
  const floor = a >= 0n ? a / b : -((-a + b - 1n) / b);
  const rest = 2n * (a - floor * b);
  return rest > b || (rest === b && floor % 2n !== 0n) ? floor + 1n : floor;
}
