/**
 * Reads windows from Redis: panes merged over partitions, labelled by the pipeline's watermark. Guarantee: what a row says is the
 * committed state (of each partition by itself, at one moment between two commits); a closed window is the same whenever
 * it is read, unless its revision says otherwise.
 */
import { isScalar } from '../domain/aggregate.ts';
import type { Aggregate } from '../domain/aggregate.ts';
import { ReckonError } from '../domain/errors.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import { noEventTime } from '../domain/watermark.ts';
import { measureResult, windowsOf } from '../domain/window-view.ts';
import type { GroupSlots, TopEntry } from '../domain/window-view.ts';
import { paneMs } from '../domain/window.ts';
import type { SessionWindow, Window } from '../domain/window.ts';
import { paneField, paneMember, parsePaneMember } from './keys.ts';
import { groupsOfPane } from './pane-groups.ts';
import type { PaneRevision } from './pane-reader.ts';
import { watermarkOf } from './progress.ts';
import type { PartitionState, StateStore } from './state-store.ts';

/**
 * `closed`: no more changes are expected; one that happens all the same raises the revision. `reconciled`: closed, and found equal
 * to the recomputation from the lake.
 */
export type WindowStatus = 'open' | 'closed' | 'reconciled';

export interface WindowRow {
  /** Epoch milliseconds, half-open. */
  readonly startMs: number;
  readonly endMs: number;
  /** The group as a JSON array of texts: `["SFO"]`. */
  readonly group: string;
  /** By measure: exact decimal text, the list of a `topK`, or null where no value was there. */
  readonly results: Readonly<Record<string, string | readonly TopEntry[] | null>>;
  readonly status: WindowStatus;
  /** Rises whenever a commit changes the window's panes. */
  readonly revision: number;
}

export interface WindowsRead {
  /** Of the whole pipeline (`domain/watermark.ts`); null before the first event. */
  readonly watermarkMs: number | null;
  /** By partition, the next offset that the rows do not include yet, or include already: they are read after it. */
  readonly offsets: Readonly<Record<string, number>>;
  /** By start, end and group. */
  readonly rows: readonly WindowRow[];
}

export interface WindowRange {
  /** Windows that begin in [fromMs, toMs), epoch milliseconds; ±Infinity where it is open. */
  readonly fromMs: number;
  readonly toMs: number;
  /** One group only, as `WindowRow.group`. */
  readonly group?: string;
}

/** Rows that are kept in memory, until their panes change. */
const cachedRowsMax = 200_000;
/** Panes whose names are worked out from the range; those of more are looked up in the index. */
const namedPanesMax = 2_000;

/** A pane of one partition, before it is read. */
interface Pane extends PaneRevision {
  readonly partition: number;
  readonly startMs: number;
  readonly endMs: number;
}

interface Labels {
  readonly aggregate: Aggregate;
  readonly watermarkMs: number;
  /** Windows that end up to here (plus the allowed lateness) were found exact in every partition. */
  readonly reconciledMs: number;
}

export class WindowReader {
  readonly #store: StateStore;
  readonly #pipeline: Pipeline;
  readonly #partitions: readonly number[];
  /** Rows by aggregate and start, with what they were made from. */
  readonly #cache = new Map<string, { readonly madeFrom: string; readonly rows: readonly WindowRow[] }>();
  #cachedRows = 0;

  /** @param partitions those of the topic */
  constructor(store: StateStore, pipeline: Pipeline, partitions: readonly number[]) {
    this.#store = store;
    this.#pipeline = pipeline;
    this.#partitions = partitions;
  }

