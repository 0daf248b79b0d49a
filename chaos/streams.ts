/**
 * The `npm run stream` processes of a round. Guarantee: one that ends because a server was away is started again, as any
 * supervisor would; one that ends for a reason that was not expected is told; none outlives this process (they end when the
 * channel to it closes).
 */
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createWriteStream, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { until } from './wait.ts';

/** One line of a process's log. */
interface LogLine {
  readonly atMs: number;
  readonly msg: string;
  readonly partition?: number;
  readonly partitions?: readonly number[];
  readonly offset?: number;
  readonly reason?: string;
}

export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Its last line for people, without `reckon: `; empty where there is none. */
  readonly words: string;
}

/** What a process says that ends because a server is away; it is worth starting again. */
const serverAway = /^(Kafka|Redis)\b/;
const restartMs = 300;
const readyMs = 60_000;
const runFile = fileURLToPath(new URL('../scripts/run.mjs', import.meta.url));

export class StreamProcess {
  readonly child: ChildProcess;
  readonly log: LogLine[] = [];
  readonly ended: Promise<Ending>;
  ending: Ending | null = null;
  /** We want it to end, or have killed it. */
  unwanted = false;
  isReady = false;
  #words = '';

  constructor(env: NodeJS.ProcessEnv, logFile: string) {
    this.child = fork(runFile, ['stream'], {
      env,
      // A session of its own: Ctrl-C in the terminal reaches chaos only, which then ends everything in order.
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    const file = createWriteStream(logFile, { flags: 'a' });
    this.child.stderr?.pipe(file);
    if (this.child.stderr !== null)
      createInterface({ input: this.child.stderr }).on('line', (line) => this.#note(line));
    this.child.on('message', (message) => {
      if ((message as { type?: string }).type === 'ready') this.isReady = true;
    });
    this.ended = new Promise((resolve) =>
      this.child.once('close', (code, signal) => {
        this.ending = { code, signal, words: this.#words };
        resolve(this.ending);
      }),
    );
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  get isUp(): boolean {
    return this.ending === null && this.isReady;
  }

  /** The partitions that it owns, as it says itself: those of its last assignment that it has acquired since. */
  get owned(): readonly number[] {
    const from = this.log.findLastIndex(({ msg }) => msg === 'partitions assigned');
    const lines = from < 0 ? [] : this.log.slice(from);
    return [...new Set(lines.flatMap((line) => (isAcquisition(line) ? [line.partition ?? -1] : [])))];
  }

  acquiredSince(atMs: number): readonly number[] {
    return this.log
      .filter((line) => line.atMs >= atMs && isAcquisition(line))
      .map(({ partition }) => partition ?? -1);
  }

  /** SIGKILL also ends a process that is stopped by SIGSTOP. */
  kill(signal: NodeJS.Signals): void {
    if (signal === 'SIGKILL' || signal === 'SIGTERM') this.unwanted = true;
    this.child.kill(signal);
  }

  #note(line: string): void {
    if (line.startsWith('reckon: ')) this.#words = line.slice('reckon: '.length);
    if (!line.startsWith('{')) return;
    try {
      this.log.push({ ...(JSON.parse(line) as LogLine), atMs: performance.now() });
    } catch {
      // Cut off by its end.
    }
  }
}

function isAcquisition({ msg }: LogLine): boolean {
  return msg === 'partition acquired';
}

export class Streams {
  readonly #env: NodeJS.ProcessEnv;
  readonly #logsDir: string;
  readonly #all: StreamProcess[] = [];
  /** What a process may say when it ends for good; null while none may. */
  #expectedStop: RegExp | null = null;
  #stopping = false;
  #restarting = 0;
  /** Endings that nothing explains. */
  readonly unexpected: Ending[] = [];
  /** Endings with the expected words. */
  readonly stops: Ending[] = [];
  restarts = 0;

  constructor(env: NodeJS.ProcessEnv, logsDir: string) {
    this.#env = env;
    this.#logsDir = logsDir;
    mkdirSync(logsDir, { recursive: true });
  }

  /** Those that run or are starting, and are meant to; owners of partitions last. */
  get wanted(): readonly StreamProcess[] {
    const running = this.#all.filter(({ ending, unwanted }) => ending === null && !unwanted);
    return running.sort((a, b) => a.owned.length - b.owned.length);
  }

  get all(): readonly StreamProcess[] {
    return this.#all;
  }

  /** Log lines of all processes that say so, since the moment. */
  countLines(msg: string, sinceMs = 0): number {
    return this.#all.flatMap(({ log }) => log).filter((line) => line.msg === msg && line.atMs >= sinceMs)
      .length;
  }

  /** All of them have ended as was expected. */
  get stopped(): boolean {
    return this.wanted.length === 0 && this.#restarting === 0 && this.stops.length > 0;
  }

  async start(): Promise<StreamProcess> {
    const started = this.#spawn();
    await until(`stream process ${started.pid} is ready`, () => started.isUp || started.ending, readyMs);
    return started;
  }

  /** Exactly so many processes, all of them ready. Where some have to go, the owners do. */
  async scale(count: number): Promise<void> {
    for (const excess of this.wanted.slice(count)) {
      excess.kill('SIGTERM');
      await excess.ended;
    }
    await Promise.all(Array.from({ length: count - this.wanted.length }, () => this.start()));
    await this.up();
  }

  async up(): Promise<void> {
    await until('every stream process is up', () => this.wanted.every(({ isUp }) => isUp), readyMs);
  }

  /** From now on, processes are to end with these words and an exit code that is not 0. */
  expectStop(words: RegExp): void {
    this.#expectedStop = words;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    const running = this.#all.filter(({ ending }) => ending === null);
    for (const process of running) process.kill('SIGKILL');
    await Promise.all(running.map(({ ended }) => ended));
  }

  #spawn(): StreamProcess {
    const started = new StreamProcess(this.#env, join(this.#logsDir, `stream-${this.#all.length + 1}.log`));
    this.#all.push(started);
    void started.ended.then((ending) => this.#judge(started, ending));
    return started;
  }

  async #judge(process: StreamProcess, ending: Ending): Promise<void> {
    if (this.#stopping || process.unwanted) return;
    if (ending.code !== 0 && this.#expectedStop?.test(ending.words) === true) {
      this.stops.push(ending);
      return;
    }
    if (!serverAway.test(ending.words)) {
      this.unexpected.push(ending);
      return;
    }
    this.restarts++;
    this.#restarting++;
    await sleep(restartMs);
    this.#restarting--;
    if (!this.#stopping) this.#spawn();
  }
}
