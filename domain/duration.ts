/** Durations as people write them. Guarantee: a parsed duration is a whole, non-negative number of milliseconds. */

const unitMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** `'250ms'`, `'5s'`, `'10m'`, `'1h'`, `'7d'`, or a number of milliseconds. */
export type Duration = number | `${number}${keyof typeof unitMs}`;

/** @returns milliseconds, or null when the text is no duration. */
export function parseDurationMs(duration: unknown): number | null {
  if (typeof duration === 'number') return Number.isSafeInteger(duration) && duration >= 0 ? duration : null;
  if (typeof duration !== 'string') return null;
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(duration.trim());
  if (match === null) return null;
  const valueMs = Number(match[1]) * unitMs[match[2] as keyof typeof unitMs];
  return Number.isSafeInteger(valueMs) ? valueMs : null;
}

/** The largest unit that divides the duration: 90000 → `90s`, 3600000 → `1h`. */
export function formatDuration(durationMs: number): string {
  for (const unit of ['d', 'h', 'm', 's'] as const) {
    if (durationMs !== 0 && durationMs % unitMs[unit] === 0) return `${durationMs / unitMs[unit]}${unit}`;
  }
  return `${durationMs}ms`;
}
