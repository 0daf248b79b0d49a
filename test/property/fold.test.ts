/**
 * A deterministic simulation of the pure core: hundreds of hostile logs through decode, dedup, watermark and fold, against
 * the naive model; then the same logs cut into commits, with crashes and rewinds in between. fast-check prints the seed of
 * a failure; RECKON_SEED repeats it.
 */
import * as fc from 'fast-check';
import { readUtf8 } from '../../clients/kafka.ts';
import { createDecoder } from '../../domain/decode.ts';
import { noEventTime } from '../../domain/watermark.ts';
import { PartitionFold } from '../../stream/fold.ts';
import { MemoryState } from '../support/memory-state.ts';
import { naiveOutcome } from '../support/naive-model.ts';
import { pipeline, rules } from '../support/odd-pipeline.ts';
import { anyLog } from '../support/random-log.ts';
import type { Entry } from '../support/random-log.ts';
import { plainWindows, readWindows } from '../support/window-outcome.ts';

const seed = process.env['RECKON_SEED'];
const runs = (numRuns: number) => ({ numRuns, ...(seed === undefined ? {} : { seed: Number(seed) }) });
const decode = createDecoder(pipeline, readUtf8);
const begin = (log: readonly Entry[]) =>
  new MemoryState({
    nextOffset: log[0]?.plain.offset ?? 0,
    maxEventTimeMs: noEventTime,
    logTimeMs: noEventTime,
  });
const resume = (state: MemoryState, rewoundTo: number) =>
  new PartitionFold(pipeline, decode, state.position, rewoundTo);

function uninterrupted(log: readonly Entry[]): MemoryState {
  const state = begin(log);
  const fold = resume(state, state.position.nextOffset);
  for (const { record } of log) fold.take(record);
  state.commit(fold.takeChanges());
  return state;
}

/** Where Kafka says that the horizon begins: the first offset stamped at or after it. */
function rewindOf(log: readonly Entry[], { nextOffset, logTimeMs }: MemoryState['position']): number {
  const first = log.find(({ plain }) => plain.timestampMs >= logTimeMs - rules.dedupHorizonMs);
  return Math.min(first?.plain.offset ?? nextOffset, nextOffset);
}

it('comes to what the naive model comes to: every cell, every counter, the watermark', () => {
  const seen = new Map<string, number>();
  fc.assert(
    fc.property(anyLog(60), (log) => {
      const expected = naiveOutcome(
        rules,
        log.map(({ plain }) => plain),
      );
      const state = uninterrupted(log);
      expect(readWindows(pipeline, state.panes())).toEqual(plainWindows(expected.windows));
      expect(state.counters).toEqual(expected.counters);
      const times = log.filter(({ plain }) => plain.dead === null).map(({ plain }) => plain.timeMs);
      expect(state.position).toEqual({
        nextOffset: (log.at(-1)?.plain.offset ?? 0) + 1,
        maxEventTimeMs: Math.max(...times),
        logTimeMs: Math.max(...log.map(({ plain }) => plain.timestampMs)),
      });
      for (const name of Object.keys(state.counters)) seen.set(name, (seen.get(name) ?? 0) + 1);
    }),
    runs(60),
  );
  // The logs did reach what they were meant to reach.
  for (const name of ['gaps', 'duplicate', 'late:by_shop', 'filtered:double_eq', 'counted:double_eq'])
    expect([name, (seen.get(name) ?? 0) > 5]).toEqual([name, true]);
  expect([...seen.keys()].filter((name) => name.startsWith('dead:'))).toHaveLength(11);
});

it('holds the accounting identity for every aggregate', () => {
  fc.assert(
    fc.property(anyLog(40), (log) => {
      const { counters, position } = uninterrupted(log);
      const of = (name: string) => counters[name] ?? 0n;
      const dead = Object.entries(counters).filter(([name]) => name.startsWith('dead:'));
      const common = of('duplicate') + dead.reduce((sum, [, count]) => sum + count, 0n);
      for (const { name } of pipeline.aggregates)
        expect(of(`counted:${name}`) + of(`filtered:${name}`) + of(`late:${name}`) + common).toBe(
          of('consumed'),
        );
      expect(of('consumed') + of('gaps')).toBe(BigInt(position.nextOffset - (log[0]?.plain.offset ?? 0)));
    }),
    runs(60),
  );
});

it('is the same when cut into commits anywhere, and when it crashes and rewinds anywhere', () => {
  const decisions = fc.infiniteStream(fc.constantFrom('go on', 'go on', 'commit', 'crash', 'refetch'));
  fc.assert(
    fc.property(anyLog(60), decisions, (log, decision) => {
      const state = begin(log);
      let fold = resume(state, state.position.nextOffset);
      let i = 0;
      let crashes = 0;
      while (i < log.length) {
        const entry = log[i++] as Entry;
        fold.take(entry.record);
        const next: unknown = decision.next().value;
        if (next === 'commit' && fold.dirty) state.commit(fold.takeChanges());
        // A fetch may begin earlier than asked: what was taken is ignored.
        if (next === 'refetch') for (const { record } of log.slice(Math.max(0, i - 5), i)) fold.take(record);
        if (next === 'crash' && crashes++ < 20) {
          const rewoundTo = rewindOf(log, state.position);
          fold = resume(state, rewoundTo);
          i = log.findIndex(({ plain }) => plain.offset >= rewoundTo);
          if (i < 0) i = log.length;
        }
      }
      if (fold.dirty) state.commit(fold.takeChanges());
      const whole = uninterrupted(log);
      expect(state.cells()).toEqual(whole.cells());
      expect(state.counters).toEqual(whole.counters);
      expect(state.position).toEqual(whole.position);
    }),
    runs(60),
  );
});

it('gives side outputs that match its counters', () => {
  fc.assert(
    fc.property(anyLog(40), (log) => {
      const fold = resume(begin(log), log[0]?.plain.offset ?? 0);
      for (const { record } of log) fold.take(record);
      const { sideOutputs, counters } = fold.takeChanges();
      for (const [name, count] of counters) {
        const [kind, what] = name.split(':');
        const outputs = sideOutputs.filter((output) =>
          output.kind === 'dead'
            ? kind === 'dead' && output.rejection.reason === what
            : kind === 'late' && output.aggregates.includes(what ?? ''),
        );
        if (kind === 'dead' || kind === 'late') expect([name, outputs.length]).toEqual([name, count]);
      }
      const dead = log.filter(({ plain }) => plain.dead !== null).map(({ record }) => record);
      expect(sideOutputs.filter(({ kind }) => kind === 'dead').map(({ record }) => record)).toEqual(dead);
    }),
    runs(60),
  );
});
