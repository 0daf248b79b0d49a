/**
 * What became of every record, said at the end of a run. Guarantee: read from the committed state, which is at one moment for
 * each partition, so that the identity holds or something is wrong.
 */
import { accountOf } from '../domain/accounting.ts';
import type { Account } from '../domain/accounting.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import type { StateStore } from './state-store.ts';

/** @returns by partition, then by aggregate; nothing of a partition that has no state */
export async function readAccounts(
  store: StateStore,
  { aggregates }: Pipeline,
  partitions: readonly number[],
): Promise<Account[]> {
  const perPartition = partitions.map(async (partition) => {
    const state = await store.read(partition);
    if (state === null) return [];
    const { baseOffset, position } = state;
    const counters = Object.fromEntries([...state.counters].map(([name, value]) => [name, String(value)]));
    const counted = { partition, baseOffset, nextOffset: position.nextOffset, counters };
    return aggregates.map(({ name }) => accountOf(name, counted));
  });
  return (await Promise.all(perPartition)).flat();
}
