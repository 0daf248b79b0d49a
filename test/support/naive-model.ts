/**
 * The rules of DESIGN.md section 2, said as plainly as possible and slowly: every record is judged by looking at all
 * earlier ones again, and every result is folded from the list of the window's events at the end. It knows windows only, no
 * panes, and shares no code with the project.
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

export type PlainWindow =
  | { readonly tumbling: number }
  | { readonly hopping: number; readonly slide: number }
  | { readonly session: number };

export interface PlainAggregate {
  readonly name: string;
  readonly window: PlainWindow;
  readonly groupBy: (fields: PlainFields) => readonly (string | null)[];
  readonly where: (fields: PlainFields) => boolean;
  /** Fields whose sum, count, min and max are asked for. */
  readonly measured: readonly string[];
  /** Fields of which the distinct values, their counts or their quantiles are asked for, as their texts. */
  readonly valued?: Readonly<Record<string, (fields: PlainFields) => string | bigint | null>>;
}

export interface PlainRules {
  readonly outOfOrderMs: number;
  readonly allowedLatenessMs: number;
  readonly dedupHorizonMs: number;
  readonly aggregates: readonly PlainAggregate[];
}

/** What one window and group must come to. */
export interface PlainResult {
  readonly rows: bigint;
  /** `sum:price` → integer; absent where every value was null. */
  readonly sums: Readonly<Record<string, bigint>>;
  /** All non-null values of each of the `valued`, in order. */
  readonly values: Readonly<Record<string, readonly (string | bigint)[]>>;
}

/** What both layers must come to: `<aggregate>|<start>|<end>|<group>` → result, and the counters. */
export interface Outcome {
  readonly windows: Readonly<Record<string, PlainResult>>;
  readonly counters: Readonly<Record<string, bigint>>;
}

interface Counted {
  readonly fields: PlainFields;
  readonly timeMs: bigint;
}

export function naiveOutcome(rules: PlainRules, log: readonly PlainRecord[]): Outcome {
  const counters: Record<string, bigint> = {};
  const count = (name: string, amount = 1) => {
    counters[name] = (counters[name] ?? 0n) + BigInt(amount);
  };
  const logTimeAt = (i: number) => Math.max(...log.slice(0, i + 1).map(({ timestampMs }) => timestampMs));
  const windows: Record<string, Counted[]> = {};
  /** By aggregate and group, the events that count; their sessions are found at the end. */
  const sessions: Record<string, { rule: PlainAggregate; gap: number; group: string; events: Counted[] }> =
    {};

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
    const isOpen = (end: bigint) => Number(end) + rules.allowedLatenessMs > watermark;
    const timeMs = BigInt(record.timeMs);
    for (const rule of rules.aggregates) {
      const { name, window, groupBy, where } = rule;
      const group = JSON.stringify(groupBy(record.fields));
      const event = { fields: record.fields, timeMs };
      if (!where(record.fields)) count(`filtered:${name}`);
      else if ('session' in window) {
        const isCounted = isOpen(timeMs + BigInt(window.session));
        count(`${isCounted ? 'counted' : 'late'}:${name}`);
        const known = (sessions[`${name}|${group}`] ??= { rule, gap: window.session, group, events: [] });
        if (isCounted) known.events.push(event);
      } else {
        const open = windowsAt(window, timeMs).filter(([, end]) => isOpen(end));
        count(`${open.length > 0 ? 'counted' : 'late'}:${name}`);
        for (const [start, end] of open) (windows[`${name}|${start}|${end}|${group}`] ??= []).push(event);
      }
    }
  });
  for (const { rule, gap, group, events } of Object.values(sessions))
    for (const session of islands(events, BigInt(gap))) {
      const times = session.map(({ timeMs }) => timeMs);
      const [start, end] = [times[0] ?? 0n, (times.at(-1) ?? 0n) + BigInt(gap)];
      windows[`${rule.name}|${start}|${end}|${group}`] = session;
    }
  const ruleOf = new Map(rules.aggregates.map((rule) => [rule.name, rule]));
  const results = Object.entries(windows).map(([key, events]) => {
    const rule = ruleOf.get(key.slice(0, key.indexOf('|')));
    if (rule === undefined) throw new Error(`no rule for ${key}`);
    return [key, resultOf(rule, events)] as const;
  });
  return { windows: Object.fromEntries(results), counters };
}

/** Every window [start, end) that holds the time. */
function windowsAt(window: Exclude<PlainWindow, { session: number }>, timeMs: bigint): [bigint, bigint][] {
  const size = BigInt('tumbling' in window ? window.tumbling : window.hopping);
  const slide = BigInt('tumbling' in window ? window.tumbling : window.slide);
  const last = timeMs - (((timeMs % slide) + slide) % slide);
  const found: [bigint, bigint][] = [];
  for (let start = last; start + size > timeMs; start -= slide) found.push([start, start + size]);
  return found;
}

/** Events in the order of their times, cut wherever more than the gap lies between two. */
function islands(events: readonly Counted[], gap: bigint): Counted[][] {
  const sorted = [...events].sort((a, b) => Number(a.timeMs - b.timeMs));
  const found: Counted[][] = [];
  for (const event of sorted) {
    const previous = found.at(-1)?.at(-1);
    if (previous !== undefined && event.timeMs - previous.timeMs <= gap) found.at(-1)?.push(event);
    else found.push([event]);
  }
  return found;
}

function resultOf({ measured, valued }: PlainAggregate, events: readonly Counted[]): PlainResult {
  const sums: Record<string, bigint> = {};
  for (const field of measured) {
    const values = events.map(({ fields }) => fields[field]).filter((value) => typeof value === 'bigint');
    if (values.length === 0) continue;
    sums[`sum:${field}`] = values.reduce((a, b) => a + b);
    sums[`count:${field}`] = BigInt(values.length);
    sums[`min:${field}`] = values.reduce((a, b) => (b < a ? b : a));
    sums[`max:${field}`] = values.reduce((a, b) => (b > a ? b : a));
  }
  const values = Object.entries(valued ?? {}).map(([name, valueOf]) => [
    name,
    events.map(({ fields }) => valueOf(fields)).filter((value) => value !== null),
  ]);
  return { rows: BigInt(events.length), sums, values: Object.fromEntries(values) as PlainResult['values'] };
}
