/**
 * What became of every record of a benchmark, by partition. Guarantee: the accounting identity holds and reaches from offset 0 to
 * the end of the log, or the line says that it does not.
 */
import type { RedisNode } from '../clients/redis.ts';
import { describeAccount } from '../domain/accounting.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import { readAccounts } from '../stream/accounts.ts';
import { StateStore } from '../stream/state-store.ts';
import type { Say } from './servers.ts';

export interface Accounts {
  readonly counted: number;
  /** Duplicates, late and dead records. */
  readonly dropped: number;
  readonly balanced: boolean;
}

/** Reads the counters of all partitions of a pipeline with one aggregate, and says a line for each. */
export async function account(
  redis: RedisNode,
  pipeline: Pipeline,
  ends: ReadonlyMap<number, number>,
  say: Say,
): Promise<Accounts> {
  const accounts = await readAccounts(new StateStore(redis, pipeline), pipeline, [...ends.keys()]);
  let counted = 0;
  let dropped = 0;
  let balanced = accounts.length === ends.size;
  for (const one of accounts) {
    const { aggregate, partition, baseOffset, nextOffset, terms, holds } = one;
    say(`partition ${partition}, ${aggregate}: ${describeAccount(one)}`);
    counted += Number(terms.counted);
    dropped += Number(terms.duplicate) + Number(terms.late) + Number(terms.dead);
    balanced &&= holds && baseOffset === 0 && nextOffset === ends.get(partition);
  }
  return { counted, dropped, balanced };
}
