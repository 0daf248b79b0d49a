/** Durations as people write them, and offset vectors. */
import { formatDuration, parseDurationMs } from '../../domain/duration.ts';
import { covers, fromOffsetVector, toOffsetVector } from '../../domain/offset-vector.ts';

it.each([
  ['250ms', 250],
  ['5s', 5_000],
  ['1.5m', 90_000],
  ['1h', 3_600_000],
  ['7d', 604_800_000],
  [' 1s ', 1_000],
  [0, 0],
  ['0s', 0],
  [1_500, 1_500],
])('%j is %d ms', (duration, expected) => {
  expect(parseDurationMs(duration)).toBe(expected);
});

it.each([
  '',
  's',
  '5',
  '5 s',
  '-5s',
  '5S',
  '5w',
  '1e3s',
  '0.5ms',
  '99999999999999d',
  -1,
  1.5,
  NaN,
  Infinity,
  null,
  undefined,
  {},
])('%j is no duration', (duration) => {
  expect(parseDurationMs(duration)).toBeNull();
});

it('formats in the largest unit that divides', () => {
  expect([90_000, 3_600_000, 0, 1, 172_800_000].map(formatDuration)).toEqual([
    '90s',
    '1h',
    '0ms',
    '1ms',
    '2d',
  ]);
});

it('offset vectors are ordered by partition, exact, and read back', () => {
  const vector = toOffsetVector([
    [10, 5],
    [2, 9_007_199_254_740_991],
    [0, 0],
  ]);
  expect(JSON.stringify(vector)).toBe('{"0":"0","2":"9007199254740991","10":"5"}');
  expect(fromOffsetVector(vector).get(2)).toBe(9_007_199_254_740_991);
});

it('covers: every wanted partition is reached; nothing is wanted of an empty one', () => {
  expect(covers({ '0': '10', '1': '9' }, { '0': '10', '1': '9' })).toBe(true);
  expect(covers({ '0': '9' }, { '0': '10' })).toBe(false);
  expect(covers({ '0': '100' }, { '0': '10', '1': '1' })).toBe(false);
  expect(covers({}, { '0': '0' })).toBe(true);
  expect(covers({ '0': '10' }, {})).toBe(true);
});
