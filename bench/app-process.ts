/**
 * One of our apps under measurement: `npm run <app>` as a child, as users run it. Guarantee: its CPU time is that of the whole
 * process from its start, and of all that it started; it is ended, whatever happens.
 */
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { ReckonError } from '../domain/errors.ts';
import { cpuSecondsOf } from './cpu.ts';

const root = join(import.meta.dirname, '..');
/** How often it is asked whether everything is done; what a measured time may be too long. */
const pollMs = 20;
const stopMs = 30_000;

export class AppProcess {
  readonly #app: string;
  readonly #child: ChildProcess;
  readonly #beginsWith: string;
  readonly #startedAtMs = Date.now();
  #readingSinceMs: number | null = null;
  #lastLine = '';

  /**
   * @param app such as `stream`
   * @param env beside the environment of this process
   * @param beginsWith message of the log line with which it begins to read
   */
  constructor(app: string, env: Readonly<Record<string, string>>, beginsWith: string) {
    this.#app = app;
    this.#beginsWith = JSON.stringify(beginsWith);
    this.#child = fork(join(root, 'scripts', 'run.mjs'), [app], {
      env: { ...process.env, ...env, LOG_LEVEL: 'info' },
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    const { stderr } = this.#child;
    if (stderr !== null) createInterface({ input: stderr }).on('line', (line) => this.#hear(line));
  }

  /**
   * Waits until everything is done.
   * @returns seconds since it began to read, and since the process was started
   * @throws ReckonError `unreachable` when the process ends before
   */
  async done(isDone: () => Promise<boolean>, signal: AbortSignal) {
    while (!(await isDone())) {
      if (this.#hasEnded())
        throw new ReckonError('unreachable', `The ${this.#app} process has ended: ${this.#lastLine}`);
      await sleep(pollMs, undefined, { signal });
    }
    const nowMs = Date.now();
    return {
      seconds: (nowMs - (this.#readingSinceMs ?? this.#startedAtMs)) / 1_000,
      secondsWithStart: (nowMs - this.#startedAtMs) / 1_000,
    };
  }

  /** CPU seconds so far. */
  cpuSeconds(): number {
    return cpuSecondsOf(this.#child.pid ?? 0);
  }

  async stop(): Promise<void> {
    if (this.#hasEnded()) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), stopMs);
    await ended;
    clearTimeout(timer);
  }

  #hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  #hear(line: string): void {
    this.#lastLine = line;
    if (this.#readingSinceMs !== null || !line.includes(this.#beginsWith)) return;
    this.#readingSinceMs = (JSON.parse(line) as { time: number }).time;
  }
}
