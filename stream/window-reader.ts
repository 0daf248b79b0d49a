/**
 * Reads windows from Redis: panes merged over partitions, labelled by the pipeline's watermark. Guarantee: what a row says is the
 * committed state (of each partition by itself, at one moment between two commits); a closed window is the same whenever
 * it is read, unless its revision says otherwise.
 */
import { isScalar } from '../domain/aggregate.ts';
import type { Aggregate } from '../domain/aggregate.ts';
import { ReckonError } from '../domain/errors.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import { pipelineWatermarkMs } from '../domain/watermark.ts';
import { measureResult, windowsOf } from '../domain/window-view.ts';
import type { GroupSlots, TopEntry } from '../domain/window-view.ts';
import { paneMs } from '../domain/window.ts';
import type { SessionWindow, Window } from '../domain/window.ts';
import { paneField, parsePaneMember } from './keys.ts';
import { groupsOfPane } from './pane-groups.ts';
import type { PaneRevision } from './pane-reader.ts';
import type { PartitionState, StateStore } from './state-store.ts';

/** `closed`: no more changes are expected; one that happens all the same raises the revision. */
export type WindowStatus = 'open' | 'closed';

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

/** A partition is idle when nothing came for this long, and its owner has looked not longer ago than this. */
const idleAfterMs = 10_000;
const reportMaxAgeMs = 10_000;
/** Rows of closed windows that are kept in memory. */
const cachedRowsMax = 200_000;

/** A pane of one partition, before it is read. */
interface Pane extends PaneRevision {
  readonly partition: number;
  readonly startMs: number;
  readonly endMs: number;
  /** No record can change it any more. */
  readonly closed: boolean;
}

interface Labels {
  readonly aggregate: Aggregate;
  readonly watermarkMs: number;
}

