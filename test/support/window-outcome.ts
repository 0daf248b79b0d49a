/**
 * Windows in one comparable form, from either side: what the project reads from its panes, and what the naive model says.
 * Sketches and log-buckets are worked out from the naive model's values by other means than the project's.
 */
import { createHash } from 'node:crypto';
import { windowsOf } from '../../domain/window-view.ts';
import type { SlotValue } from '../../domain/window-view.ts';
import type { Pipeline } from '../../domain/pipeline.ts';
import { parsePaneMember } from '../../stream/keys.ts';
import type { PaneCells } from '../../stream/pane-cells.ts';
import { groupsOfPane } from '../../stream/pane-groups.ts';
import type { PlainResult } from './naive-model.ts';

/** `<aggregate>|<start>|<end>|<group>` → slot → what it holds, as text. */
export type Windows = Record<string, Record<string, unknown>>;

/** The windows that the panes (of any number of partitions) come to. */
export function readWindows(pipeline: Pipeline, panes: readonly PaneCells[]): Windows {
  const windows: Windows = {};
  for (const aggregate of pipeline.aggregates) {
    const own = panes.filter(({ member }) => parsePaneMember(member).aggregate === aggregate.name);
    for (const { startMs, endMs, group, slots } of windowsOf(
      aggregate,
      own.flatMap((pane) => groupsOfPane(aggregate, pane)),
    ))
      windows[`${aggregate.name}|${startMs}|${endMs}|${group}`] = Object.fromEntries(
        aggregate.slots
          .map(({ key, kind }, i) => [key, shownSlot(slots[i] ?? null), kind] as const)
          .filter(([, shown, kind]) => shown !== null && kind !== 'first' && kind !== 'last'),
      ) as Windows[string];
  }
  return windows;
}

/** Sketches as their registers, families as sorted pairs (a member may be called `__proto__`). */
function shownSlot(value: SlotValue): unknown {
  if (value instanceof Uint8Array) {
    const shown: string[] = [];
    for (let register = 0; register < value.length; register++)
      if (value[register] !== 0) shown.push(`${register}:${value[register]}`);
    return shown;
  }
  if (typeof value !== 'object' || value === null) return value;
  return [...value].sort(([a], [b]) => (a < b ? -1 : Number(a > b)));
}

/** The same of the naive model. */
export function plainWindows(windows: Readonly<Record<string, PlainResult>>): Windows {
  return Object.fromEntries(
    Object.entries(windows).map(([key, { rows, sums, values }]) => {
      const families = Object.entries(values)
        .filter(([, list]) => list.length > 0)
        .map(([name, list]) => [name, familyOf(name, list)]);
      return [key, { rows, ...sums, ...(Object.fromEntries(families) as Record<string, unknown>) }];
    }),
  );
}

function familyOf(name: string, values: readonly (string | bigint)[]): unknown {
  if (name.startsWith('distinct:')) return registersOf(new Set(values.map(String)));
  const counts = new Map<string, bigint>();
  for (const value of values) {
    const member = name.startsWith('top:') ? String(value) : String(logBucket(value as bigint));
    counts.set(member, (counts.get(member) ?? 0n) + 1n);
  }
  return shownSlot(counts);
}

/** 64 buckets for each doubling, by the binary digits. */
function logBucket(value: bigint): bigint {
  if (value < 0n) return -logBucket(-value);
  const dropped = Math.max(0, value.toString(2).length - 7);
  return 64n * BigInt(dropped) + (value >> BigInt(dropped));
}

/** Every rank that each register has seen, cut down to the three that a register keeps. */
function registersOf(texts: ReadonlySet<string>): string[] {
  const ranks = new Map<number, Set<number>>();
  for (const text of texts) {
    const hex = createHash('md5').update(text).digest('hex');
    // The last eight bytes of the digest, least significant first.
    const bytes = hex.slice(16).match(/../g) ?? [];
    const bits = BigInt(`0x${bytes.reverse().join('')}`)
      .toString(2)
      .padStart(64, '0');
    const zeros = /0*$/.exec(bits.slice(0, 50))?.[0].length ?? 0;
    const register = Number.parseInt(bits.slice(50), 2);
    ranks.set(register, (ranks.get(register) ?? new Set<number>()).add(zeros + 1));
  }
  return [...ranks]
    .sort(([a], [b]) => a - b)
    .map(([register, seen]) => {
      const top = Math.max(...seen);
      return `${register}:${4 * top + (seen.has(top - 1) ? 2 : 0) + (seen.has(top - 2) ? 1 : 0)}`;
    });
}
