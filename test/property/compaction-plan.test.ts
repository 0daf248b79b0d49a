/**
 * What compaction rewrites: runs are neighbours of one partition and one day, disjoint, hot; the plan becomes empty; and what all of
 * it costs is bounded by the bytes that came in.
 */
import * as fc from 'fast-check';
import { planCompaction } from '../../batch/compaction-plan.ts';
import type { Run } from '../../batch/compaction-plan.ts';
import type { DataFile } from '../../batch/file-statistics.ts';

const dayMs = 86_400_000;
const startMs = Date.UTC(2026, 0, 1);
const targetBytes = 1_000;
const day = ({ oldestMs }: DataFile) => Math.floor(oldestMs / dayMs);
const isWide = (file: DataFile) => Math.floor(file.newestMs / dayMs) > day(file) + 1;

function file(firstOffset: number, given: Partial<DataFile> = {}): DataFile {
  const partition = given.partition ?? 0;
  return {
    path: `p${partition}/${firstOffset}`,
    partition,
    firstOffset,
    lastOffset: firstOffset,
    rows: 1,
    minTimeMs: 0,
    maxTimeMs: 0,
    oldestMs: startMs,
    newestMs: startMs,
    archivedMs: startMs,
    bytes: 20,
    ...given,
  };
}

/** The files after a run, as if the new one had the size of the old ones times `shrink`. */
function carryOut(files: readonly DataFile[], runs: readonly Run[], shrink = 1): DataFile[] {
  const merged = runs.map(({ partition, files: sources, bytes, rows }): DataFile => {
    const bound = (pick: (...values: number[]) => number, of: (file: DataFile) => number) =>
      pick(...sources.map(of));
    return {
      path: `p${partition}/${sources[0]?.firstOffset}+${sources.length}`,
      partition,
      firstOffset: bound(Math.min, (one) => one.firstOffset),
      lastOffset: bound(Math.max, (one) => one.lastOffset),
      rows,
      minTimeMs: 0,
      maxTimeMs: 0,
      oldestMs: bound(Math.min, (one) => one.oldestMs),
      newestMs: bound(Math.max, (one) => one.newestMs),
      archivedMs: bound(Math.max, (one) => one.archivedMs),
      bytes: Math.max(1, Math.floor(bytes * shrink)),
    };
  });
  const gone = new Set(runs.flatMap((run) => run.files));
  return [...files.filter((one) => !gone.has(one)), ...merged].sort(
    (a, b) => a.partition - b.partition || a.firstOffset - b.firstOffset,
  );
}

/** Logs whose time mostly goes on, sometimes falls back, and of which some files reach far. */
const log = fc
  .array(
    fc.record({
      partition: fc.nat(1),
      bytes: fc.oneof(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 3_000 })),
      afterMs: fc.oneof(
        { weight: 18, arbitrary: fc.nat(dayMs / 16) },
        { weight: 1, arbitrary: fc.integer({ min: -2 * dayMs, max: 3 * dayMs }) },
      ),
      spanMs: fc.oneof(
        { weight: 8, arbitrary: fc.nat(dayMs / 8) },
        { weight: 1, arbitrary: fc.nat(5 * dayMs) },
      ),
      cold: fc.integer({ min: 0, max: 19 }),
    }),
    { minLength: 10, maxLength: 120 },
  )
  .map((steps) => {
    let atMs = startMs;
    return steps
      .map(({ partition, bytes, afterMs, spanMs, cold }, i) => {
        atMs += afterMs;
        const times = { oldestMs: atMs, newestMs: atMs + spanMs, archivedMs: startMs + (i * dayMs) / 8 };
        const path = `${cold === 0 ? 'cold/' : ''}p${partition}/${i}`;
        return file(i, { path, partition, bytes, ...times });
      })
      .sort((a, b) => a.partition - b.partition || a.firstOffset - b.firstOffset);
  });

it('runs are hot neighbours of one partition and one day, and disjoint', () => {
  let runs = 0;
  fc.assert(
    fc.property(log, fc.nat(30), (files, days) => {
      const plan = planCompaction(files, { targetBytes, nowMs: startMs + days * dayMs });
      const seen = plan.flatMap((run) => run.files);
      expect(new Set(seen).size).toBe(seen.length);
      for (const run of plan) {
        runs++;
        const first = files.indexOf(run.files[0] as DataFile);
        expect(run.files).toEqual(files.slice(first, first + run.files.length));
        expect(run.files.length).toBeGreaterThan(1);
        expect(run.files.every(({ partition }) => partition === run.partition)).toBe(true);
        expect(run.files.some(({ path, bytes }) => path.startsWith('cold/') || bytes >= targetBytes)).toBe(
          false,
        );
        const classes = new Set(run.files.map((one) => (isWide(one) ? 'wide' : day(one))));
        expect(classes.size).toBe(1);
        expect(run.rows).toBe(run.files.length);
        // The file that it makes is of the same class: days never grow together.
        const [merged] = carryOut(run.files, [run]) as [DataFile];
        expect(isWide(merged) ? 'wide' : day(merged)).toBe([...classes][0]);
      }
    }),
    { numRuns: 300 },
  );
  expect(runs).toBeGreaterThan(300);
});

