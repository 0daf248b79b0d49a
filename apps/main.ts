/**
 * The frame of every command: options in, one clear line out. Guarantee: an expected failure prints its line and exits
 * with 1; a bug prints its stack and exits with 70; with `--json` the last line on standard output is one JSON object.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { ParseArgsConfig } from 'node:util';
import { pino } from 'pino';
import type { Logger } from 'pino';
import { ReckonError } from '../domain/errors.ts';

export type Options = Readonly<Record<string, string | boolean | undefined>>;

/** Parses the command's options. @throws ReckonError `invalid-input` naming the unknown option. */
export function readOptions(
  usage: string,
  options: NonNullable<ParseArgsConfig['options']>,
  args = process.argv.slice(2),
) {
  try {
    const { values, positionals } = parseArgs({
      args,
      options: { ...options, help: { type: 'boolean' } },
      allowPositionals: true,
    });
    if (values['help'] === true) {
      process.stdout.write(`${usage}\n`);
      process.exit(0);
    }
    return { values: values as Options, positionals };
  } catch (cause) {
    const message = (cause as Error).message.split(/\.\s/)[0] ?? '';
    throw new ReckonError('invalid-input', `${message}.`, `Usage: ${usage}`, { cause });
  }
}

/** Runs a command to its end; the exit code is what it returns (0 when nothing). */
export async function runMain(main: () => Promise<number | void>): Promise<void> {
  process.on('unhandledRejection', (error) => fail(error));
  process.on('uncaughtException', (error) => fail(error));
  try {
    process.exitCode = (await main()) ?? 0;
  } catch (error) {
    fail(error);
  }
}

function fail(error: unknown): never {
  if (error instanceof ReckonError && error.code !== 'internal')
    process.stderr.write(`reckon: ${error.line}\n`);
  else
    process.stderr.write(
      `reckon: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
  process.exit(error instanceof ReckonError && error.code !== 'internal' ? 1 : 70);
}

/** Structured logs on standard error; standard output belongs to results. */
export function createLogger(name: string, level: string): Logger {
  return pino({ name, level, base: { name } }, pino.destination({ fd: 2, sync: true }));
}

export type { Logger };

/** Resolves at the first SIGTERM or SIGINT, or when the parent process goes away. */
export function shutdownRequested(): Promise<string> {
  return new Promise((resolve) => {
    // A second Ctrl-C must not cut the drain short, which has a bound of its own.
    process.on('SIGTERM', () => resolve('SIGTERM'));
    process.on('SIGINT', () => resolve('SIGINT'));
    if (process.channel === undefined) return;
    process.once('disconnect', () => resolve('parent gone'));
    // The channel to the parent must not keep a process alive that has nothing left to do.
    process.channel?.unref();
  });
}

/** Tells the parent (`npm start`), where there is one, that the process serves now. */
function announceReady(details: Readonly<Record<string, string>>): void {
  process.send?.({ type: 'ready', ...details });
}

/** The last line of a command with `--json`. */
export function printJson(result: Record<string, unknown>): void {
  process.stdout.write(`${JSON.stringify(result)}\n`);
}

/** What a drain may take before the process ends without it. */
export const drainMaxMs = 20_000;
/** kafkajs may leave a connection open after a broker was restarted; nothing waits for such remains of a drained process. */
const lingerMs = 1_000;

/** A process at work. */
export interface Working {
  /** Ends the work in order. */
  readonly drain: () => Promise<void>;
  /** What the parent and the log are told once it is ready. */
  readonly ready?: Readonly<Record<string, string>>;
}

/**
 * Runs a long-lived process: starts it, waits for SIGTERM (or for `onFatal`, whose error ends the process), drains it.
 * @param start begins the work
 */
export async function runUntilShutdown(
  logger: Logger,
  name: string,
  start: (onFatal: (error: unknown) => void) => Promise<Working>,
): Promise<void> {
  const stop = shutdownRequested();
  let reportFatal: (error: unknown) => void = () => undefined;
  const fatal = new Promise<never>((_, reject) => (reportFatal = reject));
  // A failure before anyone waits for it must not look like a bug.
  fatal.catch(() => undefined);
  const { drain, ready = {} } = await start(reportFatal);
  logger.info(ready, `${name} ready`);
  announceReady(ready);
  const reason = await Promise.race([stop, fatal]);
  logger.info({ reason }, 'draining');
  const drained = await Promise.race([drain().then(() => true), sleep(drainMaxMs, false, { ref: false })]);
  if (drained) {
    logger.info(`${name} stopped`);
    setTimeout(() => process.exit(), lingerMs).unref();
    return;
  }
  logger.warn(
    `${name} did not drain within ${drainMaxMs / 1000} s; what was not committed is read from the log again`,
  );
  process.exit(1);
}
