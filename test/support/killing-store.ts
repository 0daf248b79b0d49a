/**
 * An object store that kills its own process (SIGKILL) at one of its operations, so that every step of work on a lake can be a last
 * one, without a hook in the product. Guarantee: every operation that is not known to only read counts, also those that a store
 * gets later; the killed process says on its standard output at what it died.
 */
import { writeSync } from 'node:fs';
import type { ObjectStore } from '../../clients/object-store.ts';

/** `half`: when the first half of the bytes is written. */
export type Moment = 'before' | 'half' | 'after';

/** Which step is the last one. */
export interface Kill {
  /** Of the object store, or of the file system below it (`killing-files.ts`). */
  readonly level: 'store' | 'files';
  /** From 1. */
  readonly step: number;
  readonly moment: Moment;
}

/** Counts what changes something, and dies when it is time. */
export class Steps {
  /** Of the steps so far. */
  readonly names: string[] = [];
  readonly #kill: Kill | null;

  constructor(level: Kill['level'], kill: Kill | null) {
    this.#kill = kill?.level === level ? kill : null;
  }

  /** @param half does the first half of it, where there is such a thing */
  async take<T>(name: string, step: () => Promise<T>, half?: () => Promise<unknown>): Promise<T> {
    const moment = this.names.push(name) === this.#kill?.step ? this.#kill.moment : null;
    if (moment === 'before') return die(name);
    if (moment === 'half') {
      await half?.();
      return die(name);
    }
    const result = await step();
    return moment === 'after' ? die(name) : result;
  }
}

function die(name: string): Promise<never> {
  writeSync(1, `${name}\n`);
  process.kill(process.pid, 'SIGKILL');
  // Not one more line of the caller's.
  return new Promise(() => undefined);
}

/** What changes nothing; `scratchFile` only gives a name (its folder is a step of `killing-files.ts`). */
const reading = new Set(['checksum', 'get', 'list', 'location', 'localCopies', 'scratchFile']);

export function killingStore(store: ObjectStore, steps: Steps): ObjectStore {
  return new Proxy(store, {
    get(target, property) {
      const member: unknown = Reflect.get(target, property, target);
      if (typeof member !== 'function') return member;
      const operation = member.bind(target) as (...args: unknown[]) => Promise<unknown>;
      if (typeof property === 'symbol' || reading.has(property)) return operation;
      return (...args: unknown[]) => {
        // The last argument that is a text names the object.
        const path = args.filter((arg) => typeof arg === 'string').at(-1) ?? '';
        return steps.take(`${property} ${shorten(path)}`, () => operation(...args));
      };
    },
  });
}

/** The same in every run: random names are left out. */
export function shorten(path: string): string {
  return path
    .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, '*')
    .replace(/^.*\/_scratch\//, '_scratch/');
}
