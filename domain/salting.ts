/**
 * The Kafka key of an event, with the salt of hot keys. Guarantee: a function of the event's key and id alone, so that equal
 * ids always meet in one partition, whoever produces them.
 */
import type { Pipeline } from './pipeline.ts';

/**
 * `p7` → `p7#3`, where the definition salts that key. The bucket is the 32-bit FNV-1a hash of the id's UTF-16 code units,
 * each as two bytes, low one first, modulo `buckets` (RFC 9923 has the hash): simple enough for a producer in any language.
 */
export function saltedKey(pipeline: Pipeline, key: string, id: string): string {
  const { salting } = pipeline.event;
  if (salting === null || (salting.keys !== undefined && !salting.keys.includes(key))) return key;
  return `${key}#${fnv1a(id) % salting.buckets}`;
}

function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    hash = Math.imul(hash ^ (unit & 0xff), 0x01000193);
    hash = Math.imul(hash ^ (unit >> 8), 0x01000193);
  }
  return hash >>> 0;
}
