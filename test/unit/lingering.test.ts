/** A process that has drained ends, whatever a driver has left behind in it. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

it('ends with 0 after its drain, though a timer is left that would run for an hour', async () => {
  const run = join(__dirname, '..', '..', 'scripts', 'run.mjs');
  const child = fork(run, ['../test/support/lingering'], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
  await once(child, 'message');
  child.kill('SIGTERM');
  expect(await once(child, 'exit')).toEqual([0, null]);
}, 60_000);
