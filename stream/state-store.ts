/**
 * The speed layer's state in Redis: fenced, atomic commits and consistent reads (DESIGN.md section 3). Guarantee: windows,
 * counters and offset of a partition move together or not at all, and only for the last owner that acquired it.
 */
import { createHash } from 'node:crypto';

import { defineScript } from '../clients/redis.ts';
import type { Redis, Script } from '../clients/redis.ts';
import { requireTopicId } from '../clients/topic-ids.ts';
import { ReckonError } from '../domain/errors.ts';
import type { FailureCode } from '../domain/errors.ts';
import { countingRules } from '../domain/pipeline.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import { canonical, countingRulesOf } from '../domain/rules.ts';
import { noEventTime } from '../domain/watermark.ts';
import type { Changes, Position } from './fold.ts';
import { metaKey, paneIndexKey, paneKey, paneMember, rulesKey, sketchKey, sketchPrefix } from './keys.ts';
import { fromSketchReply, toPaneCells, withSketches } from './pane-cells.ts';
import type { PaneCells } from './pane-cells.ts';
import { PaneReader } from './pane-reader.ts';
import { lua } from './scripts.ts';
import { refused, requireRules } from './state-rules.ts';

/** A state that another process takes over again and again is not ours to have. */
const acquireTriesMax = 3;

/** What a commit came to. Anything but `committed` means: drop what is in memory and acquire again. */
export type CommitOutcome =
  | { readonly kind: 'committed' }
  /** Another owner has acquired the partition since. */
  | { readonly kind: 'fenced' }
  /** The state has moved (Redis fell back, or was flushed). */
  | { readonly kind: 'moved'; readonly offset: number | null };

/** The state of a partition as its meta hash tells it. */
export interface PartitionState {
  readonly position: Position;
  /** First offset that this state ever took. */
  readonly baseOffset: number;
  /** Kafka's id of the topic that was counted; null where the broker has none. */
  readonly topicId: string | null;
  /** The panes that records up to this event time have closed were found exact; −Infinity before a reconciliation. */
  readonly reconciledUpToMs: number;
  readonly counters: ReadonlyMap<string, bigint>;
  /** How often the partition was acquired. */
  readonly epoch: number;
  /** Null until an owner has looked. */
  readonly report: OwnerReport | null;
}

/** How far the owner of a partition was behind the log when it looked; clocks are the owner's, in epoch ms. */
export interface OwnerReport {
  /** Records of the log that were not committed yet. */
  readonly lag: number;
  /** Since when there was nothing to take; null while there was. */
  readonly idleSinceMs: number | null;
  readonly seenAtMs: number;
}

/** State of one partition at one moment. */
export interface PartitionSnapshot {
  readonly partition: number;
  readonly state: PartitionState;
  /** Index members of the panes that no record can change any more. */
  readonly closed: readonly string[];
  /** The open panes with their cells, read at the same moment. */
  readonly open: readonly PaneCells[];
}

export class StateStore {
  /** The panes of every partition. */
  readonly panes: PaneReader;
  readonly #redis: Redis;
  readonly #pipeline: Pipeline;
  readonly #fingerprint: string;
  readonly #rules: string;
  readonly #acquire: Script;
  readonly #commit: Script;
  readonly #snapshot: Script;
  readonly #report: Script;
  readonly #reconcile: Script;
  readonly #stop: Script;
  /** With which token this process acquired a partition last. */
  readonly #owners = new Map<number, string>();

  constructor(redis: Redis, pipeline: Pipeline) {
    this.#redis = redis;
    this.#pipeline = pipeline;
    this.panes = new PaneReader(redis, pipeline.name);
    this.#fingerprint = createHash('sha256').update(countingRules(pipeline)).digest('hex').slice(0, 32);
    this.#rules = canonical(countingRulesOf(pipeline));
    this.#acquire = defineScript(redis, 'reckonAcquire', lua('acquire'));
    this.#commit = defineScript(redis, 'reckonCommit', lua('commit'));
    this.#snapshot = defineScript(redis, 'reckonSnapshot', lua('snapshot'), 'bytes');
    this.#report = defineScript(redis, 'reckonReport', lua('report'));
    this.#reconcile = defineScript(redis, 'reckonReconcile', lua('reconcile'));
    this.#stop = defineScript(redis, 'reckonStop', lua('stop'));
  }

