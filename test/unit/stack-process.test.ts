/** Processes are recognised by pid and start time, and a lock lets one process in at a time. No server is started. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { withLock } from '../../scripts/stack/lock.ts';
import {
  isAlive,
  lastLineOf,
  signalGroup,
  startDetached,
  startTimeOf,
  terminate,
} from '../../scripts/stack/process.ts';

let dir: string;
beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'reckon-process-'))));
afterEach(() => rmSync(dir, { recursive: true }));

function start(script: string) {
  return startDetached({ program: process.execPath, args: ['-e', script], cwd: dir }, join(dir, 'log'));
}
const forever = 'setInterval(() => {}, 1000)';

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 10));
}

describe('processes', () => {
  test('a started process is alive, in its own group, until it is terminated', async () => {
    const { identity, exited } = await start(forever);
    expect(await isAlive(identity)).toBe(true);
    await terminate(identity, 5_000);
    expect(await isAlive(identity)).toBe(false);
    await until(exited);
  });

  test('a pid that now belongs to another process is neither alive nor signalled', async () => {
    const { identity } = await start(forever);
    const earlier = { pid: identity.pid, startedAt: 'an earlier start' };
    expect(await isAlive(earlier)).toBe(false);
    expect(await signalGroup(earlier, 'SIGKILL')).toBe(false);
    await terminate(earlier, 100);
    expect(await isAlive(identity)).toBe(true);
    await terminate(identity, 5_000);
  });

  test('one that ignores SIGTERM is killed after the grace', async () => {
    const { identity } = await start(`process.on('SIGTERM', () => {}); console.log('ready'); ${forever}`);
    await until(() => readFileSync(join(dir, 'log'), 'utf8').includes('ready'));
    await terminate(identity, 100);
    expect(await isAlive(identity)).toBe(false);
  });

  test('what it writes is in the log, and the last telling line is found below a stack trace', async () => {
    const { exited } = await start(`console.error('the reason\\n    at frame (file:1)\\n\\t... 3 more\\n')`);
    await until(exited);
    expect(await lastLineOf(join(dir, 'log'))).toBe('the reason');
    expect(await lastLineOf(join(dir, 'no such log'))).toBe('(the log is empty)');
  });

  test('a missing program is an error, not a crash', async () => {
    const command = { program: join(dir, 'nothing'), args: [], cwd: dir };
    await expect(startDetached(command, join(dir, 'log'))).rejects.toThrow('ENOENT');
  });
});

describe('the lock', () => {
  const file = (): string => join(dir, 'lock');

  test('lets one in at a time and tells the others who is in', async () => {
    let inside = 0;
    let most = 0;
    const holders: string[] = [];
    const work = () =>
      withLock(
        file(),
        (holder) => holders.push(holder),
        async () => {
          most = Math.max(most, ++inside);
          await new Promise((resolve) => setTimeout(resolve, 20));
          inside -= 1;
        },
      );
    await Promise.all([work(), work(), work()]);
    expect(most).toBe(1);
    expect(holders).toEqual([`process ${process.pid}`, `process ${process.pid}`]);
    expect(existsSync(file())).toBe(false);
  });

  test('is given back when the work fails', async () => {
    const failing = withLock(
      file(),
      () => undefined,
      () => Promise.reject(new Error('no')),
    );
    await expect(failing).rejects.toThrow('no');
    expect(existsSync(file())).toBe(false);
  });

  test('of a holder that died is taken over, also when its pid lives on as another process', async () => {
    const startedAt = await startTimeOf(process.pid);
    expect(startedAt).not.toBeNull();
    const dead = { host: hostname(), pid: process.pid, startedAt: `before ${startedAt}`, unique: 'x' };
    writeFileSync(file(), JSON.stringify(dead));
    const told: string[] = [];
    expect(
      await withLock(
        file(),
        (holder) => told.push(holder),
        async () => 'in',
      ),
    ).toBe('in');
    expect(told).toEqual([]);
  });
});
