/**
 * Runs Reckon's own processes for `npm start`. Guarantee: a process that dies is reported and restarted; one that keeps
 * dying ends the run with its own last words; `stop` drains all of them before it returns; none outlives its parent (they
 * end when the channel to it closes).
 */
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createWriteStream, existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ReckonError } from '../domain/errors.ts';
import { projectRoot } from './config.ts';

export interface SupervisorOptions {
  readonly env: NodeJS.ProcessEnv;
  readonly logsDir: string;
  readonly report: (line: string) => void;
  /** Called once when a process cannot be kept running. */
  readonly onFatal: (error: unknown) => void;
}

/** A process that dies this often in a row, each time sooner than `stableMs` after its start, is given up. */
const failuresMax = 5;
const stableMs = 10_000;
const restartMs = 300;
/** A process that has not drained by then is killed. */
const drainMs = 30_000;
const readyMs = 60_000;

interface Supervised {
  readonly name: string;
  child: ChildProcess;
  failures: number;
  startedAtMs: number;
}

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #processes = new Map<string, Supervised>();
  /** Length of each log when its newest process began: older words are not its own. */
  readonly #logStarts = new Map<string, number>();
  #stopping = false;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    mkdirSync(options.logsDir, { recursive: true });
  }

  /** Starts `apps/<name>.ts` and waits until it says that it is ready. @returns what it said */
  async start(name: string): Promise<Readonly<Record<string, string>>> {
    const child = this.#spawn(name);
    this.#processes.set(name, { name, child, failures: 0, startedAtMs: Date.now() });
    return this.#ready(name, child);
  }

  /** Process ids by name, for messages and tests. */
  get pids(): Readonly<Record<string, number | undefined>> {
    return Object.fromEntries([...this.#processes].map(([name, { child }]) => [name, child.pid]));
  }

  /** Asks all processes to drain, and waits for them. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all([...this.#processes.values()].map(({ child }) => stopChild(child)));
  }

  #spawn(name: string): ChildProcess {
    const child = fork(join(projectRoot, 'scripts', 'run.mjs'), [name], {
      env: this.#options.env,
      // A session of its own: Ctrl-C in the terminal reaches the parent only, which then drains in order.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    this.#logStarts.set(name, existsSync(this.#logFile(name)) ? statSync(this.#logFile(name)).size : 0);
    const log = createWriteStream(this.#logFile(name), { flags: 'a' });
    child.stdout?.pipe(log, { end: false });
    child.stderr?.pipe(log, { end: false });
    child.once('exit', (code, signal) => {
      log.end();
      void this.#exited(name, child, code, signal);
    });
    return child;
  }

  #ready(name: string, child: ChildProcess): Promise<Readonly<Record<string, string>>> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () =>
          reject(
            new ReckonError(
              'unreachable',
              `${name} was not ready after ${readyMs / 1000} s.`,
              `See ${this.#logFile(name)}.`,
            ),
          ),
        readyMs,
      );
      child.on('message', (message: Readonly<Record<string, string>>) => {
        if (message['type'] !== 'ready') return;
        clearTimeout(timer);
        resolve(message);
      });
      child.once('exit', () => {
        clearTimeout(timer);
        reject(new ReckonError('unreachable', this.#lastWords(name), `See ${this.#logFile(name)}.`));
      });
    });
  }

  async #exited(
    name: string,
    child: ChildProcess,
    code: number | null,
    signal: string | null,
  ): Promise<void> {
    const supervised = this.#processes.get(name);
    if (this.#stopping || supervised?.child !== child) return;
    const failedSoon = Date.now() - supervised.startedAtMs < stableMs;
    supervised.failures = failedSoon ? supervised.failures + 1 : 1;
    if (supervised.failures >= failuresMax) {
      this.#options.onFatal(
        new ReckonError(
          'unreachable',
          this.#lastWords(name),
          `It ended ${failuresMax} times in a row; see ${this.#logFile(name)}.`,
        ),
      );
      return;
    }
    this.#options.report(
      `${name} (pid ${child.pid}) ended by ${signal ?? `exit code ${code}`}; starting it again`,
    );
    await sleep(restartMs * 2 ** (supervised.failures - 1));
    if (this.#stopping) return;
    supervised.startedAtMs = Date.now();
    supervised.child = this.#spawn(name);
    const started = supervised.child.pid;
    await this.#ready(name, supervised.child).then(
      () => this.#options.report(`${name} runs again (pid ${started})`),
      () => undefined, // Its exit is handled above, once more.
    );
  }

  /** The line in which the process said why it ended. */
  #lastWords(name: string): string {
    const log = readFileSync(this.#logFile(name)).subarray(this.#logStarts.get(name) ?? 0);
    const lines = log.toString('utf8').trimEnd().split('\n');
    const words =
      lines.reverse().find((line) => line.startsWith('reckon: ')) ?? `reckon: ${name} ended unexpectedly.`;
    return `${name}: ${words.slice('reckon: '.length)}`;
  }

  #logFile(name: string): string {
    return join(this.#options.logsDir, `${name}.log`);
  }
}

async function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), drainMs);
  await exited;
  clearTimeout(timer);
}
