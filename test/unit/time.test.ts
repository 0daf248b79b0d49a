/** Event times in every format, at the edges of the calendar. */
import * as fc from 'fast-check';
import { parseEventTimeMs } from '../../domain/time.ts';
import { noEventTime, pipelineWatermarkMs, watermarkMs } from '../../domain/watermark.ts';
import { acceptingEndMs, paneStartMs } from '../../domain/window.ts';

it.each([
  ['2026-01-31T23:59:59Z', Date.UTC(2026, 0, 31, 23, 59, 59)],
  ['2026-01-31 23:59:59.5+01:00', Date.UTC(2026, 0, 31, 22, 59, 59, 500)],
  ['2026-01-31T23:59:59.123456789-0530', Date.UTC(2026, 1, 1, 5, 29, 59, 123)],
  ['2026-01-31T23:59+14', Date.UTC(2026, 0, 31, 9, 59)],
  ['2024-02-29T00:00:00z', Date.UTC(2024, 1, 29)],
  ['2000-02-29T00:00:00Z', Date.UTC(2000, 1, 29)],
  ['1969-12-31T23:59:59.999Z', -1],
  ['0001-01-01T00:00:00Z', -62_135_596_800_000],
  ['9999-12-31T23:59:59.999Z', 253_402_300_799_999],
])('%s', (text, expected) => {
  expect(parseEventTimeMs(text, 'iso8601')).toBe(expected);
});

it.each([
  ...[
    '2026-01-31T23:59:59',
    '2026-01-31',
    '2023-02-29T00:00:00Z',
    '1900-02-29T00:00:00Z',
    '2026-04-31T00:00:00Z',
    '2026-13-01T00:00:00Z',
    '2026-00-01T00:00:00Z',
    '2026-01-00T00:00:00Z',
  ],
  ...[
    '2026-01-01T24:00:00Z',
    '2026-01-01T00:60:00Z',
    '2026-01-01T00:00:60Z',
    '2026-01-01T00:00:00+19:00',
    '2026-01-01T00:00:00+01:60',
    '0000-12-31T23:59:59Z',
    '0001-01-01T00:00:00+00:01',
    '9999-12-31T23:59:59-00:01',
  ],
  ...[
    ' 2026-01-01T00:00:00Z',
    '2026-01-01T00:00:00Z\n',
    '٢٠٢٦-01-01T00:00:00Z',
    '',
    'now',
    1_700_000_000_000,
    null,
    {},
  ],
])('%j is no ISO time', (value) => {
  expect(parseEventTimeMs(value, 'iso8601')).toBeNull();
});

it.each([
  [1_700_000_000.123, 'epoch-s', 1_700_000_000_123],
  [-0.001, 'epoch-s', -1],
  [-0.5, 'epoch-ms', -1],
  [1.999, 'epoch-ms', 1],
  [1_700_000_000_123_999, 'epoch-us', 1_700_000_000_123],
  [-1, 'epoch-us', -1],
  [253_402_300_800, 'epoch-s', null],
  [-62_135_596_801, 'epoch-s', null],
  [Infinity, 'epoch-ms', null],
  [NaN, 'epoch-ms', null],
  ['1700000000', 'epoch-s', null],
  [true, 'epoch-ms', null],
] as const)('%s as %s is %s', (value, format, expected) => {
  expect(parseEventTimeMs(value, format)).toBe(expected);
});

it('reads back every ISO time that JavaScript writes, and every millisecond in every format', () => {
  const anyMs = fc.integer({ min: -62_135_596_800_000, max: 253_402_300_799_999 });
  fc.assert(
    fc.property(anyMs, (timeMs) => {
      expect(parseEventTimeMs(new Date(timeMs).toISOString(), 'iso8601')).toBe(timeMs);
      expect(parseEventTimeMs(timeMs, 'epoch-ms')).toBe(timeMs);
    }),
  );
  fc.assert(
    fc.property(fc.integer({ min: -4_000_000_000_000, max: 8_000_000_000_000 }), (timeMs) => {
      expect(parseEventTimeMs(timeMs / 1_000, 'epoch-s')).toBe(timeMs);
      expect(parseEventTimeMs(timeMs * 1_000, 'epoch-us')).toBe(timeMs);
    }),
  );
});

it('every time is in exactly one window, aligned to the epoch', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: -62_135_596_800_000, max: 253_402_300_799_999 }),
      fc.integer({ min: 1, max: 366 * 86_400_000 }),
      (timeMs, sizeMs) => {
        const window = { kind: 'tumbling' as const, sizeMs };
        const startMs = paneStartMs(window, timeMs);
        const exact = ((BigInt(timeMs) % BigInt(sizeMs)) + BigInt(sizeMs)) % BigInt(sizeMs);
        expect(BigInt(startMs)).toBe(BigInt(timeMs) - exact);
        expect(acceptingEndMs(window, startMs, timeMs, 0, Number.NEGATIVE_INFINITY)).toBe(startMs + sizeMs);
      },
    ),
  );
});

describe('lateness', () => {
  const tumbling = { kind: 'tumbling', sizeMs: 10 } as const;
  const hopping = { kind: 'hopping', sizeMs: 30, slideMs: 10 } as const;
  const session = { kind: 'session', gapMs: 10 } as const;

  it('begins once the watermark reaches the end of the window plus the lateness, and never without a watermark', () => {
    expect(acceptingEndMs(tumbling, 0, 9, 5, 14)).toBe(10);
    expect(acceptingEndMs(tumbling, 0, 9, 5, 15)).toBeNull();
    expect(acceptingEndMs(tumbling, -1e15, -1e15, 0, watermarkMs(noEventTime, 0))).toBe(-1e15 + 10);
  });

  it('of a hopping window is that of its last one; the earlier ones no longer take the event', () => {
    const ends = [14, 15, 24, 25, 34, 35].map((watermark) => acceptingEndMs(hopping, 0, 3, 5, watermark));
    expect(ends).toEqual([10, 20, 20, 30, 30, null]);
  });

  it('of a session is that of the event itself', () => {
    expect(acceptingEndMs(session, 0, 7, 5, 21)).toBe(19);
    expect(acceptingEndMs(session, 0, 7, 5, 22)).toBeNull();
    expect(acceptingEndMs(session, 0, 8, 5, 22)).toBe(19);
  });
});

describe('the watermark of a pipeline', () => {
  const at = (maxEventTimeMs: number, idle = false) => ({ maxEventTimeMs, idle });

  it('is the smallest of the partitions that are not idle', () => {
    expect(pipelineWatermarkMs([at(100), at(50), at(20, true)], 5, 1_000)).toBe(45);
    expect(pipelineWatermarkMs([at(100), at(noEventTime)], 5, 1_000)).toBe(noEventTime);
  });

  it('follows the clock where all are idle, and never falls behind what was seen', () => {
    expect(pipelineWatermarkMs([at(100, true), at(noEventTime, true)], 5, 1_000)).toBe(995);
    expect(pipelineWatermarkMs([at(2_000, true)], 5, 1_000)).toBe(1_995);
  });
});
