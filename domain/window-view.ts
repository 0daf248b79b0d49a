/**
 * Puts windows together from panes, which is how they are read. Guarantee: pure; a window is the merge of its panes over all
 * partitions, whatever the order in which they are given.
 */
import type { Aggregate, Measure, SlotKind } from './aggregate.ts';
import { formatQuotient, formatScaled } from './decimal.ts';
import { estimateDistinct, mergeSketches } from './distinct.ts';
import { quantileOf } from './quantile.ts';
import type { SessionWindow, Window } from './window.ts';

/** An integer; of a family, counts by bucket or value; of `distinct`, registers; null where nothing was counted. */
export type SlotValue = bigint | ReadonlyMap<string, bigint> | Uint8Array | null;

/** One group of a pane, or of a window. `slots` are parallel to the aggregate's. */
export interface GroupSlots {
  readonly startMs: number;
  /** Of a window its end; of a pane see `acceptingEndMs`. */
  readonly endMs: number;
  /** The group as a JSON array of texts: `["SFO"]`. */
  readonly group: string;
  readonly slots: readonly SlotValue[];
  /** Rises whenever a commit changes the pane, or one of the window's panes. */
  readonly revision: number;
}

/** @param panes of one aggregate, of all partitions @returns its windows, by start and group */
export function windowsOf(aggregate: Aggregate, panes: Iterable<GroupSlots>): GroupSlots[] {
  const { window } = aggregate;
  const windows =
    window.kind === 'session'
      ? sessionsOf(aggregate, window, panes)
      : fixedWindowsOf(aggregate, window, panes);
  return windows.sort(
    (a, b) =>
      a.startMs - b.startMs || a.endMs - b.endMs || (a.group < b.group ? -1 : Number(a.group > b.group)),
  );
}

function fixedWindowsOf(
  aggregate: Aggregate,
  window: Exclude<Window, SessionWindow>,
  panes: Iterable<GroupSlots>,
): GroupSlots[] {
  const { sizeMs } = window;
  const slideMs = window.kind === 'hopping' ? window.slideMs : sizeMs;
  const merged = new Map<number, Map<string, Merging>>();
  for (const pane of panes)
    // The pane is in every window that ends from its own end up to a window's size after its start.
    for (let endMs = pane.endMs; endMs <= pane.startMs + sizeMs; endMs += slideMs) {
      const startMs = endMs - sizeMs;
      let groups = merged.get(startMs);
      if (groups === undefined) merged.set(startMs, (groups = new Map<string, Merging>()));
      const { group, slots, revision } = pane;
      const before = groups.get(group);
      if (before === undefined) groups.set(group, { startMs, endMs, group, slots, revision });
      else mergeInto(aggregate, before, pane);
    }
  return [...merged.values()].flatMap((groups) => [...groups.values()]);
}

/** A window's group while its panes are gathered. */
interface Merging extends GroupSlots {
  slots: readonly SlotValue[];
  revision: number;
}

function mergeInto(aggregate: Aggregate, into: Merging, pane: GroupSlots): void {
  into.slots = mergeSlots(aggregate, [into.slots, pane.slots]);
  into.revision += pane.revision;
}

/** @param parts of one group, at least one */
export function mergeSlots(
  { slots }: Aggregate,
  [first = [], ...others]: readonly (readonly SlotValue[])[],
): readonly SlotValue[] {
  if (others.length === 0) return first;
  return slots.map(({ kind }, i) => {
    let merged = first[i] ?? null;
    for (const other of others) merged = mergeSlot(kind, merged, other[i] ?? null);
    return merged;
  });
}

/** Sessions begin with their first event and end `gapMs` after their last. */
function sessionsOf(
  aggregate: Aggregate,
  { gapMs }: SessionWindow,
  panes: Iterable<GroupSlots>,
): GroupSlots[] {
  const first = aggregate.slots.findIndex(({ kind }) => kind === 'first');
  const last = aggregate.slots.findIndex(({ kind }) => kind === 'last');
  const timeOf = (pane: GroupSlots, slot: number) => Number(pane.slots[slot]);
  const byGroup = new Map<string, GroupSlots[]>();
  for (const pane of panes) {
    // Without its times a pane is of no session; a reconciliation tells what became of them.
    if (pane.slots[first] === null || pane.slots[last] === null) continue;
    const list = byGroup.get(pane.group);
    if (list === undefined) byGroup.set(pane.group, [pane]);
    else list.push(pane);
  }
  const sessions: GroupSlots[] = [];
  for (const list of byGroup.values()) {
    list.sort((a, b) => timeOf(a, first) - timeOf(b, first));
    let session: Merging | null = null;
    for (const pane of list) {
      if (session !== null && timeOf(pane, first) <= timeOf(session, last) + gapMs)
        mergeInto(aggregate, session, pane);
      else {
        if (session !== null) sessions.push(session);
        session = { ...pane };
      }
    }
    if (session !== null) sessions.push(session);
  }
  return sessions.map((session) => ({
    ...session,
    startMs: timeOf(session, first),
    endMs: timeOf(session, last) + gapMs,
  }));
}

/** Merges two values of a slot; null is the neutral element. */
export function mergeSlot(kind: SlotKind, a: SlotValue, b: SlotValue): SlotValue {
  if (a === null) return b;
  if (b === null) return a;
  if (typeof a === 'bigint' && (kind === 'rows' || kind === 'sum' || kind === 'count'))
    return a + (b as bigint);
  if (a instanceof Uint8Array) return mergeSketches(a, b as Uint8Array);
  if (typeof a === 'object') {
    const merged = new Map(a);
    for (const [member, count] of b as ReadonlyMap<string, bigint>)
      merged.set(member, (merged.get(member) ?? 0n) + count);
    return merged;
  }
  const other = b as bigint;
  if (kind === 'min' || kind === 'first') return a < other ? a : other;
  if (kind === 'max' || kind === 'last') return a > other ? a : other;
  return a + other;
}

/** One of the k most frequent values of `topK`. */
export interface TopEntry {
  readonly value: string;
  readonly count: string;
}

/**
 * A measure's result: exact decimal text (`avg` has four digits more than its field), null where every value was null, or the
 * list of `topK`: by falling count, then by value.
 */
export function measureResult(
  measure: Measure,
  slots: readonly SlotValue[],
): string | readonly TopEntry[] | null {
  const { kind, scale, argument } = measure;
  const [first = null, second = null] = measure.slots.map((index) => slots[index] ?? null);
  if (kind === 'count') return typeof first === 'bigint' ? String(first) : '0';
  if (kind === 'topK') return topOf((first ?? new Map()) as ReadonlyMap<string, bigint>, argument ?? 0);
  if (kind === 'distinct') return first === null ? '0' : String(estimateDistinct(first as Uint8Array));
  if (first === null) return null;
  if (kind === 'quantile') {
    const buckets = [...(first as ReadonlyMap<string, bigint>)].map(([b, n]) => [Number(b), n] as const);
    const value = quantileOf(new Map(buckets), argument ?? 0.5);
    return value === null ? null : formatScaled(BigInt(value), scale);
  }
  if (kind === 'avg') return second ? formatQuotient(first as bigint, second as bigint, scale) : null;
  return formatScaled(first as bigint, scale);
}

function topOf(counts: ReadonlyMap<string, bigint>, k: number): TopEntry[] {
  return [...counts]
    .sort(([a, m], [b, n]) => (m > n ? -1 : Number(m < n)) || (a < b ? -1 : Number(a > b)))
    .slice(0, k)
    .map(([value, count]) => ({ value, count: String(count) }));
}
