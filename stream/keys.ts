/**
 * The shape of every Redis key of the speed layer; no other file builds one. Guarantee: all keys of a partition share one
 * hash slot (`{pipeline:partition}`), so that one script may touch them on Redis Cluster, too.
 */
/** Hash: owner, epoch, offset, base, maxEventTime, logTime, definition, the counters, and what readers are told (lag, ...). */
export function metaKey(pipeline: string, partition: number): string {
  return `reckon:{${pipeline}:${partition}}:meta`;
}

/** The rules that the partition was counted by, as text (`domain/rules.ts`); read only when a definition has changed. */
export function rulesKey(pipeline: string, partition: number): string {
  return `reckon:{${pipeline}:${partition}}:rules`;
}

/** Sorted set of the partition's panes: member `<aggregate>|<start>|<end>`, score = end (epoch ms). */
export function paneIndexKey(pipeline: string, partition: number): string {
  return `reckon:{${pipeline}:${partition}}:panes`;
}

/** Hash of one pane: field `<slot>|<group>` → integer, and the fields below. */
export function paneKey(pipeline: string, partition: number, member: string): string {
  return `reckon:{${pipeline}:${partition}}:pane:${member}`;
}

/**
 * The sketch of one `distinct` slot, pane and group: a hash register → state while it is small, then a string of one byte a
 * register. The pane's hash holds the same field with the value 0, so that sketches are found.
 */
export function sketchKey(pipeline: string, partition: number, member: string, field: string): string {
  return `${sketchPrefix(pipeline, partition)}${member}|${field}`;
}

export function sketchPrefix(pipeline: string, partition: number): string {
  return `reckon:{${pipeline}:${partition}}:sketch:`;
}

/** Fields of a pane's hash that are not cells: how many commits have changed it, and the owner that made the last one. */
export const revisionField = 'revision';
export const ownerField = 'owner';

export interface PaneAddress {
  readonly aggregate: string;
  readonly startMs: number;
  readonly endMs: number;
}

export function paneMember({ aggregate, startMs, endMs }: PaneAddress): string {
  return `${aggregate}|${startMs}|${endMs}`;
}

export function parsePaneMember(member: string): PaneAddress {
  const [aggregate = '', startMs, endMs] = member.split('|');
  return { aggregate, startMs: Number(startMs), endMs: Number(endMs) };
}

/** `<slot>|<group>`: names of slots hold no `|`, groups may. */
export function paneField(slot: string, group: string): string {
  return `${slot}|${group}`;
}

export function parsePaneField(field: string): { slot: string; group: string } {
  const at = field.indexOf('|');
  return { slot: field.slice(0, at), group: field.slice(at + 1) };
}
