/**
 * Who waits for the archive says so in the lake: an offset vector in one object, which the archiver looks at while it holds rows that
 * are not written. Guarantee: it only ever makes a file earlier; a demand that another one overwrote is made again by who still waits.
 */
import type { ObjectStore } from '../clients/object-store.ts';
import { covers } from '../domain/offset-vector.ts';
import type { OffsetVector } from '../domain/offset-vector.ts';

export class ArchiveDemand {
  readonly #store: ObjectStore;
  readonly #path: string;

  /** @param pipeline its name */
  constructor(store: ObjectStore, pipeline: string) {
    this.#store = store;
    this.#path = `${pipeline}/archive-demand.json`;
  }

  /** Asks for the archive up to the vector, beside what others have asked for. Called again while it is not there. */
  async ask(wanted: OffsetVector): Promise<void> {
    const asked = await this.read();
    if (covers(asked, wanted)) return;
    const vector: Record<string, string> = { ...asked };
    for (const [partition, offset] of Object.entries(wanted))
      if (Number(offset) > Number(vector[partition] ?? '0')) vector[partition] = offset;
    await this.#store.put(this.#path, Buffer.from(JSON.stringify({ vector })));
  }

  /** @param written how far the partitions are written that have more to write @returns whether that is wanted */
  async wantsMore(written: OffsetVector): Promise<boolean> {
    const wanted = await this.read();
    return Object.entries(written).some(
      ([partition, offset]) => Number(wanted[partition] ?? '0') > Number(offset),
    );
  }

  /** How far the archive is wanted; nowhere where nobody has asked, or in words that mean nothing. */
  async read(): Promise<OffsetVector> {
    const bytes = await this.#store.get(this.#path);
    try {
      const { vector } = JSON.parse(Buffer.from(bytes ?? '{}').toString()) as { vector?: unknown };
      if (typeof vector !== 'object' || vector === null) return {};
      return Object.fromEntries(
        Object.entries(vector).flatMap(([partition, offset]) =>
          typeof offset === 'string' && /^\d+$/.test(offset) ? [[partition, offset]] : [],
        ),
      );
    } catch {
      return {};
    }
  }
}
