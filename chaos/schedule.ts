/**
 * Which round does what, from the seed alone. Guarantee: pure; the same seed gives the same plans, whatever the number of
 * rounds; within any 20 rounds from the first on, every fault of the list is drawn at least once.
 */
import { Random } from './random.ts';

interface FaultKind {
  /** About how long it takes; a round is filled up to a bound. */
  readonly seconds: number;
  /** On which Redis it can be caused. */
  readonly redis: 'single' | 'cluster' | 'both';
  /** `stop`: the stream must stop loudly, which ends the round. `last`: nothing may follow that sets the state back. */
  readonly end: 'goes on' | 'last' | 'stop';
}

export const faultKinds = {
  'stream-killed': { seconds: 11, redis: 'both', end: 'goes on' },
  rebalanced: { seconds: 9, redis: 'both', end: 'goes on' },
  'zombie-owner': { seconds: 16, redis: 'both', end: 'goes on' },
  'redis-killed': { seconds: 2, redis: 'both', end: 'goes on' },
  'redis-lost-tail': { seconds: 2, redis: 'single', end: 'goes on' },
  'redis-stale-replica': { seconds: 3, redis: 'single', end: 'goes on' },
  'redis-cluster-failover': { seconds: 9, redis: 'cluster', end: 'goes on' },
  'redis-flushed': { seconds: 1, redis: 'both', end: 'goes on' },
  'redis-slow': { seconds: 4, redis: 'both', end: 'goes on' },
  'redis-reply-lost': { seconds: 2, redis: 'single', end: 'goes on' },
  'kafka-restarted': { seconds: 6, redis: 'both', end: 'goes on' },
  'kafka-killed': { seconds: 8, redis: 'both', end: 'goes on' },
  'kafka-unreachable': { seconds: 8, redis: 'both', end: 'goes on' },
  'log-trimmed': { seconds: 12, redis: 'both', end: 'last' },
  'log-truncated': { seconds: 10, redis: 'both', end: 'stop' },
  'topic-recreated': { seconds: 10, redis: 'both', end: 'stop' },
} as const satisfies Record<string, FaultKind>;

export type FaultName = keyof typeof faultKinds;
export const faultNames = Object.keys(faultKinds) as FaultName[];

export interface RoundPlan {
  /** From 1 on. */
  readonly number: number;
  /** From which definition, events and the details of the faults follow. */
  readonly seed: string;
  readonly redis: 'single' | 'cluster';
  readonly partitions: number;
  /** Stream processes at the beginning. */
  readonly processes: number;
  readonly events: number;
  readonly faults: readonly FaultName[];
}

/** What the faults of a round may take together. */
const secondsMax = 21;

/** @returns the plans of the rounds 1 to `rounds` */
export function planRounds(seed: string, rounds: number): RoundPlan[] {
  const random = new Random(`schedule ${seed}`);
  let deck: FaultName[] = [];
  const plans: RoundPlan[] = [];
  for (let number = 1; number <= rounds; number++) {
    if (deck.length === 0) deck = random.shuffle(faultNames);
    // The top card is always played, so a deck lasts for as many rounds as it has cards at most.
    const faults: FaultName[] = [deck.shift() as FaultName];
    const redis = faultKinds[faults[0] as FaultName].redis === 'cluster' ? 'cluster' : 'single';
    const wanted = 2 + (random.chance(0.5) ? 1 : 0) + (random.chance(0.2) ? 1 : 0);
    for (let at = 0; faults.length < wanted;) {
      if (at >= deck.length) {
        if (faults.length >= 2) break;
        // Below the cards that are left, whose turn comes first.
        deck.push(...random.shuffle(faultNames));
      }
      const card = deck[at] as FaultName;
      if (fits(card, faults, redis, faults.length < 2 ? Infinity : secondsMax))
        faults.push(...deck.splice(at, 1));
      else at++;
    }
    plans.push({
      number,
      seed: `${seed}/${number}`,
      redis,
      partitions: random.integer(1, 4),
      processes: random.integer(1, 3),
      events: random.integer(6, 24) * 1_000,
      faults: [...faults.filter((name) => !isLast(name)), ...faults.filter(isLast)],
    });
  }
  return plans;
}

function isLast(name: FaultName): boolean {
  return faultKinds[name].end !== 'goes on';
}

function fits(
  card: FaultName,
  faults: readonly FaultName[],
  redis: RoundPlan['redis'],
  budget: number,
): boolean {
  const kind = faultKinds[card];
  const seconds = faults.reduce<number>((sum, name) => sum + faultKinds[name].seconds, kind.seconds);
  return (
    !faults.includes(card) &&
    (kind.redis === 'both' || kind.redis === redis) &&
    !(isLast(card) && faults.some(isLast)) &&
    seconds <= budget
  );
}
