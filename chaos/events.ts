/**
 * A round's records, by seed: disorder, late and severely late events, duplicates near and beyond the horizon, poison of every
 * kind, tombstones, jumps of the event time. Guarantee: pure; equal ids have equal keys, so they meet in one partition.
 */
import { saltedKey } from '../domain/pipeline.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import { statuses } from './definition.ts';
import type { Definition } from './definition.ts';
import { decimal } from './measures.ts';
import { futureReason, poisons, write } from './poison.ts';
import type { Random } from './random.ts';
import type { PlainEvent, PlainValues } from './rules.ts';

/** One record to be sent; `plain` is what it means. */
export interface SentEvent {
  readonly key: string;
  readonly value: Buffer | null;
  /** What the producer stamps it with, where it does. */
  readonly timestampMs: number;
  readonly plain: PlainEvent;
}

/** How often, of a thousand. */
const duplicatePerMille = 60;
const poisonPerMille = 20;
const aheadPerMille = 2;

export function createEvents(
  { rules, timeFormat, stampedBy }: Definition,
  pipeline: Pipeline,
  count: number,
  random: Random,
): SentEvent[] {
  const reasons = [...Object.keys(poisons), futureReason];
  // Every reason at least once, wherever it falls.
  const planned = new Map(reasons.map((reason) => [random.integer(10, count - 1), reason]));
  // The first one early, as a round may end early.
  const leapsAt = new Set([
    random.integer(Math.floor(count / 30), Math.floor(count / 10)),
    random.integer(0, count),
  ]);
  const stepMs = random.pick([10, 40, 150]);
  // One event that is as far ahead as is allowed makes others late until they have caught up: late in the round.
  const farAheadAt = new Set([1, 2].map(() => random.integer(Math.floor(count / 2), count - 1)));
  let clockMs = Date.UTC(2024, 0, 1) + random.integer(0, 300 * 86_400_000);
  let stampMs = clockMs;
  const events: SentEvent[] = [];
  for (let n = 0; n < count; n++) {
    // Everybody's event time leaps by hours.
    const passedMs = random.integer(0, 2 * stepMs) + (leapsAt.has(n) ? random.integer(1, 5) * 3_600_000 : 0);
    clockMs += passedMs;
    stampMs += passedMs;
    // A producer's clock may step back; what it stamps is not in order then.
    const timestampMs = random.chance(0.01) ? stampMs - random.integer(0, 500) : stampMs;
    const poison =
      planned.get(n) ?? (random.integer(1, 1_000) <= poisonPerMille ? random.pick(reasons) : null);
    const repeated =
      n > 0 && random.integer(1, 1_000) <= duplicatePerMille ? events[n - howFarBack(n, random)] : undefined;
    let timeMs = clockMs - behindMs(rules, random);
    if (farAheadAt.has(n)) timeMs = timestampMs + rules.maxFutureMs;
    else if (random.integer(1, 1_000) <= aheadPerMille)
      timeMs = timestampMs + random.integer(0, Math.min(rules.maxFutureMs, 200 * stepMs));
    if (poison === futureReason)
      timeMs =
        stampedBy === 'producer' && random.chance(0.5)
          ? timestampMs + rules.maxFutureMs + 1
          : Date.UTC(2400, random.integer(0, 11));
    // The whole event again, or another one under the same id.
    if (repeated !== undefined && poison === null && random.chance(0.5)) {
      events.push({ ...repeated, timestampMs });
      continue;
    }
    const id = repeated?.plain.id ?? `e${n}`;
    const user =
      repeated === undefined ? userOf(random) : (repeated.plain.values['user.id'] as string | null);
    const plain: PlainEvent = {
      dead: poison === futureReason ? null : poison,
      id,
      timeMs,
      values: { id, 'user.id': user, ...valuesOf(random) },
    };
    events.push({
      key: user === null ? id : saltedKey(pipeline, user, id),
      value: bytesOf(plain, timeFormat, random),
      timestampMs,
      plain,
    });
  }
  return events;
}

function howFarBack(n: number, random: Random): number {
  const far = random.next();
  return Math.min(n, random.integer(1, far < 0.5 ? 30 : far < 0.8 ? 2_000 : n));
}

/** Mostly in order; some within what is allowed, some around its end, a few hopelessly late. */
function behindMs(
  { outOfOrderMs, allowedLatenessMs }: { outOfOrderMs: number; allowedLatenessMs: number },
  random: Random,
): number {
  const kind = random.next();
  if (kind < 0.7) return random.integer(0, 50);
  if (kind < 0.88) return random.integer(0, outOfOrderMs);
  if (kind < 0.98) return random.integer(0, 2 * (outOfOrderMs + allowedLatenessMs) + 1_000);
  return random.integer(60_000, 20_000_000);
}

/** One user in seven events, the others evenly; now and then nobody. */
function userOf(random: Random): string | null {
  if (random.chance(0.005)) return null;
  return random.chance(0.15) ? 'hot' : `u${random.integer(1, 40)}`;
}

function valuesOf(random: Random): PlainValues {
  const orAbsent = <T>(value: T): T | null => (random.chance(0.08) ? null : value);
  return {
    country: orAbsent(random.pick(['DE', 'FR', 'IT', 'US', 'a|b', '["x"]'])),
    product: orAbsent(`p${Math.floor(random.next() ** 3 * 40)}`),
    status: random.pick(statuses),
    amount: orAbsent(
      BigInt(random.chance(0.02) ? random.integer(-(10 ** 12), 10 ** 12) : random.integer(-500, 20_000)),
    ),
    qty: orAbsent(BigInt(random.integer(-2, 20))),
    vip: orAbsent(random.chance(0.3)),
  };
}

function bytesOf(
  { dead, id, timeMs, values }: PlainEvent,
  timeFormat: Definition['timeFormat'],
  random: Random,
): Buffer | null {
  const { 'user.id': user, country, product, status, amount, qty, vip } = values;
  const amountText = typeof amount === 'bigint' ? decimal(amount, 2) : null;
  const members: Record<string, string> = {
    id: JSON.stringify(id),
    at: timeText(timeMs, timeFormat, random),
    ...(user === null ? {} : { user: JSON.stringify({ id: user }) }),
    country: JSON.stringify(country),
    product: JSON.stringify(product),
    status: JSON.stringify(status),
    amount: amountText !== null && random.chance(0.3) ? `"${amountText}"` : String(amountText),
    qty: String(qty),
    vip: String(vip),
  };
  // Null and absent are the same.
  for (const [name, json] of Object.entries(members))
    if (json === 'null' && random.chance(0.5)) delete members[name];
  const spoil = dead === null ? write : poisons[dead];
  if (spoil === undefined) throw new Error(`no poison for ${dead}`);
  return spoil(members);
}

function timeText(timeMs: number, format: Definition['timeFormat'], random: Random): string {
  switch (format) {
    case 'epoch-ms':
      return String(timeMs);
    case 'epoch-us':
      return String(timeMs * 1_000 + random.integer(0, 999));
    case 'epoch-s':
      return (timeMs / 1_000).toFixed(3);
    case 'iso8601': {
      if (random.chance(0.7)) return JSON.stringify(new Date(timeMs).toISOString());
      const local = new Date(timeMs + 7_200_000).toISOString();
      return JSON.stringify(local.replace('Z', '+02:00'));
    }
  }
}
