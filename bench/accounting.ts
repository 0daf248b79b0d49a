/**
 * What became of every record of a benchmark, by partition. Guarantee: `consumed = counted + filtered + duplicate + late +
 * dead` and `consumed + gaps = offset span`, or the line says that it does not hold.
 */
import type { RedisNode } from '../clients/redis.ts';
import { aggregate } from './pipeline.ts';
import type { Say } from './servers.ts';

export interface Accounts {
  readonly counted: number;
  /** Duplicates, late and dead records. */
  readonly dropped: number;
  readonly balanced: boolean;
}

/** Reads the counters of all partitions and says a line for each. */
export async function account(
  redis: RedisNode,
  pipeline: string,
  ends: ReadonlyMap<number, number>,
  say: Say,
): Promise<Accounts> {
  let counted = 0;
  let dropped = 0;
  let balanced = true;
  for (const [partition, end] of ends) {
    const meta = await redis.hgetall(`reckon:{${pipeline}:${partition}}:meta`);
    const of = (counter: string) => Number(meta[counter] ?? 0);
    const dead = Object.keys(meta).filter((name) => name.startsWith('dead:'));
    const parts = {
      counted: of(`counted:${aggregate}`),
      filtered: of(`filtered:${aggregate}`),
      duplicate: of('duplicate'),
      late: of(`late:${aggregate}`),
      dead: dead.reduce((sum, name) => sum + of(name), 0),
    };
    const sum = Object.values(parts).reduce((total, part) => total + part, 0);
    const isBalanced = of('consumed') === sum && of('consumed') + of('gaps') === end;
    const list = Object.entries(parts).map(([name, count]) => `${count} ${name}`);
    say(
      `partition ${partition}, ${aggregate}: ${of('consumed')} consumed ${isBalanced ? '=' : 'DIFFERS FROM'} ${list.join(' + ')}; + ${of('gaps')} gaps ${isBalanced ? '=' : 'AGAINST'} ${end} offsets`,
    );
    counted += parts.counted;
    dropped += parts.duplicate + parts.late + parts.dead;
    balanced &&= isBalanced;
  }
  return { counted, dropped, balanced };
}