export class WindowReader {
  readonly #store: StateStore;
  readonly #pipeline: Pipeline;
  readonly #partitions: readonly number[];
  /** Rows of closed windows by aggregate and start, with the revisions of their panes. */
  readonly #cache = new Map<string, { readonly revisions: string; readonly rows: readonly WindowRow[] }>();
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
    const states = new Map<number, PartitionState | null>();
    await Promise.all(
      this.#partitions.map(async (partition) => states.set(partition, await this.#store.read(partition))),
    );
    const watermarkMs = this.#watermarkMs([...states.values()], nowMs);
    const labels = { aggregate, watermarkMs };
    const { window } = aggregate;
    return {
      watermarkMs: Number.isFinite(watermarkMs) ? watermarkMs : null,
      offsets: Object.fromEntries(
        this.#partitions.map((partition) => [partition, states.get(partition)?.position.nextOffset ?? 0]),
      ),
      rows:
        window.kind === 'session'
          ? await this.#sessions(labels, window, range, states)
          : await this.#fixedWindows(labels, window, range, states),
    };
  }

  #watermarkMs(states: readonly (PartitionState | null)[], nowMs: number): number {
    const begun = states.filter((state) => state !== null);
    if (begun.length === 0) return Number.NEGATIVE_INFINITY;
    return pipelineWatermarkMs(
      begun.map(({ position, report }) => ({
        maxEventTimeMs: position.maxEventTimeMs,
        idle:
          report !== null &&
          report.idleSinceMs !== null &&
          nowMs - report.idleSinceMs >= idleAfterMs &&
          nowMs - report.seenAtMs <= reportMaxAgeMs,
      })),
      this.#pipeline.outOfOrderMs,
      nowMs,
    );
  }

  async #fixedWindows(
    labels: Labels,
    window: Exclude<Window, SessionWindow>,
    { fromMs, toMs, group }: WindowRange,
    states: ReadonlyMap<number, PartitionState | null>,
  ): Promise<WindowRow[]> {
    const { aggregate } = labels;
    const slideMs = paneMs(window);
    const panes = await this.#panes(aggregate, fromMs, toMs - slideMs + window.sizeMs, states);
    const panesOf = new Map<number, Pane[]>();
    for (const pane of panes)
      for (let endMs = pane.endMs; endMs <= pane.startMs + window.sizeMs; endMs += slideMs) {
        const startMs = endMs - window.sizeMs;
        if (startMs < fromMs || startMs >= toMs) continue;
        const list = panesOf.get(startMs);
        if (list === undefined) panesOf.set(startMs, [pane]);
        else list.push(pane);
      }
    const rows = new Map<number, readonly WindowRow[]>();
    const missing = new Set<Pane>();
    for (const [startMs, list] of panesOf) {
      const cached = this.#cache.get(`${aggregate.name}|${startMs}`);
      if (cached?.revisions === revisionsOf(list)) rows.set(startMs, cached.rows);
      else for (const pane of list) missing.add(pane);
    }
    const wanted = [...panesOf.keys()].filter((startMs) => !rows.has(startMs));
    const groups = await this.#groups(aggregate, [...missing], group);
    const fresh = groupByStart(windowsOf(aggregate, groups));
    for (const startMs of wanted) {
      const made = (fresh.get(startMs) ?? []).map((one) => toRow(labels, one));
      rows.set(startMs, made);
      const list = panesOf.get(startMs) ?? [];
      if (group === undefined && made[0]?.status === 'closed' && list.every(({ closed }) => closed))
        this.#keep(`${aggregate.name}|${startMs}`, revisionsOf(list), made);
    }
    const sorted = [...rows].sort(([a], [b]) => a - b).flatMap(([, list]) => list);
    return group === undefined ? sorted : sorted.filter((row) => row.group === group);
  }

  /** A session may reach beyond the range, so as many panes are read as it takes to see both of its ends. */
  async #sessions(
    labels: Labels,
    { gapMs }: SessionWindow,
    { fromMs, toMs, group }: WindowRange,
    states: ReadonlyMap<number, PartitionState | null>,
  ): Promise<WindowRow[]> {
    for (let marginMs = 16 * gapMs; ; marginMs *= 4) {
      const [low, high] = [fromMs - marginMs, toMs + marginMs];
      const panes = await this.#panes(labels.aggregate, low, high, states);
      const windows = windowsOf(labels.aggregate, await this.#groups(labels.aggregate, panes, group));
      const near = windows.filter(({ startMs, endMs }) => endMs >= fromMs && startMs < toMs);
      if (near.some(({ startMs, endMs }) => startMs < low + 2 * gapMs || endMs > high - 2 * gapMs)) continue;
      return near.filter(({ startMs }) => startMs >= fromMs).map((window) => toRow(labels, window));
    }
  }

  /** The panes of all partitions that begin in [fromMs, toMs), unread. */
  async #panes(
    { name, window, allowedLatenessMs }: Aggregate,
    fromMs: number,
    toMs: number,
    states: ReadonlyMap<number, PartitionState | null>,
  ): Promise<Pane[]> {
    const lastEndMs = toMs + (window.kind === 'session' ? 2 * window.gapMs : window.sizeMs);
    const perPartition = this.#partitions.map(async (partition) => {
      const maxEventTimeMs = states.get(partition)?.position.maxEventTimeMs ?? Number.NEGATIVE_INFINITY;
      const closedMs = maxEventTimeMs - this.#pipeline.outOfOrderMs - allowedLatenessMs;
      const isWanted = (member: string): boolean => {
        const { aggregate, startMs } = parsePaneMember(member);
        return aggregate === name && startMs >= fromMs && startMs < toMs;
      };
      const found = await this.#store.panes.list(partition, fromMs, lastEndMs, isWanted);
      return found.map((pane): Pane => {
        const { startMs, endMs } = parsePaneMember(pane.member);
        return { ...pane, partition, startMs, endMs, closed: endMs <= closedMs };
      });
    });
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

  #keep(key: string, revisions: string, rows: readonly WindowRow[]): void {
    this.#drop(key);
    this.#cache.set(key, { revisions, rows });
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

function groupByStart(windows: readonly GroupSlots[]): Map<number, GroupSlots[]> {
  const byStart = new Map<number, GroupSlots[]>();
  for (const window of windows) {
    const list = byStart.get(window.startMs);
    if (list === undefined) byStart.set(window.startMs, [window]);
    else list.push(window);
  }
  return byStart;
}

function revisionsOf(panes: readonly Pane[]): string {
  return panes.map(({ partition, member, revision }) => `${partition}|${member}|${revision}`).join();
}

function toRow({ aggregate, watermarkMs }: Labels, window: GroupSlots): WindowRow {
  const { startMs, endMs, group, slots, revision } = window;
  // Until a session's gap has passed once more, an event may still extend it.
  const graceMs =
    aggregate.allowedLatenessMs + (aggregate.window.kind === 'session' ? aggregate.window.gapMs : 0);
  return {
    startMs,
    endMs,
    group,
    results: Object.fromEntries(
      aggregate.measures.map((measure) => [measure.name, measureResult(measure, slots)]),
    ),
    status: endMs + graceMs <= watermarkMs ? 'closed' : 'open',
    revision,
  };
}
