/**
 * Short-lived programs: run one to its end, find one on PATH. Guarantee: a missing program is an ordinary result
 * (code 127, or null), never an exception.
 */
import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';

export interface Executed {
  code: number;
  stdout: string;
  stderr: string;
}

export interface ExecuteOptions {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** Called for each line of either stream while the program runs. */
  onLine?: (line: string) => void;
  /** Killed after this time, with code 124. */
  timeoutMs?: number;
}

/** The last part of each stream that is kept; builds can print megabytes. */
const keptChars = 64 * 1024;

export function execute(program: string, args: string[], options: ExecuteOptions = {}): Promise<Executed> {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd: options.cwd,
      env: options.env ?? process.env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const kept = { stdout: '', stderr: '' };
    let timedOut = false;
    const timer =
      options.timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
            timedOut = true;
            child.kill('SIGKILL');
          }, options.timeoutMs);
    for (const name of ['stdout', 'stderr'] as const) {
      let partial = '';
      child[name].setEncoding('utf8').on('data', (chunk: string) => {
        kept[name] = (kept[name] + chunk).slice(-keptChars);
        if (options.onLine === undefined) return;
        const lines = (partial + chunk).split('\n');
        partial = lines.pop() ?? '';
        lines.forEach(options.onLine);
      });
    }
    const finish = (code: number): void => {
      clearTimeout(timer);
      resolve({ code: timedOut ? 124 : code, ...kept });
    };
    child.once('error', () => finish(127));
    child.once('close', (code) => finish(code ?? 1));
  });
}

/** The full path of a program, or null. Only what PATH names is looked at. */
export async function findOnPath(program: string, path: string | undefined): Promise<string | null> {
  for (const folder of (path ?? '').split(delimiter)) {
    if (folder === '') continue;
    const candidate = join(folder, program);
    const runnable = await access(candidate, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (runnable) return candidate;
  }
  return null;
}
