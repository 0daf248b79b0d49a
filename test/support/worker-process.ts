/** Processes of TypeScript files that tests start, and that end with the test: by themselves, or when they are killed. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';

export interface WorkerEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface WorkerProcess {
  readonly child: ChildProcess;
  readonly ended: Promise<WorkerEnd>;
}

const root = join(__dirname, '..', '..');

/** @param file in this folder @param task its only argument, as JSON */
export function startWorker(file: string, task: unknown): WorkerProcess {
  const args = ['--import', 'tsx', join(__dirname, file), JSON.stringify(task)];
  const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
  const text = { stdout: '', stderr: '' };
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => (text.stdout += chunk));
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => (text.stderr += chunk));
  const ended = new Promise<WorkerEnd>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal, ...text }));
  });
  return { child, ended };
}

/** Runs one to its end. */
export function runWorker(file: string, task: unknown): Promise<WorkerEnd> {
  return startWorker(file, task).ended;
}

/** Does the work in a few lanes, each one thing after the other. @param work is told its lane */
export async function inLanes<T>(
  lanes: number,
  items: readonly T[],
  work: (item: T, lane: number) => Promise<void>,
): Promise<void> {
  const left = [...items];
  const lane = async (_: unknown, index: number): Promise<void> => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await work(item, index);
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}
