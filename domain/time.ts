/** Event times in the formats that producers use. Guarantee: a time becomes epoch milliseconds, or null; never a guess. */

/**
 * `epoch-s`, `epoch-ms`, `epoch-us`: JSON numbers (fractions of a millisecond are cut off).
 * `iso8601`: a text with an offset, such as `2026-01-31T23:59:59.5+01:00` or `…Z`; a text without offset is refused.
 */
export const timeFormats = ['epoch-s', 'epoch-ms', 'epoch-us', 'iso8601'] as const;
export type TimeFormat = (typeof timeFormats)[number];

/** Years 1 to 9999, what both layers and every reader of the lake can hold. */
const earliestMs = -62_135_596_800_000;
const latestMs = 253_402_300_799_999;

const isoPattern =
  /^(\d{4})-(\d{2})-(\d{2})[T ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?(Z|z|[+-]\d{2}(?::?\d{2})?)$/;

/** @returns epoch milliseconds, or null when the value is not a time of that format. */
export function parseEventTimeMs(value: unknown, format: TimeFormat): number | null {
  const timeMs = format === 'iso8601' ? parseIsoMs(value) : parseEpochMs(value, format);
  return timeMs !== null && timeMs >= earliestMs && timeMs <= latestMs ? timeMs : null;
}

function parseEpochMs(value: unknown, format: Exclude<TimeFormat, 'iso8601'>): number | null {
  if (typeof value !== 'number') return null;
  switch (format) {
    case 'epoch-ms':
      return Math.floor(value);
    case 'epoch-us':
      return Math.floor(value / 1000);
    case 'epoch-s':
      // 1700000000.123 × 1000 is a hair off in binary: round to the microsecond before cutting off.
      return Math.floor(Math.round(value * 1_000_000) / 1000);
  }
}

function parseIsoMs(value: unknown): number | null {
  if (typeof value !== 'string') return null;
  const match = isoPattern.exec(value);
  if (match === null) return null;
  const [year, month, day, hour, minute, second] = [1, 2, 3, 4, 5, 6].map((i) => Number(match[i] ?? 0)) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  if (month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59) return null;
  const millisecond = Number((match[7] ?? '').slice(0, 3).padEnd(3, '0'));
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  if (date.getUTCDate() !== day) return null;
  const offsetMinutes = parseOffsetMinutes(match[8] ?? 'Z');
  if (offsetMinutes === null) return null;
  return date.setUTCHours(hour, minute, second, millisecond) - offsetMinutes * 60_000;
}

function parseOffsetMinutes(offset: string): number | null {
  if (offset === 'Z' || offset === 'z') return 0;
  const hours = Number(offset.slice(1, 3));
  const minutes = offset.length > 3 ? Number(offset.slice(-2)) : 0;
  if (hours > 18 || minutes > 59) return null;
  return (offset.startsWith('-') ? -1 : 1) * (hours * 60 + minutes);
}
