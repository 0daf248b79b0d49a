/**
 * What of the lake one recomputation reads. Guarantee: pure; a slice holds every record that it needs (those that count, and
 * those before them whose ids may make them duplicates), and knows the watermark and the log time at its beginning from the
 * files' statistics. So slices can be recomputed one after the other, or one alone, with the same result as all at once.
 */
import type { OffsetVector } from '../domain/offset-vector.ts';
import { fromOffsetVector } from '../domain/offset-vector.ts';
import type { DataFile } from './file-statistics.ts';

/** What is known of the records of a partition that lie before an offset. */
export interface LogState {
  /** Largest event time; null where none could be decoded. */
  readonly maxTimeMs: number | null;
  /** Largest broker timestamp; null where there was no record. */
  readonly logTimeMs: number | null;
}

/** Records of one partition that follow each other in offset order. */
export interface Segment {
  readonly partition: number;
  readonly firstOffset: number;
  /** The offset after the last. */
  readonly nextOffset: number;
  /** Records before this offset are read for their ids and times, and do not count. */
  readonly countFrom: number;
  /** Before `firstOffset`. */
  readonly before: LogState;
}

export interface Slice {
  readonly files: readonly DataFile[];
  readonly segments: readonly Segment[];
}

/** Event times in epoch milliseconds, `from` included, `to` not. */
export interface TimeRange {
  readonly fromMs: number;
  readonly toMs: number;
}

export interface SliceOptions {
  /** Everything below these offsets. */
  readonly vector: OffsetVector;
  readonly dedupHorizonMs: number;
  /** By partition, where the lake begins after files have expired. */
  readonly expired?: ReadonlyMap<number, LogState>;
}

/** Records of one slice: about as many as a database of 1 GB sorts without spilling. */
export const sliceRows = 4_000_000;

/** @param files all data files, by partition and offset @returns slices that cover everything, each record counts in one */
export function planSlices(files: readonly DataFile[], options: SliceOptions, rowsMax = sliceRows): Slice[] {
  const partitions = readPartitions(files, options);
  const rowsOfOne = Math.max(1, rowsMax / Math.max(1, partitions.length));
  const slices: { files: DataFile[]; segments: Segment[] }[] = [];
  for (const partition of partitions)
    for (const [i, { context, first, last }] of runsOf(partition, rowsOfOne).entries()) {
      const slice = (slices[i] ??= { files: [], segments: [] });
      slice.files.push(...partition.files.slice(context, last + 1));
      slice.segments.push(partition.segment(context, last, first));
    }
  return slices;
}

/**
 * @param files all data files, by partition and offset
 * @returns the slice that has every record with an event time in the range; what else it holds, the caller leaves out by time
 */
export function planTimeSlice(files: readonly DataFile[], options: SliceOptions, range: TimeRange): Slice {
  const slice = { files: [] as DataFile[], segments: [] as Segment[] };
  for (const partition of readPartitions(files, options)) {
    const needed = new Set<number>();
    for (const [i, { minTimeMs, maxTimeMs }] of partition.files.entries())
      if (maxTimeMs >= range.fromMs && minTimeMs < range.toMs)
        for (let at = partition.contextOf(i); at <= i; at++) needed.add(at);
    for (let at = 0; at < partition.files.length; at++) {
      if (!needed.has(at)) continue;
      const first = at;
      while (needed.has(at + 1)) at++;
      slice.files.push(...partition.files.slice(first, at + 1));
      slice.segments.push(partition.segment(first, at, first));
    }
  }
  return slice;
}

/**
 * From when windows are whole that the lake has lost records before, by partition: one that begins at or before this time may have
 * had events that have expired, or has some of which nobody knows any more whether they are duplicates of those.
 */
export function wholeAfter(files: readonly DataFile[], options: SliceOptions): ReadonlyMap<number, number> {
  const whole = new Map<number, number>();
  for (const [partition, { maxTimeMs }] of options.expired ?? [])
    whole.set(partition, maxTimeMs ?? Number.NEGATIVE_INFINITY);
  for (const log of readPartitions(files, options)) {
    const { partition } = log.files[0] as DataFile;
    const known = whole.get(partition);
    if (known !== undefined) whole.set(partition, Math.max(known, log.doubtfulUntilMs()));
  }
  return whole;
}

