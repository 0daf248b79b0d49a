/**
 * Our own archiver under measurement: `npm run archive` as a child, as users run it. Guarantee: its CPU time is that of the whole
 * process from its start, and of all that it started; it is ended, whatever happens.
 */
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { ArchiveDemand } from '../batch/archive-demand.ts';
import { ArchiveTable } from '../batch/archive-table.ts';
import type { ObjectStore } from '../clients/object-store.ts';
import { ReckonError } from '../domain/errors.ts';
import { covers, toOffsetVector } from '../domain/offset-vector.ts';
import { cpuSecondsOf } from './cpu.ts';
import type { BenchPipeline } from './pipeline.ts';
import type { Servers } from './servers.ts';

const root = join(import.meta.dirname, '..');
/** How often the lake is asked how far it reaches; what a measured time may be too long. */
const pollMs = 20;
const stopMs = 30_000;
/** When so much is left, the archiver is asked for it: it would wait for more. */
const lastRows = 400_000;

export class ArchiveProcess {
  readonly #child: ChildProcess;
  readonly #archive: ArchiveTable;
  readonly #demand: ArchiveDemand;
  readonly #startedAtMs = Date.now();
  #readingSinceMs: number | null = null;
  #lastLine = '';

  /** @param lake folder of the store */
  constructor(
    { kafkaBrokers, dir }: Servers,
    { pipeline, file }: BenchPipeline,
    store: ObjectStore,
    lake: string,
  ) {
    this.#archive = new ArchiveTable(store, pipeline);
    this.#demand = new ArchiveDemand(store, pipeline.name);
    this.#child = fork(join(root, 'scripts', 'run.mjs'), ['archive'], {
      env: {
        ...process.env,
        KAFKA_BROKERS: kafkaBrokers,
        RECKON_PIPELINE: file,
        RECKON_HOME: dir,
        LAKE_URL: lake,
        LOG_LEVEL: 'info',
      },
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    const { stderr } = this.#child;
    if (stderr !== null) createInterface({ input: stderr }).on('line', (line) => this.#hear(line));
  }

  /**
   * Waits until the lake reaches these offsets.
   * @returns seconds since reading began (partitions were assigned), and since the process was started
   * @throws ReckonError `unreachable` when the process ends before
   */
  async archived(ends: ReadonlyMap<number, number>, signal: AbortSignal) {
    const wanted = toOffsetVector(ends);
    const total = [...ends.values()].reduce((sum, end) => sum + end, 0);
    let isAsked = false;
    for (;;) {
      const reached = await this.#archive.reached();
      if (covers(reached, wanted)) break;
      const rows = Object.values(reached).reduce((sum, offset) => sum + Number(offset), 0);
      if (!isAsked && total - rows <= lastRows) {
        isAsked = true;
        await this.#demand.ask(wanted);
      }
      if (this.#child.exitCode !== null || this.#child.signalCode !== null)
        throw new ReckonError('unreachable', `The archive process has ended: ${this.#lastLine}`);
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
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), stopMs);
    await ended;
    clearTimeout(timer);
  }

  #hear(line: string): void {
    this.#lastLine = line;
    if (this.#readingSinceMs !== null || !line.includes('"partitions assigned"')) return;
    this.#readingSinceMs = (JSON.parse(line) as { time: number }).time;
  }
}
