/**
 * Reads panes from Redis. Guarantee: each pane is read at one moment, between two commits; a sketch may be one commit ahead of
 * the rest of its pane.
 */
import { defineScript } from '../clients/redis.ts';
import type { ChainableCommander, Redis, Script } from '../clients/redis.ts';
import { ownerField, paneIndexKey, paneKey, revisionField, sketchKey } from './keys.ts';
import { fromSketchReply, splitAgain, toPaneCells, withSketches } from './pane-cells.ts';
import type { PaneCells } from './pane-cells.ts';
import { lua } from './scripts.ts';

/** Panes read by one script, which blocks Redis while it runs (half a millisecond for a pane of a thousand groups). */
const panesPerCall = 4;

/** A pane by its name in the index; the revision rises with every commit that changes it. */
export interface PaneRevision {
  readonly member: string;
  readonly revision: number;
  /** Token of the owner that made the last commit. */
  readonly owner: string;
}

export class PaneReader {
  readonly #redis: Redis;
  readonly #pipeline: string;
  readonly #panes: Script;
  readonly #revisions: Script;

  constructor(redis: Redis, pipeline: string) {
    this.#redis = redis;
    this.#pipeline = pipeline;
    this.#panes = defineScript(redis, 'reckonPanes', lua('panes'));
    this.#revisions = defineScript(redis, 'reckonRevisions', lua('revisions'));
  }

  /** Index members of the panes of one partition that end in (fromMs, toMs]; ±Infinity where it is open. */
  async members(partition: number, fromMs: number, toMs: number): Promise<string[]> {
    return this.#redis.zrangebyscore(
      paneIndexKey(this.#pipeline, partition),
      `(${bound(fromMs)}`,
      bound(toMs),
    );
  }

  /** The panes with these names that are there. */
  async revisions(partition: number, members: readonly string[]): Promise<PaneRevision[]> {
    if (members.length === 0) return [];
    const keys = members.map((member) => paneKey(this.#pipeline, partition, member));
    const replies = (await this.#revisions(keys, [revisionField, ownerField])) as string[];
    return members.flatMap((member, i) => {
      const [revision = '', owner = ''] = replies[i]?.split('\0') ?? [];
      return revision === '' ? [] : [{ member, revision: Number(revision), owner }];
    });
  }

  /**
   * The cells of panes (of one partition), in the order asked for; those of a pane that is not there are empty.
   * @param before gives the `texts` of an earlier read of a pane, which make this one cheaper
   */
  async read(
    partition: number,
    members: readonly string[],
    before: (member: string) => readonly string[] = () => [],
  ): Promise<PaneCells[]> {
    const keys = members.map((member) => paneKey(this.#pipeline, partition, member));
    const panes = (await this.#readTexts(keys)).map((text, i) => {
      const member = members[i] as string;
      return toPaneCells(member, text === '' ? [] : splitAgain(text, before(member)));
    });
    const keyOf = (member: string, field: string) => sketchKey(this.#pipeline, partition, member, field);
    const sketched = panes.flatMap(({ member, sketches }) =>
      Object.keys(sketches).map((field) => keyOf(member, field)),
    );
    const found = new Map(await this.#readSketches(sketched));
    return panes.map((pane) => withSketches(pane, (field) => found.get(keyOf(pane.member, field)) ?? null));
  }

  /** Fields and values of each hash in turn, separated by NUL. */
  async #readTexts(keys: readonly string[]): Promise<string[]> {
    const calls: Promise<unknown>[] = [];
    for (let first = 0; first < keys.length; first += panesPerCall)
      calls.push(this.#panes(keys.slice(first, first + panesPerCall), []));
    return (await Promise.all(calls)).flat() as string[];
  }

  /** The same of a few fields only, none of them a sketch. */
  async readFields(
    partition: number,
    members: readonly string[],
    fields: readonly string[],
  ): Promise<PaneCells[]> {
    const asked = [revisionField, ...fields];
    const replies = await this.#pipelined(members, (batch, member) =>
      batch.hmget(paneKey(this.#pipeline, partition, member), ...asked),
    );
    return members.map((member, i) => {
      const values = replies[i] as (string | null)[];
      const held = asked.flatMap((field, at) => (typeof values[at] === 'string' ? [field, values[at]] : []));
      return toPaneCells(member, held);
    });
  }

  async #readSketches(keys: readonly string[]): Promise<[string, Uint8Array | null][]> {
    if (keys.length === 0) return [];
    const types = await this.#pipelined(keys, (batch, key) => batch.type(key));
    const replies = await this.#pipelined(keys, (batch, key, i) =>
      types[i] === 'hash' ? batch.hgetallBuffer(key) : batch.getBuffer(key),
    );
    return keys.map((key, i) => [key, fromSketchReply(replies[i])]);
  }

  /** Sends one command for each key (all of one partition) in one round trip. @throws the first error */
  async #pipelined(
    keys: readonly string[],
    send: (batch: ChainableCommander, key: string, i: number) => unknown,
  ): Promise<unknown[]> {
    const batch = this.#redis.pipeline();
    for (const [i, key] of keys.entries()) send(batch, key, i);
    const replies = (await batch.exec()) ?? [];
    return replies.map(([error, reply]) => {
      if (error !== null) throw error;
      return reply;
    });
  }

  /** How many panes a partition holds, and how many of them end after `closedUpToMs`. */
  async count(partition: number, closedUpToMs: number): Promise<{ open: number; all: number }> {
    const key = paneIndexKey(this.#pipeline, partition);
    const [all, open] = await Promise.all([
      this.#redis.zcard(key),
      this.#redis.zcount(key, `(${bound(closedUpToMs)}`, '+inf'),
    ]);
    return { open, all };
  }
}

/** ±Infinity as Redis writes it. */
function bound(ms: number): string {
  if (Number.isFinite(ms)) return String(ms);
  return ms < 0 ? '-inf' : '+inf';
}