  /** @throws ReckonError `invalid-input` for an unknown aggregate */
  async read(aggregateName: string, range: WindowRange, nowMs: number): Promise<WindowsRead> {
    const aggregate = this.#pipeline.aggregates.find(({ name }) => name === aggregateName);
    if (aggregate === undefined)
      throw new ReckonError(
        'invalid-input',
        `Pipeline ${this.#pipeline.name} has no aggregate ${aggregateName}.`,
        `It has ${this.#pipeline.aggregates.map(({ name }) => name).join(', ')}.`,
      );
    const { window } = aggregate;
    // The panes do not wait for the states, which only labels need.
    const [states, panes] = await Promise.all([
      this.#readStates(),
      window.kind === 'session' ? null : this.#fixedPanes(aggregate, window, range),
    ]);
    const watermarkMs = watermarkOf(this.#pipeline, [...states.values()], nowMs);
    const labels = { aggregate, watermarkMs, reconciledMs: this.#reconciledMs([...states.values()]) };
    return {
      watermarkMs: Number.isFinite(watermarkMs) ? watermarkMs : null,
      offsets: Object.fromEntries(
        this.#partitions.map((partition) => [partition, states.get(partition)?.position.nextOffset ?? 0]),
      ),
      rows:
        window.kind === 'session'
          ? await this.#sessions(labels, window, range)
          : await this.#fixedWindows(labels, window, range, panes ?? []),
    };
  }

  async #readStates(): Promise<Map<number, PartitionState | null>> {
    const states = this.#partitions.map(
      async (partition) => [partition, await this.#store.read(partition)] as const,
    );
    return new Map(await Promise.all(states));
  }

  /** The smallest of the partitions that have events at all. */
  #reconciledMs(states: readonly (PartitionState | null)[]): number {
    const begun = states.filter(
      (state) => state !== null && state.position.maxEventTimeMs !== noEventTime,
    ) as PartitionState[];
    return Math.min(...begun.map((state) => state.reconciledUpToMs)) - this.#pipeline.outOfOrderMs;
  }

