/**
 * Watches the servers that `npm start` itself has started. Guarantee: one that dies is reported and started again on the
 * same ports with its data; servers that were there before are left alone.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { stackStatus } from '../scripts/stack/stack.ts';
import type { Stack } from '../scripts/stack/stack.ts';

const lookMs = 1_000;

/** Looks until `signal` is aborted. @throws ReckonError when a server cannot be started again */
export async function watchServers(
  stack: Stack,
  dir: string,
  signal: AbortSignal,
  report: (line: string) => void,
): Promise<void> {
  const ours = new Set(stack.servers.filter(({ startedHere }) => startedHere).map(({ name }) => name));
  while (!signal.aborted) {
    for (const { name, health } of await stackStatus(dir)) {
      if (signal.aborted || health !== 'dead' || !ours.has(name)) continue;
      report(`${name} died; starting it again with its data`);
      await stack.start(name);
      report(`${name} runs again`);
    }
    await sleep(lookMs, undefined, { signal }).catch(() => undefined);
  }
}
