/** Runs one of the project's commands as a person does, to its end. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { projectRoot } from '../../apps/config.ts';

export interface CommandResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export function runCommand(
  name: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  /** Told of the process, so that it can be interrupted. */
  onStart: (child: ChildProcess) => void = () => undefined,
): Promise<CommandResult> {
  const child = spawn(process.execPath, [join(projectRoot, 'scripts', 'run.mjs'), name, ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onStart(child);
  const text = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text.stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (text.stderr += chunk));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, ...text }));
  });
}

/** The object of a command's last line, which `--json` promises. */
export function lastLineOf(result: CommandResult): unknown {
  return JSON.parse(result.stdout.trim().split('\n').at(-1) ?? '');
}