  async #fixedWindows(
    labels: Labels,
    window: Exclude<Window, SessionWindow>,
    { fromMs, toMs, group }: WindowRange,
    panes: readonly Pane[],
  ): Promise<WindowRow[]> {
    const { aggregate } = labels;
    const panesOf = new Map<number, Pane[]>();
    for (const pane of panes)
      for (let endMs = pane.endMs; endMs <= pane.startMs + window.sizeMs; endMs += paneMs(window)) {
        const startMs = endMs - window.sizeMs;
        if (startMs >= fromMs && startMs < toMs) listOf(panesOf, startMs).push(pane);
      }
    const rows = new Map<number, readonly WindowRow[]>();
    const changed = new Set<Pane>();
    const madeFrom = new Map<number, string>();
    for (const [startMs, list] of panesOf) {
      const key = `${statusOf(labels, startMs + window.sizeMs)} ${list.map(identityOf).join()}`;
      madeFrom.set(startMs, key);
      const cached = this.#cache.get(`${aggregate.name}|${startMs}`);
      if (cached?.madeFrom === key) rows.set(startMs, cached.rows);
      else for (const pane of list) changed.add(pane);
    }
    const fresh = new Map<number, GroupSlots[]>();
    for (const one of windowsOf(aggregate, await this.#groups(aggregate, [...changed], group)))
      listOf(fresh, one.startMs).push(one);
    for (const [startMs, key] of madeFrom) {
      if (rows.has(startMs)) continue;
      const made = (fresh.get(startMs) ?? []).map((one) => toRow(labels, one));
      rows.set(startMs, made);
      if (group === undefined) this.#keep(`${aggregate.name}|${startMs}`, key, made);
    }
    const sorted = [...rows].sort(([a], [b]) => a - b).flatMap(([, list]) => list);
    return group === undefined ? sorted : sorted.filter((row) => row.group === group);
  }

  /** A session may reach beyond the range, so as many panes are read as it takes to see both of its ends. */
  async #sessions(
    labels: Labels,
    { gapMs }: SessionWindow,
    { fromMs, toMs, group }: WindowRange,
  ): Promise<WindowRow[]> {
    for (let marginMs = 16 * gapMs; ; marginMs *= 4) {
      const [low, high] = [fromMs - marginMs, toMs + marginMs];
      const panes = await this.#indexedPanes(labels.aggregate, low, high);
      const windows = windowsOf(labels.aggregate, await this.#groups(labels.aggregate, panes, group));
      const near = windows.filter(({ startMs, endMs }) => endMs >= fromMs && startMs < toMs);
      if (near.some(({ startMs, endMs }) => startMs < low + 2 * gapMs || endMs > high - 2 * gapMs)) continue;
      return near.filter(({ startMs }) => startMs >= fromMs).map((window) => toRow(labels, window));
    }
  }

  /** The panes of the windows that begin in the range, in all partitions. */
  async #fixedPanes(
    aggregate: Aggregate,
    window: Exclude<Window, SessionWindow>,
    { fromMs, toMs }: WindowRange,
  ): Promise<Pane[]> {
    const slideMs = paneMs(window);
    const count = (toMs - fromMs) / slideMs;
    // Hopping windows may have panes of late events besides, whose names only the index knows.
    if (window.kind === 'hopping' || !(count <= namedPanesMax))
      return this.#indexedPanes(aggregate, fromMs, toMs - slideMs + window.sizeMs);
    const members: string[] = [];
    for (let startMs = Math.ceil(fromMs / slideMs) * slideMs; startMs < toMs; startMs += slideMs)
      members.push(paneMember({ aggregate: aggregate.name, startMs, endMs: startMs + slideMs }));
    return this.#revised(async (partition) => this.#store.panes.revisions(partition, members));
  }

  /** The panes of all partitions that begin in [fromMs, toMs). */
  async #indexedPanes({ name, window }: Aggregate, fromMs: number, toMs: number): Promise<Pane[]> {
    const lastEndMs = toMs + (window.kind === 'session' ? 2 * window.gapMs : window.sizeMs);
    const isWanted = (member: string): boolean => {
      const { aggregate, startMs } = parsePaneMember(member);
      return aggregate === name && startMs >= fromMs && startMs < toMs;
    };
    return this.#revised(async (partition) => {
      const members = await this.#store.panes.members(partition, fromMs, lastEndMs);
      return this.#store.panes.revisions(partition, members.filter(isWanted));
    });
  }

  async #revised(read: (partition: number) => Promise<PaneRevision[]>): Promise<Pane[]> {
    const perPartition = this.#partitions.map(async (partition) =>
      (await read(partition)).map((pane): Pane => {
        const { startMs, endMs } = parsePaneMember(pane.member);
        return { ...pane, partition, startMs, endMs };
      }),
    );
    return (await Promise.all(perPartition)).flat();
  }

  async #groups(aggregate: Aggregate, panes: readonly Pane[], group?: string): Promise<GroupSlots[]> {
    const perPartition = this.#partitions.map(async (partition) => {
      const members = panes.filter((pane) => pane.partition === partition).map(({ member }) => member);
      if (members.length === 0) return [];
      const fields =
        group === undefined || !aggregate.slots.every(({ kind }) => isScalar(kind))
          ? null
          : aggregate.slots.map(({ key }) => paneField(key, group));
      const cells = await this.#store.panes.read(partition, members, fields);
      const groups = cells.flatMap((pane) => groupsOfPane(aggregate, pane));
      return group === undefined ? groups : groups.filter((one) => one.group === group);
    });
    return (await Promise.all(perPartition)).flat();
  }

  #keep(key: string, madeFrom: string, rows: readonly WindowRow[]): void {
    this.#drop(key);
    this.#cache.set(key, { madeFrom, rows });
    this.#cachedRows += rows.length;
    for (const oldest of this.#cache.keys()) {
      if (this.#cachedRows <= cachedRowsMax) break;
      this.#drop(oldest);
    }
  }

  #drop(key: string): void {
    this.#cachedRows -= this.#cache.get(key)?.rows.length ?? 0;
    this.#cache.delete(key);
  }
}

function listOf<T>(lists: Map<number, T[]>, key: number): T[] {
  let list = lists.get(key);
  if (list === undefined) lists.set(key, (list = []));
  return list;
}

/** Of two panes with the same identity the cells are the same: an owner commits each revision once. */
function identityOf({ partition, member, revision, owner }: Pane): string {
  return `${partition}|${member}|${revision}|${owner}`;
}

/** @param endMs after which nothing is expected, but for the allowed lateness */
function statusOf({ aggregate, watermarkMs, reconciledMs }: Labels, endMs: number): WindowStatus {
  const closesMs = endMs + aggregate.allowedLatenessMs;
  if (closesMs > watermarkMs) return 'open';
  return closesMs <= reconciledMs ? 'reconciled' : 'closed';
}

function toRow(labels: Labels, { startMs, endMs, group, slots, revision }: GroupSlots): WindowRow {
  const { window, measures } = labels.aggregate;
  const results: Record<string, WindowRow['results'][string]> = {};
  for (const measure of measures) results[measure.name] = measureResult(measure, slots);
  // Until a session's gap has passed once more, an event may still extend it.
  const status = statusOf(labels, window.kind === 'session' ? endMs + window.gapMs : endMs);
  return { startMs, endMs, group, results, status, revision };
}