/** The files of one partition below the vector, with the state of the log before each. */
class PartitionLog {
  readonly files: readonly DataFile[];
  readonly #nextOffset: number;
  readonly #horizonMs: number;
  /** Before file i; of the last one plus one: after all. */
  readonly #states: LogState[];

  constructor(files: readonly DataFile[], nextOffset: number, horizonMs: number, before: LogState) {
    this.files = files;
    this.#nextOffset = nextOffset;
    this.#horizonMs = horizonMs;
    this.#states = [before];
    for (const { maxTimeMs, newestMs } of files) {
      const state = this.#states.at(-1) as LogState;
      this.#states.push({
        maxTimeMs: larger(state.maxTimeMs, Number.isFinite(maxTimeMs) ? maxTimeMs : null),
        logTimeMs: larger(state.logTimeMs, newestMs),
      });
    }
  }

  /** The first file that may hold an id which makes a record of file `i` a duplicate. */
  contextOf(i: number): number {
    const { logTimeMs } = this.#states[i] as LogState;
    let first = i;
    // Log time never falls, so the first file that is too old ends the search.
    while (
      first > 0 &&
      ((this.#states[first] as LogState).logTimeMs ?? 0) >= (logTimeMs ?? 0) - this.#horizonMs
    )
      first--;
    return first;
  }

  /** Largest event time of the files whose first records may repeat an id that has expired; −Infinity where none does. */
  doubtfulUntilMs(): number {
    const goneMs = (this.#states[0] as LogState).logTimeMs ?? Number.NEGATIVE_INFINITY;
    return this.files.reduce((until, { maxTimeMs }, i) => {
      const { logTimeMs } = this.#states[i] as LogState;
      return (logTimeMs ?? goneMs) <= goneMs + this.#horizonMs ? Math.max(until, maxTimeMs) : until;
    }, Number.NEGATIVE_INFINITY);
  }

  /** @param counted the first file whose records count */
  segment(first: number, last: number, counted: number): Segment {
    const [begin, end] = [this.files[first] as DataFile, this.files[last] as DataFile];
    const countFrom = (this.files[counted] as DataFile).firstOffset;
    return {
      partition: begin.partition,
      firstOffset: begin.firstOffset,
      nextOffset: Math.min(end.lastOffset + 1, this.#nextOffset),
      countFrom,
      before: this.#states[first] as LogState,
    };
  }
}

function readPartitions(files: readonly DataFile[], options: SliceOptions): PartitionLog[] {
  return [...fromOffsetVector(options.vector)].flatMap(([partition, nextOffset]) => {
    const own = files.filter((file) => file.partition === partition && file.firstOffset < nextOffset);
    const before = options.expired?.get(partition) ?? { maxTimeMs: null, logTimeMs: null };
    return own.length === 0 ? [] : [new PartitionLog(own, nextOffset, options.dedupHorizonMs, before)];
  });
}

/** Neighbours as first and last index, with the first of their context. */
interface Run {
  readonly context: number;
  readonly first: number;
  readonly last: number;
}

/**
 * Neighbours with about `rows` records together; more where their context is larger than that (all of a history that was replayed
 * within the horizon is context of what follows), so that no record is read more than a few times.
 */
function runsOf(partition: PartitionLog, rows: number): Run[] {
  const { files } = partition;
  const rowsIn = (from: number, to: number) =>
    files.slice(from, to).reduce((sum, file) => sum + file.rows, 0);
  const runs: Run[] = [];
  for (let first = 0; first < files.length;) {
    const context = partition.contextOf(first);
    const enough = Math.max(rows, rowsIn(context, first));
    let [last, sum] = [first, files[first]?.rows ?? 0];
    for (; last + 1 < files.length && sum + (files[last + 1] as DataFile).rows <= enough; last++)
      sum += (files[last + 1] as DataFile).rows;
    runs.push({ context, first, last });
    first = last + 1;
  }
  return runs;
}

function larger(a: number | null, b: number | null): number | null {
  return a === null ? b : b === null ? a : Math.max(a, b);
}
