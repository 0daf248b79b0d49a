/**
 * A program that holds the servers of the end-to-end tests: starts them in the folder given, prints one JSON line, and
 * keeps them until its standard input ends. Guarantee: they end with the process that wanted them, however that one ends
 * (also by kill -9), and their folder with them.
 */
import { rmSync } from 'node:fs';
import { runMain } from '../../apps/main.ts';
import { startStack } from '../../scripts/stack/stack.ts';

await runMain(async () => {
  const [dir = ''] = process.argv.slice(2);
  // It ends when its parent is gone, not when a terminal's Ctrl-C reaches it.
  process.on('SIGINT', () => undefined).on('SIGTERM', () => undefined);
  const parentGone = new Promise<void>((resolve) =>
    process.stdin.once('end', resolve).once('close', resolve),
  );
  process.stdin.resume();
  const stack = await startStack({
    dir,
    ports: 'free',
    progress: (line) => process.stderr.write(`${line}\n`),
  });
  try {
    process.stdout.write(`${JSON.stringify(stack.endpoints)}\n`);
    await parentGone;
  } finally {
    await stack.stop();
    rmSync(dir, { recursive: true, force: true });
  }
});
