/**
 * What Redis holds against what the log says, in both directions: every window, group and measure, every counter, every refused
 * record. Guarantee: pure; each difference names its place and both values.
 */
import type { WindowRow } from '../stream/window-rows.ts';
import type { Expected } from './measures.ts';
import { unitsOf } from './measures.ts';
import type { Recomputed } from './recompute.ts';
import type { FoundState } from './state.ts';
import type { ReadRecord } from './topic.ts';

export interface Difference {
  /** The window and group, or the partition. */
  readonly place: string;
  /** The measure, or the counter. */
  readonly what: string;
  readonly expected: string;
  readonly found: string;
}

export interface Comparison {
  readonly windows: number;
  readonly groups: number;
  readonly values: number;
  readonly differences: readonly Difference[];
}

export function compareWindows(expected: Recomputed['windows'], rows: FoundState['rows']): Comparison {
  const found = new Map<string, WindowRow>();
  for (const [aggregate, list] of rows)
    for (const row of list) found.set(`${aggregate}|${row.startMs}|${row.endMs}|${row.group}`, row);
  const differences: Difference[] = [];
  const windows = new Set<string>();
  let values = 0;
  for (const [place, measures] of expected) {
    windows.add(place.split('|', 3).join('|'));
    const row = found.get(place);
    for (const [what, wanted] of Object.entries(measures)) {
      values++;
      const is = row?.results[what];
      if (is === undefined || !agrees(wanted, is))
        differences.push({
          place,
          what,
          expected: show(wanted),
          found: row === undefined ? 'no such window or group' : JSON.stringify(is),
        });
    }
  }
  for (const [place, { results }] of found)
    if (!expected.has(place))
      differences.push({
        place,
        what: 'the whole group',
        expected: 'no such window or group',
        found: JSON.stringify(results),
      });
  return { windows: windows.size, groups: expected.size, values, differences };
}

function agrees(expected: Expected, found: WindowRow['results'][string]): boolean {
  if (expected.kind === 'exact') return JSON.stringify(found) === JSON.stringify(expected.value);
  const units = typeof found === 'string' ? unitsOf(found, expected.scale) : null;
  if (units === null) return false;
  const off = units - expected.value;
  return (off < 0n ? -off : off) <= expected.tolerance;
}

function show(expected: Expected): string {
  if (expected.kind === 'exact') return JSON.stringify(expected.value);
  return `${expected.value} ± ${expected.tolerance} (units of 10^-${expected.scale})`;
}

/** Counters, the accounting identity, and the offsets that they belong to. */
export function compareCounters(
  expected: Recomputed['counters'],
  found: FoundState,
  aggregates: readonly string[],
): { differences: Difference[]; accounting: string[] } {
  const differences: Difference[] = [];
  const accounting: string[] = [];
  for (const [partition, state] of found.partitions) {
    const place = `partition ${partition}`;
    const wanted = expected.get(partition) ?? new Map<string, number>();
    const has = new Map([...(state?.counters ?? [])].map(([name, value]) => [name, Number(value)]));
    for (const name of new Set([...wanted.keys(), ...has.keys()]))
      if ((wanted.get(name) ?? 0) !== (has.get(name) ?? 0))
        differences.push({
          place,
          what: name,
          expected: String(wanted.get(name) ?? 0),
          found: String(has.get(name) ?? 0),
        });
    if (state === null) continue;
    const of = (name: string) => has.get(name) ?? 0;
    const dead = [...has].reduce((sum, [name, value]) => sum + (name.startsWith('dead:') ? value : 0), 0);
    const span = state.position.nextOffset - state.baseOffset;
    if (of('consumed') + of('gaps') !== span)
      differences.push({
        place,
        what: 'consumed + gaps = span',
        expected: String(span),
        found: String(of('consumed') + of('gaps')),
      });
    for (const aggregate of aggregates) {
      const [counted, filtered, late] = ['counted', 'filtered', 'late'].map((fate) =>
        of(`${fate}:${aggregate}`),
      );
      const parts = [counted ?? 0, filtered ?? 0, of('duplicate'), late ?? 0, dead];
      const total = parts.reduce((a, b) => a + b, 0);
      const line = `${of('consumed')} consumed = ${counted} counted + ${filtered} filtered + ${of('duplicate')} duplicate + ${late} late + ${dead} dead`;
      accounting.push(
        `partition ${partition} ${aggregate}: ${line}${of('gaps') > 0 ? `; ${of('gaps')} gaps` : ''}`,
      );
      if (total !== of('consumed'))
        differences.push({
          place,
          what: `identity of ${aggregate}`,
          expected: String(of('consumed')),
          found: line,
        });
    }
  }
  return { differences, accounting };
}

/**
 * The side topics hold what was refused, each record at least once, and nothing else.
 * @param whole the same of the whole log: what was refused beyond the committed offsets may be there already
 */
export function compareSideTopics(
  expected: Recomputed,
  whole: Recomputed,
  dead: readonly ReadRecord[],
  late: readonly ReadRecord[],
): Difference[] {
  const deadFound = byOrigin(dead, 'reckon.reason');
  const lateFound = byOrigin(late, 'reckon.late.aggregates');
  const lateText = (refused: Recomputed['late']) =>
    new Map([...refused].map(([name, aggregates]) => [name, JSON.stringify(aggregates)]));
  return [
    ...compareTopic('dead-letter topic', expected.dead, whole.dead, deadFound),
    ...compareTopic('late topic', lateText(expected.late), lateText(whole.late), lateFound),
  ];
}

function compareTopic(
  topic: string,
  expected: ReadonlyMap<string, string>,
  allowed: ReadonlyMap<string, string>,
  found: ReadonlyMap<string, string>,
): Difference[] {
  const differences: Difference[] = [];
  const note = (name: string, wanted: string | undefined, is: string | undefined) =>
    differences.push({
      place: topic,
      what: `record ${name}`,
      expected: wanted ?? 'absent',
      found: is ?? 'absent',
    });
  for (const [name, reason] of expected) if (found.get(name) !== reason) note(name, reason, found.get(name));
  for (const [name, reason] of found)
    if (!expected.has(name) && allowed.get(name) !== reason) note(name, allowed.get(name), reason);
  return differences;
}

/** `<partition>:<offset>` → header. A record that is there twice says the same twice, or else both. */
function byOrigin(records: readonly ReadRecord[], header: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const { headers } of records) {
    const name = `${headers['__streams.errors.partition']}:${headers['__streams.errors.offset']}`;
    const text = headers[header] ?? '';
    const before = found.get(name);
    found.set(name, before === undefined || before === text ? text : `${before} and ${text}`);
  }
  return found;
}
