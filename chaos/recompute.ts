/**
 * The rules of docs/ARCHITECTURE.md once more, from the whole log at once. Guarantee: windows and fates of a log as the rules say
 * them; knows windows only (no panes, no deltas, no slots); shares no code with the project; a log of 100,000 records takes
 * about a second.
 */
import { measureOf, textOf } from './measures.ts';
import type { Expected } from './measures.ts';
import type { LoggedEvent, PlainAggregate, PlainEvent, PlainRules, PlainWindow } from './rules.ts';

/** `<partition>:<offset>` */
export type RecordName = string;

export interface Recomputed {
  /** `<aggregate>|<start>|<end>|<group>` → measure → what it must be. */
  readonly windows: ReadonlyMap<string, Readonly<Record<string, Expected>>>;
  /** By partition: `consumed`, `gaps`, `duplicate`, `dead:<reason>`, `counted:<aggregate>`, ... */
  readonly counters: ReadonlyMap<number, ReadonlyMap<string, number>>;
  /** What must be in the dead-letter topic, with its reason. */
  readonly dead: ReadonlyMap<RecordName, string>;
  /** What must be in the late topic, with the aggregates that refused it. */
  readonly late: ReadonlyMap<RecordName, readonly string[]>;
}

/** Where events gather until the end; of a session, all of the group. */
interface Gathered {
  readonly rule: PlainAggregate;
  readonly group: string;
  /** Null where the group's sessions are still to be cut apart. */
  readonly bounds: readonly [number, number] | null;
  readonly events: PlainEvent[];
}

/** @param log any order @param upTo by partition, the offset before which records are taken; all where it is absent */
export function recompute(
  rules: PlainRules,
  log: readonly LoggedEvent[],
  upTo: ReadonlyMap<number, number> = new Map(),
): Recomputed {
  const result = {
    windows: new Map<string, Record<string, Expected>>(),
    counters: new Map<number, Map<string, number>>(),
    dead: new Map<RecordName, string>(),
    late: new Map<RecordName, string[]>(),
  };
  const gathered = new Map<string, Gathered>();
  for (const partition of new Set(log.map((record) => record.partition))) {
    const records = log
      .filter((record) => record.partition === partition && record.offset < (upTo.get(partition) ?? Infinity))
      .sort((a, b) => a.offset - b.offset);
    const counters = new Map<string, number>();
    result.counters.set(partition, counters);
    judge(rules, records, counters, result, gathered);
  }
  const put = (
    { name, measures }: PlainAggregate,
    bounds: readonly number[],
    group: string,
    events: PlainEvent[],
  ) =>
    result.windows.set(
      `${name}|${bounds.join('|')}|${group}`,
      Object.fromEntries(
        Object.entries(measures).map(([measure, how]) => [measure, measureOf(how, events, rules.scales)]),
      ),
    );
  for (const { rule, group, bounds, events } of gathered.values()) {
    if (bounds !== null) put(rule, bounds, group, events);
    else if ('session' in rule.window)
      for (const session of sessionsOf(events, rule.window.session))
        put(
          rule,
          [session[0]?.timeMs ?? 0, (session.at(-1)?.timeMs ?? 0) + rule.window.session],
          group,
          session,
        );
  }
  return result;
}

/** Takes the records of one partition in the order of their offsets. */
function judge(
  rules: PlainRules,
  records: readonly LoggedEvent[],
  counters: Map<string, number>,
  result: { dead: Map<RecordName, string>; late: Map<RecordName, string[]> },
  gathered: Map<string, Gathered>,
): void {
  const count = (name: string, amount = 1) => counters.set(name, (counters.get(name) ?? 0) + amount);
  const lastSeen = new Map<string, number>();
  let logTime = -Infinity;
  let newest = -Infinity;
  let next: number | null = null;
  for (const { partition, offset, timestampMs, event } of records) {
    if (next !== null && offset > next) count('gaps', offset - next);
    next = offset + 1;
    count('consumed');
    logTime = Math.max(logTime, timestampMs);
    // 1. Rejected?
    const dead = event.dead ?? (event.timeMs > timestampMs + rules.maxFutureMs ? 'time-in-future' : null);
    if (dead !== null) {
      count(`dead:${dead}`);
      result.dead.set(`${partition}:${offset}`, dead);
      continue;
    }
    // 3. The watermark is that of the earlier events, duplicates among them.
    const watermark = newest - rules.outOfOrderMs;
    newest = Math.max(newest, event.timeMs);
    // 2. Seen before?
    const seen = lastSeen.get(event.id);
    lastSeen.set(event.id, logTime);
    if (seen !== undefined && logTime - seen <= rules.dedupHorizonMs) {
      count('duplicate');
      continue;
    }
    const isOpen = (end: number) => end + rules.allowedLatenessMs > watermark;
    const refusing: string[] = [];
    for (const rule of rules.aggregates) {
      if (!rule.where(event.values)) {
        count(`filtered:${rule.name}`);
        continue;
      }
      // 4. and 5.
      const places = placesOf(rule, event).filter(({ end }) => isOpen(end));
      count(`${places.length > 0 ? 'counted' : 'late'}:${rule.name}`);
      if (places.length === 0) refusing.push(rule.name);
      for (const { bounds, group } of places) {
        const name = `${rule.name}|${bounds?.join('|') ?? ''}|${group}`;
        const known = gathered.get(name);
        if (known === undefined) gathered.set(name, { rule, group, bounds, events: [event] });
        else known.events.push(event);
      }
    }
    if (refusing.length > 0) result.late.set(`${partition}:${offset}`, refusing);
  }
}

/** The windows that hold the event: when each ends, and where it gathers. */
function placesOf({ window, groupBy }: PlainAggregate, { timeMs, values }: PlainEvent) {
  const group = JSON.stringify(
    groupBy.map((field) => {
      const value = values[field] ?? null;
      return value === null ? null : textOf(value, 0);
    }),
  );
  if ('session' in window) return [{ end: timeMs + window.session, bounds: null, group }];
  return windowsAt(window, timeMs).map((bounds) => ({ end: bounds[1], bounds, group }));
}

function windowsAt(window: Exclude<PlainWindow, { session: number }>, timeMs: number): [number, number][] {
  const [size, slide] =
    'tumbling' in window ? [window.tumbling, window.tumbling] : [window.hopping, window.slide];
  const found: [number, number][] = [];
  for (let start = timeMs - (((timeMs % slide) + slide) % slide); start + size > timeMs; start -= slide)
    found.push([start, start + size]);
  return found;
}

/** Events in the order of their times, cut wherever more than the gap lies between two. */
function sessionsOf(events: readonly PlainEvent[], gap: number): PlainEvent[][] {
  const sessions: PlainEvent[][] = [];
  let last = -Infinity;
  for (const event of [...events].sort((a, b) => a.timeMs - b.timeMs)) {
    if (event.timeMs - last > gap) sessions.push([event]);
    else sessions.at(-1)?.push(event);
    last = event.timeMs;
  }
  return sessions;
}
