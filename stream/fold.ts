/**
 * The speed layer's fold of one partition: DESIGN.md section 2, rules 1 to 5, record by record. Guarantee: pure (no I/O, no
 * clock); the outcome is a function of the records taken, in offset order, and of the state it began with.
 */
import type { Aggregate } from '../domain/aggregate.ts';
import type { Decoder } from '../domain/decode.ts';
import { invariant } from '../domain/errors.ts';
import type { LogRecord, Rejection } from '../domain/event.ts';
import { passes } from '../domain/filter.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import { noEventTime, watermarkMs } from '../domain/watermark.ts';
import { acceptingEndMs, paneStartMs } from '../domain/window.ts';
import { DedupIndex } from './dedup-index.ts';
import { PaneDeltas } from './pane-deltas.ts';

/** Where a fold stands: everything but the windows and the dedup index. */
export interface Position {
  /** The next offset to take. */
  readonly nextOffset: number;
  /** Largest event time of the decodable records so far; −Infinity when there is none. */
  readonly maxEventTimeMs: number;
  /** Log time: the running maximum of the broker's timestamps; −Infinity when there is none. */
  readonly logTimeMs: number;
}

/** A record that goes to a side output instead of, or besides, a window. */
export type SideOutput =
  | { readonly kind: 'dead'; readonly record: LogRecord; readonly rejection: Rejection }
  | {
      readonly kind: 'late';
      readonly record: LogRecord;
      readonly aggregates: readonly string[];
      readonly watermarkMs: number;
    };

/** Everything that one commit moves together. */
export interface Changes {
  readonly from: Position;
  readonly to: Position;
  readonly deltas: PaneDeltas;
  /** Additions to the partition's counters: `consumed`, `duplicate`, `dead:<reason>`, `counted:<aggregate>`, ... */
  readonly counters: ReadonlyMap<string, number>;
  readonly sideOutputs: readonly SideOutput[];
}

export class PartitionFold {
  readonly #pipeline: Pipeline;
  readonly #decode: Decoder;
  readonly #dedup: DedupIndex;
  /** Records below this offset are in the state already; they only fill the dedup index. */
  readonly #stateOffset: number;
  #from: Position;
  #nextOffset: number;
  #maxEventTimeMs: number;
  #logTimeMs: number;
  #deltas: PaneDeltas;
  #counters = new Map<string, number>();
  #tallies: Tally[];
  #consumed = 0;
  #sideOutputs: SideOutput[] = [];
  #sideOutputBytes = 0;

  /**
   * @param state the committed position
   * @param rewoundTo where the log is read from to rebuild the dedup index; at most `state.nextOffset`
   */
  constructor(pipeline: Pipeline, decode: Decoder, state: Position, rewoundTo: number) {
    invariant(rewoundTo <= state.nextOffset, 'the rewind must not begin after the state');
    this.#pipeline = pipeline;
    this.#decode = decode;
    this.#dedup = new DedupIndex(pipeline.dedupHorizonMs);
    this.#stateOffset = state.nextOffset;
    this.#from = state;
    this.#nextOffset = rewoundTo;
    this.#maxEventTimeMs = state.maxEventTimeMs;
    this.#logTimeMs = rewoundTo < state.nextOffset ? noEventTime : state.logTimeMs;
    this.#deltas = new PaneDeltas(pipeline.aggregates, pipeline.fields);
    this.#tallies = pipeline.aggregates.map((aggregate) => new Tally(aggregate));
  }

  get nextOffset(): number {
    return this.#nextOffset;
  }

