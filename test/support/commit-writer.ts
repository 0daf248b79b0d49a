/**
 * A made-up owner of partitions that commits one record after another, as fast as Redis takes them, so that a fault always
 * finds a commit under way. Like the speed layer it begins again from Redis when a commit is refused.
 */
import { randomUUID } from 'node:crypto';
import { readUtf8 } from '../../clients/kafka.ts';
import type { Redis, RedisNode } from '../../clients/redis.ts';
import { createDecoder } from '../../domain/decode.ts';
import { definePipeline } from '../../domain/pipeline.ts';
import { PartitionFold } from '../../stream/fold.ts';
import { StateStore } from '../../stream/state-store.ts';
import { eventually } from './eventually.ts';

export const clicks = definePipeline({
  name: 'clicks',
  event: {
    schema: {
      type: 'object',
      required: ['id', 'at'],
      properties: { id: { type: 'string' }, at: { type: 'integer' } },
    },
    id: 'id',
    time: { field: 'at', format: 'epoch-ms' },
  },
  aggregates: {
    total: {
      window: { tumbling: '1d' },
      measures: { n: 'count', ids: { distinct: 'id' }, latest: { max: 'at' } },
    },
    // Panes come into being during any fault.
    brief: { window: { tumbling: '200ms' }, measures: { n: 'count', ids: { distinct: 'id' } } },
  },
  outOfOrder: '1s',
});

export const decode = createDecoder(clicks, readUtf8);

export function click(partition: number, offset: number) {
  const value = Buffer.from(JSON.stringify({ id: `click ${offset}`, at: 1_000_000 + offset }));
  return { partition, offset, timestampMs: 1_000_000 + offset, key: null, value };
}

/**
 * What is in Redis of a partition, key by key, as text: all but who owned it and how many commits it took.
 * @param nodes the server, or all masters
 */
export async function contentOf(
  nodes: readonly RedisNode[],
  partition: number,
): Promise<Record<string, unknown>> {
  const tag = `{${clicks.name}:${partition}}`;
  const content: Record<string, unknown> = {};
  for (const node of nodes)
    for (const key of await node.keys(`reckon:${tag}:*`)) {
      const value = await valueOf(node, key);
      if (value !== null) content[key.replace(tag, '')] = value;
    }
  return content;
}

async function valueOf(node: RedisNode, key: string): Promise<unknown> {
  switch (await node.type(key)) {
    case 'hash': {
      const { owner: _owner, epoch: _epoch, revision: _revision, ...cells } = await node.hgetall(key);
      return cells;
    }
    case 'zset':
      return node.zrange(key, 0, '-1', 'WITHSCORES');
    case 'string':
      return (await node.getBuffer(key))?.toString('base64') ?? null;
    default:
      return null;
  }
}

/** Commits the same records to another partition, in one go and without any fault: what `contentOf` must be equal to. */
export async function commitUndisturbed(redis: Redis, partition: number, records: number): Promise<void> {
  const store = new StateStore(redis, clicks);
  const { position } = await store.acquire(partition, 'undisturbed', 0, null);
  const fold = new PartitionFold(clicks, decode, position, 0);
  for (let offset = 0; offset < records; offset++) {
    fold.take(click(partition, offset));
    const last = offset === records - 1;
    if (last || offset % 1_000 === 999)
      expect(await store.commit(partition, 'undisturbed', fold.takeChanges())).toEqual({ kind: 'committed' });
  }
}

export class CommitWriter {
  readonly store: StateStore;
  readonly #partition: number;
  readonly #stop = new AbortController();
  #running: Promise<void> | null = null;
  /** Commits that were said to be applied. */
  committed = 0;
  /** Commits that were refused; each was followed by a new beginning from Redis. */
  refused = 0;

  constructor(redis: Redis, partition: number) {
    this.store = new StateStore(redis, clicks);
    this.#partition = partition;
  }

  start(): void {
    this.#running = this.#run();
    // Awaited by `stop`; until then it is no unhandled rejection.
    this.#running.catch(() => undefined);
  }

  /** Waits until so many more commits were applied. */
  async advance(commits: number): Promise<void> {
    const wanted = this.committed + commits;
    await eventually(() => expect(this.committed).toBeGreaterThanOrEqual(wanted), 30_000, 5);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** What Redis holds: every offset below `nextOffset` must have been counted once. */
  async counts(): Promise<{ nextOffset: number; consumed: number; counted: number }> {
    const state = await this.store.read(this.#partition);
    const counter = (name: string) => Number(state?.counters.get(name) ?? 0n);
    return {
      nextOffset: state?.position.nextOffset ?? 0,
      consumed: counter('consumed'),
      counted: counter('counted:total'),
    };
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const owner = randomUUID();
      const { position } = await this.store.acquire(this.#partition, owner, 0, null);
      const fold = new PartitionFold(clicks, decode, position, position.nextOffset);
      while (!this.#stop.signal.aborted) {
        fold.take(click(this.#partition, fold.nextOffset));
        const { kind } = await this.store.commit(this.#partition, owner, fold.takeChanges());
        if (kind !== 'committed') {
          this.refused++;
          break;
        }
        this.committed++;
      }
    }
  }
}
