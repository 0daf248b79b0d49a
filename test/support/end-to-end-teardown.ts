/** After the end-to-end tests: stops the servers and waits until they are gone. */
import { once } from 'node:events';
import type { Kept } from './end-to-end-setup.ts';

export default async function tearDown(): Promise<void> {
  const keeper = (globalThis as Kept).stackKeeper;
  if (keeper === undefined || keeper.exitCode !== null || keeper.signalCode !== null) return;
  const closed = once(keeper, 'close');
  keeper.stdin?.end();
  const [code] = (await closed) as [number | null];
  if (code !== 0) throw new Error(`the servers did not stop in order (exit code ${code})`);
}
