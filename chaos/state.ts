/**
 * What Redis holds of a pipeline: windows as every reader sees them, counters, and keys that no reader finds. Guarantee: read when
 * nothing is being committed.
 */
import type { Pipeline } from '../domain/pipeline.ts';
import { paneIndexKey, paneKey } from '../stream/keys.ts';
import { StateStore } from '../stream/state-store.ts';
import type { PartitionState } from '../stream/state-store.ts';
import { WindowReader } from '../stream/window-reader.ts';
import type { WindowRow } from '../stream/window-rows.ts';
import type { Redis } from '../clients/redis.ts';

export interface FoundState {
  /** By aggregate. */
  readonly rows: ReadonlyMap<string, readonly WindowRow[]>;
  /** By partition; null where there is none. */
  readonly partitions: ReadonlyMap<number, PartitionState | null>;
  /** Panes that are in no index: nobody reads them, and nobody would ever delete them. */
  readonly strays: readonly string[];
}

/** @param keys all keys of the pipeline */
export async function readState(
  redis: Redis,
  pipeline: Pipeline,
  partitions: readonly number[],
  keys: readonly string[],
): Promise<FoundState> {
  const store = new StateStore(redis, pipeline);
  const reader = new WindowReader(store, pipeline, partitions);
  const rows = new Map<string, readonly WindowRow[]>();
  for (const { name } of pipeline.aggregates)
    rows.set(
      name,
      (
        await reader.read(
          name,
          { fromMs: Number.NEGATIVE_INFINITY, toMs: Number.POSITIVE_INFINITY },
          Date.now(),
        )
      ).rows,
    );
  const states = new Map<number, PartitionState | null>();
  const indexed = new Set<string>();
  for (const partition of partitions) {
    states.set(partition, await store.read(partition));
    for (const member of await redis.zrange(paneIndexKey(pipeline.name, partition), '0', '-1'))
      indexed.add(paneKey(pipeline.name, partition, member));
  }
  const panePrefixes = partitions.map((partition) => paneKey(pipeline.name, partition, ''));
  const panes = keys.filter((key) => panePrefixes.some((prefix) => key.startsWith(prefix)));
  return { rows, partitions: states, strays: panes.filter((key) => !indexed.has(key)) };
}
