/** What a recomputation reads: slices cover every record once, know what lies before them, and leave out what they do not need. */
import * as fc from 'fast-check';
import type { DataFile } from '../../batch/file-statistics.ts';
import { planSlices, planTimeSlice } from '../../batch/slice.ts';

const day = 86_400_000;
const firstMs = Date.UTC(2026, 0, 1);

function file(partition: number, at: number, rows: number, more: Partial<DataFile> = {}): DataFile {
  return {
    path: `p${partition}/${at}`,
    partition,
    firstOffset: at * rows,
    lastOffset: (at + 1) * rows - 1,
    rows,
    minTimeMs: firstMs + at * day,
    maxTimeMs: firstMs + (at + 1) * day - 1,
    oldestMs: firstMs + at * day,
    newestMs: firstMs + (at + 1) * day - 1,
    bytes: rows,
    archivedMs: firstMs,
    ...more,
  };
}
const history = (days: number) =>
  [0, 1].flatMap((partition) => Array.from({ length: days }, (_, at) => file(partition, at, 100)));
const paths = (files: readonly DataFile[]) => files.map(({ path }) => path);
const options = { vector: { '0': '100000', '1': '100000' }, dedupHorizonMs: 3_600_000 };

it('one day of a long history reads its own files and the one before, whose ids it may repeat', () => {
  for (const days of [10, 100, 1_000]) {
    const range = { fromMs: firstMs + 5 * day, toMs: firstMs + 6 * day };
    const { files, segments } = planTimeSlice(history(days), options, range);
    expect(paths(files)).toEqual(['p0/4', 'p0/5', 'p1/4', 'p1/5']);
    const before = { maxTimeMs: firstMs + 4 * day - 1, logTimeMs: firstMs + 4 * day - 1 };
    expect(segments).toEqual(
      [0, 1].map((partition) => ({ partition, firstOffset: 400, nextOffset: 600, countFrom: 400, before })),
    );
  }
});

it('the horizon decides how far back ids are read', () => {
  const range = { fromMs: firstMs + 50 * day, toMs: firstMs + 51 * day };
  const read = (dedupHorizonMs: number) =>
    planTimeSlice(history(100), { ...options, dedupHorizonMs }, range).segments[0]?.firstOffset;
  expect([0, day - 1, day, 10 * day].map(read)).toEqual([4_900, 4_900, 4_800, 3_900]);
});

it('a straggler far behind is read for its day, with what is known before it', () => {
  const files = history(100).map((one) =>
    one.path === 'p0/80' ? { ...one, minTimeMs: firstMs + 3 * day } : one,
  );
  const { segments } = planTimeSlice(files, options, { fromMs: firstMs + 3 * day, toMs: firstMs + 4 * day });
  expect(
    segments.map(({ partition, firstOffset, nextOffset }) => [partition, firstOffset, nextOffset]),
  ).toEqual([
    [0, 200, 400],
    [0, 7_900, 8_100],
    [1, 200, 400],
  ]);
  expect(segments[1]?.before.maxTimeMs).toBe(firstMs + 79 * day - 1);
});

it('what has expired is known by its state', () => {
  const expired = new Map([[0, { maxTimeMs: 7, logTimeMs: 8 }]]);
  const [slice] = planSlices(history(2), { ...options, expired });
  expect(slice?.segments.map(({ before }) => before)).toEqual([
    { maxTimeMs: 7, logTimeMs: 8 },
    { maxTimeMs: null, logTimeMs: null },
  ]);
});

it('slices of any size: every record below the vector counts once, and context lies before what counts', () => {
  const anyFile = fc.record({
    rows: fc.integer({ min: 1, max: 50 }),
    gap: fc.nat(3),
    tickMs: fc.integer({ min: -5_000, max: 20_000 }),
    dead: fc.boolean(),
  });
  fc.assert(
    fc.property(
      fc.array(anyFile, { maxLength: 30 }),
      fc.integer({ min: 1, max: 400 }),
      fc.nat(1_000),
      fc.nat(60_000),
      (specs, rowsMax, next, dedupHorizonMs) => {
        let [offset, timeMs] = [0, firstMs];
        const files = specs.map(({ rows, gap, tickMs, dead }, i): DataFile => {
          const firstOffset = offset + gap;
          offset = firstOffset + rows;
          timeMs += tickMs;
          const times = { newestMs: timeMs, oldestMs: timeMs - 1_000 };
          const none = { minTimeMs: Infinity, maxTimeMs: -Infinity };
          return file(0, i, rows, {
            ...{ firstOffset, lastOffset: offset - 1, minTimeMs: timeMs - 900, maxTimeMs: timeMs, ...times },
            ...(dead ? none : {}),
          });
        });
        const slices = planSlices(files, { vector: { '0': String(next) }, dedupHorizonMs }, rowsMax);
        const segments = slices.flatMap((slice) => slice.segments);
        const below = files.filter(({ firstOffset }) => firstOffset < next);
        const offsetsOf = (from: number, to: number) =>
          below
            .flatMap(({ firstOffset, lastOffset }) =>
              Array.from({ length: lastOffset - firstOffset + 1 }, (_, i) => firstOffset + i),
            )
            .filter((at) => at >= from && at < to);
        expect(segments.flatMap(({ countFrom, nextOffset }) => offsetsOf(countFrom, nextOffset))).toEqual(
          offsetsOf(0, next),
        );
        for (const { firstOffset, countFrom, before } of segments) {
          const earlier = below.filter((one) => one.lastOffset < firstOffset);
          const most = (values: number[]) => (values.some(Number.isFinite) ? Math.max(...values) : null);
          expect(before).toEqual({
            maxTimeMs: most(earlier.map(({ maxTimeMs }) => maxTimeMs)),
            logTimeMs: most(earlier.map(({ newestMs }) => newestMs)),
          });
          // All that was left out is further back than the horizon from whatever counts.
          const logTimeMs = most(
            below.filter((one) => one.lastOffset < countFrom).map(({ newestMs }) => newestMs),
          );
          if (logTimeMs !== null && earlier.length > 0)
            expect(before.logTimeMs ?? 0).toBeLessThan(logTimeMs - dedupHorizonMs);
        }
        // No record is read more than a few times.
        const read = slices.flatMap((slice) => slice.files).reduce((sum, { rows }) => sum + rows, 0);
        const all = below.reduce((sum, { rows }) => sum + rows, 0);
        expect(read).toBeLessThanOrEqual(3 * all + 50 * slices.length);
      },
    ),
    { numRuns: 500 },
  );
});
