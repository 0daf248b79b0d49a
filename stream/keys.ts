/**
 * The shape of every Redis key of the speed layer; no other file builds one. Guarantee: all keys of a partition share one
 * hash slot (`{pipeline:partition}`), so that one script may touch them on Redis Cluster, too.
 */
import type { Aggregate } from '../domain/aggregate.ts';

/** Hash: owner, offset, base, maxEventTime, logTime, definition and the counters. */
export function metaKey(pipeline: string, partition: number): string {
  return `reckon:{${pipeline}:${partition}}:meta`;
}

/** Sorted set of the partition's windows: member `<aggregate>|<start>`, score = end of the window (epoch ms). */
export function windowIndexKey(pipeline: string, partition: number): string {
  return `reckon:{${pipeline}:${partition}}:windows`;
}

/** Hash of one window: field `<slot>|<group>` → integer. */
export function windowKey(pipeline: string, partition: number, member: string): string {
  return `reckon:{${pipeline}:${partition}}:window:${member}`;
}

export function windowMember(aggregate: Aggregate, startMs: number): string {
  return `${aggregate.name}|${startMs}`;
}

export function parseWindowMember(member: string): { aggregate: string; startMs: number } {
  const at = member.lastIndexOf('|');
  return { aggregate: member.slice(0, at), startMs: Number(member.slice(at + 1)) };
}

export function parseWindowField(field: string): { slot: string; group: string } {
  const at = field.indexOf('|');
  return { slot: field.slice(0, at), group: field.slice(at + 1) };
}
