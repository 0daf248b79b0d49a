/**
 * The accounting identity (DESIGN.md section 2): what became of every record of a partition, aggregate by aggregate. Guarantee:
 * pure and exact; every record that was taken is in one term, and every offset is a record or a known gap, or it is said.
 */
import type { Accounting } from './report.ts';

/** One aggregate in one partition. */
export interface Account {
  readonly aggregate: string;
  readonly partition: number;
  /** Offsets [baseOffset, nextOffset) of the log. */
  readonly baseOffset: number;
  readonly nextOffset: number;
  /** Offsets that hold no record (control records, compaction). */
  readonly offsetGaps: string;
  readonly terms: Accounting;
  readonly holds: boolean;
}

/** What of a partition the identity is about. */
export interface CountedPartition {
  readonly partition: number;
  readonly baseOffset: number;
  readonly nextOffset: number;
  /** `consumed`, `gaps`, `duplicate`, `dead:<reason>`, `counted:<aggregate>`, ... */
  readonly counters: Readonly<Record<string, string>>;
}

export function accountOf(
  aggregate: string,
  { partition, baseOffset, nextOffset, counters }: CountedPartition,
): Account {
  const counter = (name: string) => counters[name] ?? '0';
  const dead = Object.entries(counters)
    .filter(([name]) => name.startsWith('dead:'))
    .reduce((sum, [, value]) => sum + BigInt(value), 0n);
  const offsetGaps = counter('gaps');
  const terms: Accounting = {
    consumed: counter('consumed'),
    counted: counter(`counted:${aggregate}`),
    filtered: counter(`filtered:${aggregate}`),
    duplicate: counter('duplicate'),
    late: counter(`late:${aggregate}`),
    dead: dead.toString(),
  };
  const account = { aggregate, partition, baseOffset, nextOffset, offsetGaps, terms };
  return { ...account, holds: spanHolds(account) && identityHolds(terms) };
}

/** `consumed = counted + filtered + duplicate + late + dead` */
export function identityHolds({ consumed, counted, filtered, duplicate, late, dead }: Accounting): boolean {
  return (
    BigInt(consumed) ===
    [counted, filtered, duplicate, late, dead].reduce((sum, term) => sum + BigInt(term), 0n)
  );
}

/** `consumed + known offset gaps = offset span` */
function spanHolds({ baseOffset, nextOffset, offsetGaps, terms }: Omit<Account, 'holds'>): boolean {
  return BigInt(terms.consumed) + BigInt(offsetGaps) === BigInt(nextOffset - baseOffset);
}

/** `consumed 5000 = counted 4900 + ... ; offsets 0..5003 = consumed 5000 + gaps 3: holds`; a part that is wrong says ≠. */
export function describeAccount(account: Account): string {
  const { baseOffset, nextOffset, offsetGaps, terms, holds } = account;
  const { consumed, ...fates } = terms;
  const sum = Object.entries(fates).map(([name, count]) => `${name} ${count}`);
  return [
    `consumed ${consumed} ${identityHolds(terms) ? '=' : '≠'} ${sum.join(' + ')}; `,
    `offsets ${baseOffset}..${nextOffset} ${spanHolds(account) ? '=' : '≠'} consumed ${consumed} + gaps ${offsetGaps}: `,
    holds ? 'holds' : 'DOES NOT HOLD',
  ].join('');
}