  /**
   * Takes the partition over; every earlier owner is fenced from then on.
   * @param logStart the first offset of the log, where a partition without state begins
   * @param topicId of the topic in Kafka; null where it has none
   * @throws ReckonError `invalid-definition` when the state was counted by other rules, `log-truncated` when from another topic
   */
  async acquire(
    partition: number,
    owner: string,
    logStart: number,
    topicId: string | null,
  ): Promise<PartitionState> {
    const { name, topic } = this.#pipeline;
    const keys = [metaKey(name, partition), paneIndexKey(name, partition), rulesKey(name, partition)];
    const args = [
      ...[owner, this.#fingerprint, logStart, paneKey(name, partition, ''), sketchPrefix(name, partition)],
      ...[topicId ?? '', this.#rules],
    ];
    let reply = (await this.#acquire(keys, [...args, ''])) as string[];
    // Counted by another definition, which this one may go on from; unless somebody else comes in between.
    for (let tries = 1; reply[0] === 'definition' && tries <= acquireTriesMax; tries++) {
      const [, fingerprint = '', rules = ''] = reply;
      requireRules(this.#pipeline, rules);
      reply = (await this.#acquire(keys, [...args, fingerprint])) as string[];
    }
    if (reply[0] === 'topic') requireTopicId(topic, reply[1] ?? '', topicId, 'the counts in Redis');
    if (reply[0] !== 'ok') throw refused(this.#pipeline, 'by another definition');
    this.#owners.set(partition, owner);
    return parseMeta(toRecord(reply.slice(1)));
  }

  /** @throws ReckonError `overflow` or `unsafe-server`: stops that no retry can heal; nothing was written then */
  async commit(partition: number, owner: string, changes: Changes): Promise<CommitOutcome> {
    const { name } = this.#pipeline;
    const panes = [...changes.deltas.drain()];
    const keys = [metaKey(name, partition), paneIndexKey(name, partition)];
    const sketches: string[] = [];
    const args: (string | number)[] = [
      owner,
      changes.from.nextOffset,
      changes.to.nextOffset,
      changes.to.maxEventTimeMs === noEventTime ? '' : changes.to.maxEventTimeMs,
      changes.to.logTimeMs,
      sketchPrefix(name, partition),
      panes.length,
      changes.counters.size,
    ];
    for (const [counter, addition] of changes.counters) args.push(counter, addition);
    for (const { aggregate, startMs, endMs, operations } of panes) {
      const member = paneMember({ aggregate: aggregate.name, startMs, endMs });
      keys.push(paneKey(name, partition, member));
      args.push(member, endMs, operations.length);
      for (const { kind, field, value } of operations) {
        args.push(kind, field, value);
        if (kind === 'sketch') sketches.push(sketchKey(name, partition, member, field));
      }
    }
    const reply = await this.#commit([...keys, ...sketches], args);
    return this.#interpret(partition, changes, reply as string[]);
  }

  #interpret(partition: number, changes: Changes, reply: readonly string[]): CommitOutcome {
    const [status, at, field] = reply;
    switch (status) {
      case 'ok':
        return { kind: 'committed' };
      case 'fenced':
        return { kind: 'fenced' };
      case 'offset':
        // The reply of an earlier attempt was lost on the way: it had been applied.
        if (Number(at) === changes.to.nextOffset) return { kind: 'committed' };
        return { kind: 'moved', offset: at === undefined || at === null ? null : Number(at) };
      case 'overflow':
        throw new ReckonError(
          'overflow',
          `Partition ${partition} of ${this.#pipeline.name} stopped: ${field} of ${at} would leave the range of a 64-bit integer.`,
          'Use a smaller scale or shorter windows; nothing of this commit was written.',
        );
      default:
        throw new ReckonError(
          'unsafe-server',
          `Partition ${partition} of ${this.#pipeline.name} stopped: ${at} ${field} in Redis does not hold an integer.`,
          'Something else writes to these keys; nothing of this commit was written.',
        );
    }
  }

  /** Tells readers how far the owner is; ignored when the partition has another owner by now. */
  async report(partition: number, owner: string, { lag, idleSinceMs, seenAtMs }: OwnerReport): Promise<void> {
    await this.#report([metaKey(this.#pipeline.name, partition)], [owner, lag, idleSinceMs ?? '', seenAtMs]);
  }

  /** Leaves behind why this process stopped, for readers; ignored when the partition has another owner by now. */
  async leaveStopped(partition: number, code: FailureCode): Promise<void> {
    await this.#stop([metaKey(this.#pipeline.name, partition)], [this.#owners.get(partition) ?? '', code]);
  }

  /** @returns why the last owner stopped; null when nothing failed since it was acquired. */
  async readStopped(partition: number): Promise<string | null> {
    return this.#redis.hget(metaKey(this.#pipeline.name, partition), 'stopped');
  }

  /** Notes that all panes which records up to this event time have closed were found exact. */
  async noteReconciled(partition: number, maxEventTimeMs: number): Promise<void> {
    await this.#reconcile([metaKey(this.#pipeline.name, partition)], [maxEventTimeMs]);
  }

  /** @returns the state, or null when the partition has none. */
  async read(partition: number): Promise<PartitionState | null> {
    const meta = await this.#redis.hgetall(metaKey(this.#pipeline.name, partition));
    return meta['offset'] === undefined ? null : parseMeta(meta);
  }

  /** @returns the state at one moment, or null when the partition has none. */
  async snapshot(partition: number, includeOpen: boolean): Promise<PartitionSnapshot | null> {
    const { name, outOfOrderMs, allowedLatenessMs } = this.#pipeline;
    const [meta, closed, ...open] = (await this.#snapshot(
      [metaKey(name, partition), paneIndexKey(name, partition)],
      [
        outOfOrderMs + allowedLatenessMs,
        paneKey(name, partition, ''),
        sketchPrefix(name, partition),
        includeOpen ? 1 : 0,
      ],
    )) as [Buffer[], Buffer[], ...[Buffer, Buffer[], (Buffer | Buffer[])[]][]];
    const fields = toRecord(meta.map(String));
    if (fields['offset'] === undefined) return null;
    return {
      partition,
      state: parseMeta(fields),
      closed: closed.map(String),
      open: open.map(([member, cells, sketches]) => {
        const replies = new Map<string, unknown>();
        for (let i = 0; i < sketches.length; i += 2) replies.set(String(sketches[i]), sketches[i + 1]);
        const pane = toPaneCells(String(member), cells.map(String));
        return withSketches(pane, (field) => fromSketchReply(replies.get(field)));
      }),
    };
  }
}

/** Meta fields that are not counters. */
const notCounters = new Set([
  ...['owner', 'epoch', 'definition', 'topicId', 'offset', 'base', 'maxEventTime', 'logTime'],
  ...['lag', 'idleSince', 'seenAt', 'reconciledUpTo', 'stopped'],
]);

function parseMeta(meta: Readonly<Record<string, string>>): PartitionState {
  return {
    position: {
      nextOffset: Number(meta['offset']),
      maxEventTimeMs: meta['maxEventTime'] === undefined ? noEventTime : Number(meta['maxEventTime']),
      logTimeMs: meta['logTime'] === undefined ? noEventTime : Number(meta['logTime']),
    },
    baseOffset: Number(meta['base']),
    topicId: meta['topicId'] ?? null,
    reconciledUpToMs: meta['reconciledUpTo'] === undefined ? noEventTime : Number(meta['reconciledUpTo']),
    counters: new Map(
      Object.entries(meta)
        .filter(([field]) => !notCounters.has(field))
        .map(([field, value]) => [field, BigInt(value)]),
    ),
    epoch: Number(meta['epoch'] ?? 0),
    report:
      meta['seenAt'] === undefined
        ? null
        : {
            lag: Number(meta['lag']),
            idleSinceMs: meta['idleSince'] ? Number(meta['idleSince']) : null,
            seenAtMs: Number(meta['seenAt']),
          },
  };
}

function toRecord(flat: readonly string[]): Record<string, string> {
  const record: Record<string, string> = {};
  for (let i = 0; i + 1 < flat.length; i += 2) record[flat[i] ?? ''] = flat[i + 1] ?? '';
  return record;
}