it('carried out again and again the plan becomes empty; days that are over end as few files', () => {
  fc.assert(
    fc.property(log, fc.double({ min: 0.2, max: 1, noNaN: true }), (given, shrink) => {
      let files = given;
      const nowMs = startMs + 60 * dayMs;
      for (let round = 0; ; round++) {
        expect(round).toBeLessThan(12);
        const runs = planCompaction(files, { targetBytes, nowMs });
        if (runs.length === 0) break;
        files = carryOut(files, runs, shrink);
      }
      // All was archived long ago: no two small neighbours of a day are left.
      for (const [i, one] of files.entries()) {
        const next = files[i + 1];
        if (next === undefined || next.partition !== one.partition || day(one) !== day(next)) continue;
        const apart = [one, next].some(
          (each) => isWide(each) || each.path.startsWith('cold/') || each.bytes >= targetBytes,
        );
        expect(apart).toBe(true);
      }
    }),
    { numRuns: 300 },
  );
});

it.each([
  ['a partition that takes a file a minute for ten days', 60_000, 14_400, 4],
  ['a quiet one, with some files a day', 4 * 3_600_000, 200, 2],
])('%s rewrites its bytes a few times, whatever its age', (_name, everyMs, count, timesMax) => {
  let files: DataFile[] = [];
  const cost: number[] = [];
  let rewritten = 0;
  for (let i = 0; i < count; i++) {
    const atMs = startMs + i * everyMs;
    files.push(
      file(i, { bytes: 10, oldestMs: atMs, newestMs: atMs + everyMs - 1, archivedMs: atMs + everyMs }),
    );
    const runs = planCompaction(files, { targetBytes, nowMs: atMs + everyMs });
    for (const { bytes } of runs) rewritten += bytes;
    files = carryOut(files, runs);
    if ((i + 1) % Math.round(dayMs / everyMs) === 0) cost.push(rewritten);
  }
  expect(rewritten / (count * 10)).toBeLessThanOrEqual(timesMax + 1);
  expect(rewritten).toBeGreaterThan(0);
  // The tenth day costs what the third did.
  const byDay = cost.map((sum, i) => sum - (cost[i - 1] ?? 0));
  expect(Math.abs((byDay[9] as number) - (byDay[3] as number))).toBeLessThanOrEqual(
    0.1 * (byDay[3] as number),
  );
});

describe('by example', () => {
  const paths = (files: DataFile[], nowMs = startMs) =>
    planCompaction(files, { targetBytes, nowMs }).map((run) =>
      run.files.map(({ firstOffset }) => firstOffset),
    );
  const sized = (sizes: readonly number[]) => sizes.map((bytes, i) => file(i, { bytes }));
  const at = (days: number) => ({
    oldestMs: startMs + days * dayMs,
    newestMs: startMs + days * dayMs + 1_000,
  });

  it('of a day that goes on, at least four neighbours of about the same size', () => {
    expect(paths(sized([20, 20, 20]))).toEqual([]);
    expect(paths(sized([20, 20, 20, 20]))).toEqual([[0, 1, 2, 3]]);
    expect(paths(sized([20, 20, 300, 20, 20]))).toEqual([]);
    expect(paths(sized([1_000, 5_000, 1_000, 1_000]))).toEqual([]);
  });

  it('never over midnight, but a file that reaches over it belongs to the day on which it began', () => {
    const days = [0.7, 0.8, 0.9, 1.1, 1.2, 1.3];
    expect(paths(days.map((d, i) => file(i, at(d))))).toEqual([]);
    const overMidnight = { oldestMs: startMs + dayMs - 500, newestMs: startMs + dayMs + 500 };
    const files = [...[0.7, 0.8, 0.9].map((d, i) => file(i, at(d))), file(3, overMidnight), file(4, at(1.1))];
    expect(paths(files)).toEqual([[0, 1, 2, 3]]);
  });

  it('a day that is over becomes one file; the one that goes on waits', () => {
    const files = [0.1, 0.5, 1.9, 2.1, 2.2].map((d, i) =>
      file(i, { ...at(d), archivedMs: startMs + d * dayMs }),
    );
    expect(paths(files, startMs + 2.3 * dayMs)).toEqual([[0, 1]]);
    // Nothing came since: after a day the last one is over, too.
    expect(paths(files, startMs + 3.3 * dayMs)).toEqual([
      [0, 1],
      [3, 4],
    ]);
  });

  it('replayed history, whose files reach over many days, merges with itself only', () => {
    const wide = { oldestMs: Date.UTC(2001, 0, 1), newestMs: Date.UTC(2001, 5, 1) };
    const files = [...[0, 1, 2, 3].map((i) => file(i, wide)), file(4, at(0.5)), file(5, at(0.6))];
    expect(paths(files)).toEqual([[0, 1, 2, 3]]);
  });

  it('cold files are left alone, and what lies on both sides of one is not neighbours', () => {
    const files = [0, 1, 2, 3, 4].map((i) => file(i, i === 2 ? { path: 'cold/p0/2' } : {}));
    expect(paths(files)).toEqual([]);
    expect(paths(files, startMs + 9 * dayMs)).toEqual([
      [0, 1],
      [3, 4],
    ]);
  });
});
