/**
 * The rows of tumbling and hopping windows, kept between reads: panes that no commit has changed are not read again, and rows of
 * groups that did not change are not worked out again. Guarantee: each pane is shown as Redis held it when its revision was read for
 * this call, or later. Of aggregates with sketches or families only rows are kept: their slots would fill the memory.
 */
import { isScalar } from '../domain/aggregate.ts';
import type { Aggregate } from '../domain/aggregate.ts';
import { mergeSlots } from '../domain/window-view.ts';
import type { SlotValue } from '../domain/window-view.ts';
import { PaneGroups } from './pane-groups.ts';
import type { PaneReader, PaneRevision } from './pane-reader.ts';
import { resultsOf, statusOf } from './window-rows.ts';
import type { Labels, WindowRow } from './window-rows.ts';

/** Rows that are kept in memory. */
const rowsMax = 200_000;
/** Texts of panes that are kept, to see what has changed. */
const textsMax = 300_000;

/** A pane of one partition, before it is read. */
export interface Pane extends PaneRevision {
  readonly partition: number;
  readonly startMs: number;
  readonly endMs: number;
}

/** A window with the panes that it consists of. */
export interface WindowPanes {
  readonly startMs: number;
  readonly endMs: number;
  readonly panes: readonly Pane[];
}

interface KeptPane {
  readonly groups: PaneGroups;
  /** Of an earlier commit than the one that `groups` shows, or of the same. */
  readonly identity: string;
}

interface KeptWindow {
  readonly madeFrom: string;
  readonly rows: readonly WindowRow[];
  /** By group, what the row was made from; empty where slots are not kept. */
  readonly made: ReadonlyMap<string, Made>;
}

interface Made {
  /** In each pane. */
  readonly parts: readonly (readonly SlotValue[])[];
  readonly results: WindowRow['results'];
}

export class WindowCache {
  readonly #reader: PaneReader;
  /** Those that were used last at the end. */
  readonly #panes = new Map<string, KeptPane>();
  readonly #windows = new Map<string, KeptWindow>();
  /** One read at a time: a pane must not be put back to what an earlier one has seen. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(reader: PaneReader) {
    this.#reader = reader;
  }

  /** @param windows by start @returns their rows, by group within a window */
  read(labels: Labels, windows: readonly WindowPanes[]): Promise<WindowRow[]> {
    const rows = this.#last.then(() => this.#read(labels, windows));
    this.#last = rows.catch(() => undefined);
    return rows;
  }

  async #read(labels: Labels, windows: readonly WindowPanes[]): Promise<WindowRow[]> {
    const { aggregate } = labels;
    const found = windows.map((window) => {
      const key = `${aggregate.name}|${window.startMs}`;
      const madeFrom = `${statusOf(labels, window.endMs)} ${window.panes.map(identityOf).join()}`;
      return { window, key, madeFrom, kept: this.#windows.get(key) ?? null };
    });
    const changed = found.filter(({ madeFrom, kept }) => kept?.madeFrom !== madeFrom);
    const panes = await this.#refresh(aggregate, new Set(changed.flatMap(({ window }) => window.panes)));
    const lists = found.map(({ window, key, madeFrom, kept }) => {
      const groups = window.panes.flatMap((pane) => panes.get(pane) ?? []);
      const made = kept?.madeFrom === madeFrom ? kept : assemble(labels, window, groups, madeFrom, kept);
      touch(this.#windows, key, made);
      return made.rows;
    });
    trim(this.#windows, rowsMax, ({ rows }) => rows.length);
    trim(this.#panes, textsMax, ({ groups }) => groups.texts.length);
    return ([] as WindowRow[]).concat(...lists);
  }

  /** Reads the panes that a commit has changed since they were read. */
  async #refresh(aggregate: Aggregate, panes: ReadonlySet<Pane>): Promise<Map<Pane, PaneGroups>> {
    const current = new Map<Pane, PaneGroups>();
    const stale = new Map<number, Pane[]>();
    for (const pane of panes) {
      const key = `${pane.partition}|${pane.member}`;
      const kept = this.#panes.get(key) ?? { groups: new PaneGroups(aggregate), identity: '' };
      if (keepsSlots(aggregate)) touch(this.#panes, key, kept);
      current.set(pane, kept.groups);
      if (kept.identity === identityOf(pane)) continue;
      const list = stale.get(pane.partition);
      if (list === undefined) stale.set(pane.partition, [pane]);
      else list.push(pane);
    }
    const reads = [...stale].map(async ([partition, list]) => {
      const byMember = new Map(list.map((pane) => [pane.member, pane]));
      const groupsOf = (member: string) => current.get(byMember.get(member) as Pane) as PaneGroups;
      const members = [...byMember.keys()];
      for (const cells of await this.#reader.read(partition, members, (member) => groupsOf(member).texts))
        groupsOf(cells.member).take(cells);
      if (!keepsSlots(aggregate)) return;
      for (const pane of list)
        touch(this.#panes, `${partition}|${pane.member}`, {
          groups: groupsOf(pane.member),
          identity: identityOf(pane),
        });
    });
    // All of them, also where one fails: none may come in after the next read has begun.
    const failed = (await Promise.allSettled(reads)).find(({ status }) => status === 'rejected');
    if (failed !== undefined) throw (failed as PromiseRejectedResult).reason;
    return current;
  }
}

/** Of two panes with the same identity the cells are the same: an owner commits each revision once. */
function identityOf({ partition, member, revision, owner }: Pane): string {
  return `${partition}|${member}|${revision}|${owner}`;
}

function assemble(
  labels: Labels,
  { startMs, endMs }: WindowPanes,
  panes: readonly PaneGroups[],
  madeFrom: string,
  before: KeptWindow | null,
): KeptWindow {
  const { aggregate } = labels;
  const gathered = new Map<string, { parts: (readonly SlotValue[])[]; revision: number }>();
  for (const { groups, revision } of panes)
    for (const [group, slots] of groups) {
      const found = gathered.get(group);
      if (found === undefined) gathered.set(group, { parts: [slots], revision });
      else {
        found.parts.push(slots);
        found.revision += revision;
      }
    }
  const status = statusOf(labels, endMs);
  const made = new Map<string, Made>();
  const inOrder = [...gathered].sort(([a], [b]) => (a < b ? -1 : 1));
  const rows = inOrder.map(([group, { parts, revision }]): WindowRow => {
    const known = before?.made.get(group);
    const isKnown = known !== undefined && isSame(known.parts, parts);
    const results = isKnown ? known.results : resultsOf(aggregate, mergeSlots(aggregate, parts));
    if (keepsSlots(aggregate)) made.set(group, { parts, results });
    return { startMs, endMs, group, results, status, revision };
  });
  return { madeFrom, rows, made };
}

function keepsSlots({ slots }: Aggregate): boolean {
  return slots.every(({ kind }) => isScalar(kind));
}

/** Slots that have changed are others: `PaneGroups` never changes what it has given away. */
function isSame(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((one, i) => one === b[i]);
}

/** Puts an entry at the end. */
function touch<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key);
  map.set(key, value);
}

/** Drops entries from the beginning until the others come to no more than `max`. */
function trim<T>(map: Map<string, T>, max: number, sizeOf: (value: T) => number): void {
  let size = 0;
  for (const value of map.values()) size += sizeOf(value);
  for (const [key, value] of map) {
    if (size <= max) break;
    map.delete(key);
    size -= sizeOf(value);
  }
}