  /** Running maximum of the broker's timestamps of the records taken so far; −Infinity when there is none. */
  get logTimeMs(): number {
    return Math.max(this.#logTimeMs, this.#from.logTimeMs);
  }

  /** Whether anything waits for a commit. */
  get dirty(): boolean {
    return this.#nextOffset > this.#from.nextOffset;
  }

  /** Redis operations that a commit would need now; the measure of what a flush costs. */
  get operations(): number {
    return this.#deltas.operations;
  }

  get sideOutputBytes(): number {
    return this.#sideOutputBytes;
  }

  /** Takes the next record; one below `nextOffset` is ignored (a fetch may begin earlier than asked). */
  take(record: LogRecord): void {
    if (record.offset < this.#nextOffset) return;
    if (record.offset < this.#stateOffset) {
      this.#index(record);
      return;
    }
    if (this.#nextOffset < this.#stateOffset) this.#leaveRewind();
    if (record.offset > this.#nextOffset) this.#count('gaps', record.offset - this.#nextOffset);
    this.#nextOffset = record.offset + 1;
    this.#consumed++;
    if (record.timestampMs > this.#logTimeMs) this.#logTimeMs = record.timestampMs;

    const decoded = record.decoded ?? this.#decode(record);
    if (!decoded.ok) {
      this.#count(`dead:${decoded.rejection.reason}`, 1);
      this.#emit({ kind: 'dead', record, rejection: decoded.rejection });
      return;
    }
    const { event } = decoded;
    const watermark = watermarkMs(this.#maxEventTimeMs, this.#pipeline.outOfOrderMs);
    if (event.timeMs > this.#maxEventTimeMs) this.#maxEventTimeMs = event.timeMs;
    if (this.#dedup.seen(event.id, this.#logTimeMs)) {
      this.#count('duplicate', 1);
      return;
    }
    let late: string[] | null = null;
    for (const tally of this.#tallies) {
      const { aggregate } = tally;
      if (aggregate.where.length > 0 && !passes(aggregate.where, event.values)) {
        tally.filtered++;
        continue;
      }
      const { window, allowedLatenessMs } = aggregate;
      const startMs = paneStartMs(window, event.timeMs);
      const endMs = acceptingEndMs(window, startMs, event.timeMs, allowedLatenessMs, watermark);
      if (endMs === null) {
        tally.late++;
        (late ??= []).push(aggregate.name);
        continue;
      }
      tally.counted++;
      this.#deltas.add(aggregate, startMs, endMs, event);
    }
    if (late !== null) this.#emit({ kind: 'late', record, aggregates: late, watermarkMs: watermark });
  }

  /** Goes on at an offset; what lies before it holds no record for a consumer. */
  skipTo(offset: number): void {
    if (offset <= this.#nextOffset) return;
    if (this.#nextOffset < this.#stateOffset) {
      if (offset < this.#stateOffset) {
        this.#nextOffset = offset;
        return;
      }
      this.#leaveRewind();
    }
    if (offset > this.#nextOffset) this.#count('gaps', offset - this.#nextOffset);
    this.#nextOffset = offset;
  }

  /** Hands over what has gathered since the last call, and begins anew from there. */
  takeChanges(): Changes {
    if (this.#consumed > 0) this.#count('consumed', this.#consumed);
    for (const { aggregate, counted, filtered, late } of this.#tallies) {
      if (counted > 0) this.#count(`counted:${aggregate.name}`, counted);
      if (filtered > 0) this.#count(`filtered:${aggregate.name}`, filtered);
      if (late > 0) this.#count(`late:${aggregate.name}`, late);
    }
    const to = {
      nextOffset: this.#nextOffset,
      maxEventTimeMs: this.#maxEventTimeMs,
      logTimeMs: this.#logTimeMs,
    };
    const changes: Changes = {
      from: this.#from,
      to,
      deltas: this.#deltas,
      counters: this.#counters,
      sideOutputs: this.#sideOutputs,
    };
    this.#from = to;
    this.#deltas = new PaneDeltas(this.#pipeline.aggregates, this.#pipeline.fields);
    this.#counters = new Map();
    this.#tallies = this.#pipeline.aggregates.map((aggregate) => new Tally(aggregate));
    this.#consumed = 0;
    this.#sideOutputs = [];
    this.#sideOutputBytes = 0;
    return changes;
  }

  /** A record that the state holds already: only its id matters. */
  #index(record: LogRecord): void {
    this.#nextOffset = record.offset + 1;
    if (record.timestampMs > this.#logTimeMs) this.#logTimeMs = record.timestampMs;
    const decoded = record.decoded ?? this.#decode(record);
    if (decoded.ok) this.#dedup.seen(decoded.event.id, this.#logTimeMs);
  }

  /** The records between the last one of the rewind and the state's offset are gaps that were counted before. */
  #leaveRewind(): void {
    this.#nextOffset = this.#stateOffset;
    this.#logTimeMs = Math.max(this.#logTimeMs, this.#from.logTimeMs);
  }

  #count(counter: string, amount: number): void {
    this.#counters.set(counter, (this.#counters.get(counter) ?? 0) + amount);
  }

  /** What comes from the lake went to its side topic long ago. */
  #emit(output: SideOutput): void {
    if (output.record.decoded !== undefined) return;
    // Copied: key and value are parts of a whole fetch, which would stay in memory with them.
    const { key, value } = output.record;
    const record = { ...output.record, key: copyOf(key), value: copyOf(value) };
    this.#sideOutputs.push({ ...output, record });
    this.#sideOutputBytes += (key?.length ?? 0) + (value?.length ?? 0) + 256;
  }
}

function copyOf(bytes: Uint8Array | null): Uint8Array | null {
  return bytes === null ? null : Uint8Array.prototype.slice.call(bytes);
}

class Tally {
  readonly aggregate: Aggregate;
  counted = 0;
  filtered = 0;
  late = 0;

  constructor(aggregate: Aggregate) {
    this.aggregate = aggregate;
  }
}
