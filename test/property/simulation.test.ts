/**
 * A deterministic simulation of one partition in a hostile world: owners that crash, are taken over, or wake up as zombies; commits
 * that land late, twice, or never; a Redis that loses its tail, falls over to a stale replica, or is flushed. Whatever
 * happens, the state ends as if nothing had. Hundreds of schedules in seconds; RECKON_SEED repeats a failure.
 */
import * as fc from 'fast-check';
import { readUtf8 } from '../../clients/kafka.ts';
import { createDecoder } from '../../domain/decode.ts';
import { noEventTime } from '../../domain/watermark.ts';
import { PartitionFold } from '../../stream/fold.ts';
import type { Changes } from '../../stream/fold.ts';
import { MemoryState } from '../support/memory-state.ts';
import { pipeline, rules } from '../support/odd-pipeline.ts';
import { anyLog } from '../support/random-log.ts';
import type { Entry } from '../support/random-log.ts';

const seed = process.env['RECKON_SEED'];
const decode = createDecoder(pipeline, readUtf8);

/** Redis as the scripts see it: the state of a partition and its owner. */
class SimulatedRedis {
  readonly #first: number;
  #state: MemoryState | null = null;
  #owner: string | null = null;
  #saved: { readonly state: MemoryState | null; readonly owner: string | null } = {
    state: null,
    owner: null,
  };

  constructor(first: number) {
    this.#first = first;
  }

  get state(): MemoryState {
    if (this.#state === null) throw new Error('no state');
    return this.#state;
  }

  /** `lua/acquire.lua`. */
  acquire(owner: string): MemoryState['position'] {
    this.#owner = owner;
    this.#state ??= new MemoryState({
      nextOffset: this.#first,
      maxEventTimeMs: noEventTime,
      logTimeMs: noEventTime,
    });
    return this.#state.position;
  }

  /** `lua/commit.lua`, and what `StateStore.commit` makes of its reply. */
  commit(owner: string, changes: Changes): 'committed' | 'fenced' | 'moved' {
    if (this.#owner !== owner || this.#state === null) return 'fenced';
    const { nextOffset } = this.#state.position;
    if (nextOffset === changes.to.nextOffset) return 'committed';
    if (nextOffset !== changes.from.nextOffset) return 'moved';
    this.#state.commit(changes);
    return 'committed';
  }

  save(): void {
    this.#saved = { state: this.#state?.copy() ?? null, owner: this.#owner };
  }

  fallBack(): void {
    this.#state = this.#saved.state?.copy() ?? null;
    this.#owner = this.#saved.owner;
  }

  flush(): void {
    this.#state = null;
    this.#owner = null;
  }
}

/** A process that believes that it owns the partition. */
class SimulatedOwner {
  readonly name: string;
  readonly #log: readonly Entry[];
  readonly #redis: SimulatedRedis;
  #fold: PartitionFold;
  #at: number;
  #inFlight: Changes | null = null;
  lost = false;

  constructor(name: string, log: readonly Entry[], redis: SimulatedRedis) {
    this.name = name;
    this.#log = log;
    this.#redis = redis;
    const position = redis.acquire(name);
    // The first record of the horizon, as Kafka finds it by its timestamp.
    const inHorizon = log.find(({ plain }) => plain.timestampMs >= position.logTimeMs - rules.dedupHorizonMs);
    const rewoundTo = Math.min(inHorizon?.plain.offset ?? position.nextOffset, position.nextOffset);
    this.#fold = new PartitionFold(pipeline, decode, position, rewoundTo);
    const at = log.findIndex(({ plain }) => plain.offset >= rewoundTo);
    this.#at = at < 0 ? log.length : at;
  }

  get done(): boolean {
    return this.#at === this.#log.length && !this.#fold.dirty && this.#inFlight === null;
  }

  take(count: number): void {
    for (const { record } of this.#log.slice(this.#at, this.#at + count)) this.#fold.take(record);
    this.#at = Math.min(this.#log.length, this.#at + count);
  }

  send(): void {
    if (this.#inFlight === null && this.#fold.dirty) this.#inFlight = this.#fold.takeChanges();
  }

  /** The commit reaches Redis; its reply reaches the owner, or is lost and the commit is sent again later. */
  land(replied: boolean): void {
    if (this.#inFlight === null) return;
    const outcome = this.#redis.commit(this.name, this.#inFlight);
    if (!replied) return;
    this.#inFlight = null;
    if (outcome !== 'committed') this.lost = true;
  }
}

const step = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({ kind: fc.constant('take' as const), count: fc.integer({ min: 1, max: 8 }) }),
  },
  { weight: 8, arbitrary: fc.constant({ kind: 'send' as const }) },
  { weight: 8, arbitrary: fc.constant({ kind: 'land' as const }) },
  { weight: 2, arbitrary: fc.constant({ kind: 'lose the reply' as const }) },
  { weight: 2, arbitrary: fc.constant({ kind: 'take over' as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'crash' as const }) },
  { weight: 2, arbitrary: fc.constant({ kind: 'save' as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'fall back' as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'flush' as const }) },
);

it('ends as if nothing had happened, whatever happens', () => {
  const fired = new Map<string, number>();
  fc.assert(
    fc.property(
      anyLog(50),
      fc.array(fc.tuple(step, fc.nat(2)), { minLength: 10, maxLength: 120, size: 'max' }),
      (log, steps) => {
        const redis = new SimulatedRedis(log[0]?.plain.offset ?? 0);
        let named = 0;
        const begin = () => new SimulatedOwner(`owner ${named++}`, log, redis);
        /** The newest owner first; the others are zombies. */
        let owners = [begin()];
        for (const [one, which] of steps) {
          const actor = owners[which % owners.length];
          fired.set(one.kind, (fired.get(one.kind) ?? 0) + 1);
          if (one.kind === 'take') actor?.take(one.count);
          else if (one.kind === 'send') actor?.send();
          else if (one.kind === 'land') actor?.land(true);
          else if (one.kind === 'lose the reply') actor?.land(false);
          else if (one.kind === 'take over') owners = [begin(), ...owners].slice(0, 3);
          else if (one.kind === 'crash') owners = [begin(), ...owners.slice(1)];
          else if (one.kind === 'save') redis.save();
          else if (one.kind === 'fall back') redis.fallBack();
          else redis.flush();
          // Whoever learns that it lost the partition acquires it again, as it is still assigned to it.
          owners = owners.map((owner) => (owner.lost ? begin() : owner));
        }
        // Quiet at last: the newest owner goes on to the end, and acquires again where it finds that it has to.
        for (let owner = begin(); !owner.done; owner = owner.lost ? begin() : owner) {
          owner.take(10);
          owner.send();
          owner.land(true);
        }
        const untouched = new SimulatedRedis(log[0]?.plain.offset ?? 0);
        const alone = new SimulatedOwner('alone', log, untouched);
        alone.take(log.length);
        alone.send();
        alone.land(true);
        expect(redis.state.cells()).toEqual(untouched.state.cells());
        expect(redis.state.counters).toEqual(untouched.state.counters);
        expect(redis.state.position).toEqual(untouched.state.position);
      },
    ),
    { numRuns: 200, ...(seed === undefined ? {} : { seed: Number(seed) }) },
  );
  for (const kind of ['lose the reply', 'take over', 'crash', 'fall back', 'flush'])
    expect([kind, (fired.get(kind) ?? 0) > 60]).toEqual([kind, true]);
});
