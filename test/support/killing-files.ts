/**
 * Kills its own process at one of the calls by which Node changes files of a folder: what happens inside of one operation of the local
 * object store (scratch written, synced, linked, not yet unlinked, ...). Guarantee: every function of `node:fs/promises` and method of
 * a file handle that is not known to only read counts. What DuckDB writes by itself does not pass here: it writes scratch files only.
 */
import { createRequire, syncBuiltinESMExports } from 'node:module';
import { resolve, sep } from 'node:path';
import { shorten } from './killing-store.ts';
import type { Steps } from './killing-store.ts';

type Call = (this: unknown, ...args: unknown[]) => Promise<unknown>;

const readingCalls = new Set(
  'access glob lstat opendir readdir readFile readlink realpath stat statfs watch'.split(' '),
);
/** To close changes nothing that a killed process would not do, too. */
const readingMethods = new Set(
  'close constructor createReadStream getAsyncId read readFile readLines readableWebStream readv stat'.split(
    ' ',
  ),
);

/** From now on, for all modules of this process. @param folder of what counts */
export function killAtFiles(folder: string, steps: Steps): void {
  const promises = createRequire(import.meta.url)('node:fs/promises') as Record<string, unknown>;
  const root = resolve(folder) + sep;
  const paths = new WeakMap<object, string>();
  const isOurs = (path: unknown): path is string => typeof path === 'string' && path.startsWith(root);
  const nameOf = (call: string, path: string) => `${call} ${shorten(path.slice(root.length))}`;

  const wrapHandle = (handle: object): void => {
    for (const method of Object.getOwnPropertyNames(Object.getPrototypeOf(handle))) {
      const original: unknown = (handle as Record<string, unknown>)[method];
      if (typeof original !== 'function' || readingMethods.has(method)) continue;
      const call = original as Call;
      const own: Call = (...args) =>
        steps.take(
          nameOf(`handle.${method}`, paths.get(handle) ?? ''),
          () => call.apply(handle, args),
          () => call.apply(handle, [firstHalf(args[0]), ...args.slice(1)]),
        );
      Object.defineProperty(handle, method, { value: own });
    }
  };

  for (const [name, original] of Object.entries(promises)) {
    if (typeof original !== 'function' || readingCalls.has(name)) continue;
    const call = original as Call;
    promises[name] = async (...args: unknown[]) => {
      // Where there are two paths, the second is the new name.
      const path = [args[1], args[0]].find(isOurs);
      if (path === undefined) return call.apply(promises, args);
      const changes = name !== 'open' || (args[1] !== undefined && args[1] !== 'r');
      const half = () => call.apply(promises, [args[0], firstHalf(args[1]), ...args.slice(2)]);
      const result = changes
        ? await steps.take(nameOf(name, path), () => call.apply(promises, args), half)
        : await call.apply(promises, args);
      if (name === 'open') {
        paths.set(result as object, path);
        wrapHandle(result as object);
      }
      return result;
    };
  }
  // Modules that have imported a function by its name get the new one, too.
  syncBuiltinESMExports();
}

function firstHalf(data: unknown): unknown {
  if (typeof data !== 'string' && !(data instanceof Uint8Array)) throw new Error('there is no half of this');
  return data.slice(0, Math.floor(data.length / 2));
}
