/** Which partition is idle, and what the pipeline's watermark is then. */
import { definePipeline } from '../../domain/pipeline.ts';
import { isIdle, watermarkOf } from '../../stream/progress.ts';
import type { OwnerReport } from '../../stream/state-store.ts';

const pipeline = definePipeline({
  name: 'clicks',
  event: {
    schema: {
      type: 'object',
      required: ['id', 'at'],
      properties: { id: { type: 'string' }, at: { type: 'integer' } },
    },
    id: 'id',
    time: { field: 'at', format: 'epoch-ms' },
  },
  aggregates: { total: { window: { tumbling: '1m' }, measures: { n: 'count' } } },
  outOfOrder: '5s',
});
const nowMs = 1_000_000;

function state(maxEventTimeMs: number, report: OwnerReport | null) {
  return { position: { nextOffset: 10, maxEventTimeMs, logTimeMs: 0 }, report };
}
const idle = { lag: 0, idleSinceMs: nowMs - 10_000, seenAtMs: nowMs - 100 };
const busy = { lag: 3, idleSinceMs: null, seenAtMs: nowMs - 100 };

it.each([
  ['nothing came for ten seconds', idle, true],
  ['nothing came for less', { ...idle, idleSinceMs: nowMs - 9_999 }, false],
  ['there is something to take', busy, false],
  ['its owner has not looked for long', { ...idle, seenAtMs: nowMs - 10_001 }, false],
  ['no owner has looked', null, false],
])('where %s', (_what, report, expected) => {
  expect(isIdle(state(0, report), nowMs)).toBe(expected);
});

it('the watermark is the lowest of those that are not idle', () => {
  const states = [state(500_000, busy), state(400_000, null), state(100_000, idle), null];
  expect(watermarkOf(pipeline, states, nowMs)).toBe(395_000);
});

it('where all are idle it follows the clock', () => {
  expect(watermarkOf(pipeline, [state(500_000, idle), state(Number.NEGATIVE_INFINITY, idle)], nowMs)).toBe(
    995_000,
  );
});

it('there is none before anything began, nor while a partition without events is awaited', () => {
  expect(watermarkOf(pipeline, [null, null], nowMs)).toBe(Number.NEGATIVE_INFINITY);
  expect(watermarkOf(pipeline, [state(Number.NEGATIVE_INFINITY, busy), state(9, idle)], nowMs)).toBe(
    Number.NEGATIVE_INFINITY,
  );
});
