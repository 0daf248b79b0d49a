/**
 * Our own stream process under measurement: `npm run stream` as a child, as users run it. Guarantee: its CPU time is that of
 * the whole process from its start, and of all that it started; it is ended, whatever happens.
 */
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RedisNode } from '../clients/redis.ts';
import { ReckonError } from '../domain/errors.ts';
import { cpuSecondsOf } from './cpu.ts';
import type { BenchPipeline } from './pipeline.ts';
import type { Servers } from './servers.ts';

const root = join(import.meta.dirname, '..');
/** How often Redis is asked whether it holds everything; what a measured time may be too long. */
const pollMs = 20;
const stopMs = 30_000;

export class StreamProcess {
  readonly #child: ChildProcess;
  readonly #pipeline: string;
  readonly #redis: RedisNode;
  readonly #startedAtMs = Date.now();
  #consumingSinceMs: number | null = null;
  #lastLine = '';

  constructor({ kafkaBrokers, redisUrl, dir, redis }: Servers, { pipeline, file }: BenchPipeline) {
    this.#pipeline = pipeline.name;
    this.#redis = redis;
    this.#child = fork(join(root, 'scripts', 'run.mjs'), ['stream'], {
      env: {
        ...process.env,
        KAFKA_BROKERS: kafkaBrokers,
        REDIS_URL: redisUrl,
        RECKON_PIPELINE: file,
        RECKON_HOME: dir,
        LOG_LEVEL: 'info',
      },
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    const { stderr } = this.#child;
    if (stderr !== null) createInterface({ input: stderr }).on('line', (line) => this.#hear(line));
  }

  /**
   * Waits until Redis has the counts up to these offsets.
   * @returns seconds since consumption began (a partition was acquired), and since the process was started
   * @throws ReckonError `unreachable` when the process ends before
   */
  async counted(ends: ReadonlyMap<number, number>, signal: AbortSignal) {
    while (!(await this.#holds(ends))) {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null)
        throw new ReckonError('unreachable', `The stream process has ended: ${this.#lastLine}`);
      await sleep(pollMs, undefined, { signal });
    }
    const nowMs = Date.now();
    return {
      seconds: (nowMs - (this.#consumingSinceMs ?? this.#startedAtMs)) / 1_000,
      secondsWithStart: (nowMs - this.#startedAtMs) / 1_000,
    };
  }

  /** CPU seconds so far. */
  cpuSeconds(): number {
    return cpuSecondsOf(this.#child.pid ?? 0);
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), stopMs);
    await ended;
    clearTimeout(timer);
  }

  async #holds(ends: ReadonlyMap<number, number>): Promise<boolean> {
    const batch = this.#redis.pipeline();
    for (const partition of ends.keys()) batch.hget(`reckon:{${this.#pipeline}:${partition}}:meta`, 'offset');
    const replies = (await batch.exec()) ?? [];
    return [...ends.values()].every((end, i) => Number(replies[i]?.[1] ?? 0) >= end);
  }

  #hear(line: string): void {
    this.#lastLine = line;
    if (this.#consumingSinceMs !== null || !line.includes('"partition acquired"')) return;
    this.#consumingSinceMs = (JSON.parse(line) as { time: number }).time;
  }
}
