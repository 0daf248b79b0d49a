/**
 * The consumer group of a pipeline's speed layer, and what it leaves in Kafka. Guarantee: nothing is read from there that Redis
 * knows; only where counting began is remembered beside the offsets, for when Redis has lost everything.
 */
import type { Pipeline } from '../domain/pipeline.ts';

export function groupOf(pipeline: Pipeline): string {
  return `reckon-speed-${pipeline.name}`;
}

/** The metadata of a committed offset. */
export function baseNote(baseOffset: number): string {
  return `base=${baseOffset}`;
}

/** @returns where counting began; null where the metadata is not ours */
export function parseBaseNote(metadata: string): number | null {
  const match = /^base=(\d+)$/.exec(metadata);
  return match === null ? null : Number(match[1]);
}
