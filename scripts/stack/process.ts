/**
 * Processes of our own: start detached, recognise again, stop. Guarantee: a signal is sent only to a process whose pid
 * AND start time are those recorded at its start, so that a pid that the system has re-used is never signalled.
 */
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { execute } from './execute.ts';
import type { ProcessIdentity } from './model.ts';

export interface Command {
  program: string;
  args: string[];
  env?: Record<string, string>;
  cwd: string;
}

/** A process just started; `exited` turns true when it ends while this process is still its parent. */
export interface Started {
  identity: ProcessIdentity;
  exited: () => boolean;
}

/**
 * Starts a server in its own session, so that a Ctrl-C on npm does not reach it and it outlives this process.
 * Both output streams are appended to `logFile`.
 */
export async function startDetached(command: Command, logFile: string): Promise<Started> {
  const log = openSync(logFile, 'a');
  let ended = false;
  try {
    const child = spawn(command.program, command.args, {
      cwd: command.cwd,
      detached: true,
      stdio: ['ignore', log, log],
      env: { ...process.env, ...command.env },
    });
    child.once('exit', () => (ended = true));
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
    child.unref();
    const pid = child.pid ?? 0;
    // A process that has ended already has no start time any more; the empty one matches no process.
    const startedAt = (await startTimeOf(pid)) ?? '';
    return { identity: { pid, startedAt }, exited: () => ended };
  } finally {
    closeSync(log);
  }
}

/** True while the very process that was recorded is alive (a zombie is not). */
export async function isAlive(identity: ProcessIdentity): Promise<boolean> {
  return identity.startedAt !== '' && (await startTimeOf(identity.pid)) === identity.startedAt;
}

/** Signals the recorded process's group (a wrapper script's children too). False when it is no longer alive. */
export async function signalGroup(identity: ProcessIdentity, signal: NodeJS.Signals): Promise<boolean> {
  if (!(await isAlive(identity))) return false;
  try {
    process.kill(-identity.pid, signal);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

/** SIGTERM, wait at most `graceMs`, then SIGKILL. Returns when the process is gone. */
export async function terminate(identity: ProcessIdentity, graceMs: number): Promise<void> {
  if (!(await signalGroup(identity, 'SIGTERM'))) return;
  if (await waitUntilGone(identity, graceMs)) return;
  await signalGroup(identity, 'SIGKILL');
  await waitUntilGone(identity, 10_000);
}

/** Waits until the process is gone; false when it is still there after `timeoutMs`. */
export async function waitUntilGone(identity: ProcessIdentity, timeoutMs: number): Promise<boolean> {
  const deadlineMs = Date.now() + timeoutMs;
  while (await isAlive(identity)) {
    if (Date.now() > deadlineMs) return false;
    await sleep(25);
  }
  return true;
}

/**
 * When a process started, or null when there is none. On Linux: the boot's id and field 22 of /proc/PID/stat (clock
 * ticks since that boot), so that neither a re-used pid nor a reboot can be mistaken for it; elsewhere what `ps` says.
 */
export async function startTimeOf(pid: number): Promise<string | null> {
  if (pid <= 0) return null;
  if (process.platform !== 'linux') {
    const ps = await execute('ps', ['-o', 'lstart=,stat=', '-p', String(pid)]);
    const [, startedAt, stat] = /^(.*\S)\s+(\S+)\s*$/.exec(ps.stdout.trim()) ?? [];
    return ps.code === 0 && startedAt !== undefined && !stat?.startsWith('Z') ? startedAt : null;
  }
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null);
  if (text === null) return null;
  // The second field is the program's name in parentheses, which may itself hold spaces and parentheses.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [state, ticks] = [fields[0], fields[19]];
  if (ticks === undefined || state === 'X' || (state === 'Z' && !(await hasOtherThreads(pid)))) return null;
  return `${bootId()}:${ticks}`;
}

/**
 * A killed process of many threads is a zombie as soon as its first thread has ended, while the others may still hold its
 * sockets and files; only when they are gone too is a restart on the same port safe.
 */
async function hasOtherThreads(pid: number): Promise<boolean> {
  return (await readdir(`/proc/${pid}/task`).catch(() => [])).length > 1;
}

function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

/** The last line of a log file that says something, for one-line error messages. */
export async function lastLineOf(logFile: string): Promise<string> {
  const text = await readFile(logFile, 'utf8').catch(() => '');
  const lines = text
    .slice(-20_000)
    .split('\n')
    .map((line) => line.trim());
  // Of a stack trace the reader wants the message, not the last frame.
  const telling = lines.filter((line) => line !== '' && !/^(at |\.\.\. \d+ more)/.test(line));
  return (telling.at(-1) ?? '(the log is empty)').slice(0, 300);
}
