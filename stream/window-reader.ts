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
import { windowsOf } from '../domain/window-view.ts';
import type { GroupSlots } from '../domain/window-view.ts';
import { paneMs } from '../domain/window.ts';
import type { SessionWindow, Window } from '../domain/window.ts';
import { paneField, paneMember, parsePaneMember } from './keys.ts';
import { groupsOfPane } from './pane-groups.ts';
import type { PaneRevision } from './pane-reader.ts';
import { watermarkOf } from './progress.ts';
import type { PartitionState, StateStore } from './state-store.ts';
import { WindowCache } from './window-cache.ts';
import type { Pane } from './window-cache.ts';
import { resultsOf, statusOf } from './window-rows.ts';
import type { Labels, WindowRow } from './window-rows.ts';

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

/** Panes whose names are worked out from the range; those of more are looked up in the index. */
const namedPanesMax = 2_000;

export class WindowReader {
  readonly #store: StateStore;
  readonly #pipeline: Pipeline;
  readonly #partitions: readonly number[];
  readonly #cache: WindowCache;

  /** @param partitions those of the topic */
  constructor(store: StateStore, pipeline: Pipeline, partitions: readonly number[]) {
    this.#store = store;
    this.#pipeline = pipeline;
    this.#partitions = partitions;
    this.#cache = new WindowCache(store.panes);
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
        if (startMs < fromMs || startMs >= toMs) continue;
        const list = panesOf.get(startMs);
        if (list === undefined) panesOf.set(startMs, [pane]);
        else list.push(pane);
      }
    if (group !== undefined && aggregate.slots.every(({ kind }) => isScalar(kind))) {
      const wanted = [...new Set([...panesOf.values()].flat())];
      return windowsOf(aggregate, await this.#groups(aggregate, wanted, group))
        .filter(({ startMs }) => panesOf.has(startMs))
        .map((one) => toRow(labels, one));
    }
    const windows = [...panesOf]
      .sort(([a], [b]) => a - b)
      .map(([startMs, list]) => ({ startMs, endMs: startMs + window.sizeMs, panes: list }));
    const rows = await this.#cache.read(labels, windows);
    return group === undefined ? rows : rows.filter((row) => row.group === group);
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
      if (group !== undefined && aggregate.slots.every(({ kind }) => isScalar(kind))) {
        const fields = aggregate.slots.map(({ key }) => paneField(key, group));
        const cells = await this.#store.panes.readFields(partition, members, fields);
        return cells.flatMap((pane) => groupsOfPane(aggregate, pane));
      }
      const cells = await this.#store.panes.read(partition, members);
      const groups = cells.flatMap((pane) => groupsOfPane(aggregate, pane));
      return group === undefined ? groups : groups.filter((one) => one.group === group);
    });
    return (await Promise.all(perPartition)).flat();
  }
}

function toRow(labels: Labels, { startMs, endMs, group, slots, revision }: GroupSlots): WindowRow {
  const { aggregate } = labels;
  const { window } = aggregate;
  // Until a session's gap has passed once more, an event may still extend it.
  const status = statusOf(labels, window.kind === 'session' ? endMs + window.gapMs : endMs);
  return { startMs, endMs, group, results: resultsOf(aggregate, slots), status, revision };
}
