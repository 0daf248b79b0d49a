/**
 * What one end-to-end test file works in: the shared servers, a folder, a task queue and names of its own, and Reckon's
 * processes. Guarantee: `close` ends every process that was started here; when Jest itself is killed they end, too, because
 * the channel to it closes.
 */
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Endpoints } from '../../scripts/stack/stack.ts';
import { stackVariable } from './end-to-end-setup.ts';

export const root = join(__dirname, '..', '..');
export const sampleFile = (name: string): string => join(root, 'node_modules', 'vega-datasets', 'data', name);

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A long-lived process that has said that it is ready. */
export interface Running {
  readonly pid: number;
  readonly ready: Readonly<Record<string, string>>;
  readonly ended: Promise<Ended>;
  /** Sends the signal and waits for the end. */
  readonly end: (signal: 'SIGTERM' | 'SIGINT' | 'SIGKILL') => Promise<Ended>;
}

interface Started {
  readonly child: ChildProcess;
  readonly output: { stdout: string; stderr: string };
  readonly ended: Promise<Ended>;
}

const readyMs = 60_000;

export class World {
  readonly dir: string;
  readonly endpoints: Endpoints;
  readonly env: Readonly<Record<string, string>>;
  readonly lake: string;
  readonly #tag: string;
  readonly #children = new Set<ChildProcess>();

  /** @param redisUrl another Redis than the shared one */
  constructor(redisUrl?: string) {
    const stack = process.env[stackVariable];
    if (stack === undefined)
      throw new Error(`${stackVariable} is not set: run the end-to-end project of Jest`);
    const { dir, ...endpoints } = JSON.parse(stack) as Endpoints & { dir: string };
    this.endpoints = redisUrl === undefined ? endpoints : { ...endpoints, redisUrl };
    // In the folder of the servers, which goes away even when the tests are killed.
    this.dir = mkdtempSync(join(dir, 'world-'));
    this.#tag = this.dir.slice(-6).toLowerCase();
    this.lake = join(this.dir, 'lake');
    this.env = {
      KAFKA_BROKERS: this.endpoints.kafkaBrokers,
      REDIS_URL: this.endpoints.redisUrl,
      TEMPORAL_ADDRESS: this.endpoints.temporalAddress,
      TEMPORAL_TASK_QUEUE: `reckon-${this.#tag}`,
      RECKON_HOME: this.dir,
      LAKE_URL: this.lake,
      REPORTS_DIR: join(this.dir, 'reports'),
      API_PORT: '0',
      RECKON_DOCKER: 'no',
    };
  }

  /** A name that no other test file and no earlier run has. */
  name(prefix: string): string {
    return `${prefix}-${this.#tag}`.replaceAll(/[^a-z0-9_-]/g, 'x');
  }

  /** Writes a definition as a user would: a file outside of the project. @param source an object's text */
  define(name: string, source: string): string {
    const file = join(this.dir, `${name}.ts`);
    writeFileSync(file, `export default ${source};\n`);
    return file;
  }

  /** The sample's definition under another name. */
  flights(name: string): string {
    const file = join(this.dir, `${name}.mts`);
    const text = readFileSync(join(root, 'pipelines', 'flights.ts'), 'utf8');
    writeFileSync(file, text.replace(`name: 'flights'`, `name: '${name}'`));
    return file;
  }

  /** Runs a command to its end. */
  run(command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ended> {
    return this.spawn(command, args, env).ended;
  }

  /** Starts one of the processes that run until they are told to end, and waits until it is ready. */
  async start(command: string, env: Readonly<Record<string, string>> = {}): Promise<Running> {
    const { child, output, ended } = this.spawn(command, [], env);
    const ready = await new Promise<Readonly<Record<string, string>>>((resolve, reject) => {
      const fail = (what: string): void => reject(new Error(`${command} ${what}:\n${output.stderr}`));
      const timer = setTimeout(() => fail('was not ready in time'), readyMs);
      child.on('message', (message: Readonly<Record<string, string>>) => {
        if (message['type'] !== 'ready') return;
        clearTimeout(timer);
        resolve(message);
      });
      void ended.then(() => {
        clearTimeout(timer);
        fail('ended before it was ready');
      });
    });
    return {
      pid: child.pid ?? 0,
      ready,
      ended,
      end: (signal) => {
        child.kill(signal);
        return ended;
      },
    };
  }

  spawn(command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Started {
    const child = fork(join(root, 'scripts', 'run.mjs'), [command, ...args], {
      cwd: this.dir,
      env: { ...process.env, ...this.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    this.#children.add(child);
    const output = { stdout: '', stderr: '' };
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (output.stdout += text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (output.stderr += text));
    const ended = once(child, 'close').then(([code]): Ended => {
      this.#children.delete(child);
      return { code: code as number | null, ...output };
    });
    return { child, output, ended };
  }

  async close(): Promise<void> {
    const children = [...this.#children];
    const closed = children.map((child) => once(child, 'close'));
    for (const child of children) child.kill('SIGKILL');
    await Promise.all(closed);
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** The last line of a command's `--json`. */
export function lastJson({ code, stdout, stderr }: Ended): Record<string, unknown> {
  const line = stdout.trimEnd().split('\n').at(-1) ?? '';
  if (!line.startsWith('{')) throw new Error(`no JSON line (exit code ${code}):\n${stdout}\n${stderr}`);
  return JSON.parse(line) as Record<string, unknown>;
}
