/**
 * `npm start`: everything, on events of the real world. Guarantee: it starts what is missing, shows what happens, ends with
 * the verdict of a reconciliation (`--once`) or goes on until Ctrl-C, and leaves no process and no data of its own behind
 * (reports stay).
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { prepareTopics } from '../clients/kafka-topics.ts';
import { ReckonError } from '../domain/errors.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import { describeFile } from '../ingest/source-file.ts';
import type { PipelineStatus } from '../domain/status.ts';
import { portIsFree } from '../scripts/stack/ports.ts';
import { startStack, stopStack } from '../scripts/stack/stack.ts';
import type { Stack } from '../scripts/stack/stack.ts';
import { projectRoot, readConfig, toEnvironment } from './config.ts';
import type { Config } from './config.ts';
import { printJson, readOptions, runMain, shutdownRequested } from './main.ts';
import type { Options } from './main.ts';
import { loadPipelines } from './pipelines.ts';
import { openRunFolder } from './run-folder.ts';
import { watchServers } from './server-watch.ts';
import { Supervisor } from './supervisor.ts';
import { describeAccounting, readReport } from './verdict-text.ts';

const usage = 'npm start -- [--once] [--file F] [--speed N|max] [--limit N] [--no-replay] [--json]';
const sampleFile = join(projectRoot, 'node_modules', 'vega-datasets', 'data', 'flights-20k.json');

interface Verdict {
  readonly records: number;
  readonly counted: number;
  readonly filtered: number;
  readonly duplicate: number;
  readonly late: number;
  readonly dead: number;
  readonly windowsCompared: number;
  readonly unexplained: number;
  readonly reportPath: string;
  /** Of all pipelines, where there are several. */
  readonly reportPaths?: readonly string[];
}

const say = (line: string): void => void process.stderr.write(`${line}\n`);

/** What a run has begun, and has to end. */
interface Begun {
  stack: Stack | null;
  supervisor: Supervisor | null;
  readonly ended: AbortController;
}

await runMain(async () => {
  const { values } = readOptions(usage, {
    once: { type: 'boolean' },
    file: { type: 'string' },
    speed: { type: 'string' },
    limit: { type: 'string' },
    'no-replay': { type: 'boolean' },
    json: { type: 'boolean' },
  });
  const stopRequested = shutdownRequested();
  const settings = readConfig();
  // A broken definition is told before anything is downloaded or started.
  const pipelines = await loadPipelines(settings.pipelineFiles);
  if (typeof values['file'] === 'string') describeFile(values['file']);
  if (
    process.env['API_PORT'] !== undefined &&
    settings.apiPort !== 0 &&
    !(await portIsFree(settings.apiPort))
  )
    throw new ReckonError(
      'port-taken',
      `API_PORT: port ${settings.apiPort} is taken.`,
      'Set another one, or none for a free one.',
    );
  const folder = await openRunFolder(settings.home, say);
  const begun: Begun = { stack: null, supervisor: null, ended: new AbortController() };
  try {
    const run = runAll(settings, pipelines, folder.dir, values, begun);
    const outcome = await Promise.race([stopRequested, run]);
    if (typeof outcome === 'number') return outcome;
    run.catch(() => undefined);
  } finally {
    begun.ended.abort();
    if (begun.stack !== null || begun.supervisor !== null) say('draining and stopping');
    await begun.supervisor?.stop();
    // Interrupted while servers were starting: what is recorded of them is stopped.
    if (begun.stack !== null) await begun.stack.stop();
    else if (folder.ephemeral) await stopStack(folder.dir, say);
    folder.remove();
  }
  // Something that was interrupted half-way may still wait for an answer; nothing waits for it.
  process.exit(values['once'] === true ? 130 : 0);
});

/** Starts everything, demonstrates it, and goes on until told to end. @returns the exit code */
async function runAll(
  settings: Config,
  pipelines: readonly Pipeline[],
  dir: string,
  values: Options,
  begun: Begun,
): Promise<number> {
  const started = performance.now();
  const stack = await startStack({ dir, progress: say });
  begun.stack = stack;
  const config = await runConfig(settings, stack, dir);
  await prepareTopics(config.kafkaBrokers, 'reckon-start', pipelines);

  const env = { ...process.env, ...toEnvironment(config) };
  let reportFatal: (error: unknown) => void = () => undefined;
  const fatal = new Promise<never>((_, reject) => (reportFatal = reject));
  fatal.catch(() => undefined);
  const logsDir = join(settings.home, 'logs');
  const supervisor = new Supervisor({ env, logsDir, report: say, onFatal: reportFatal });
  begun.supervisor = supervisor;
  void watchServers(stack, dir, begun.ended.signal, say).catch(reportFatal);
  const ready = await Promise.race([
    Promise.all(['stream', 'archive', 'worker', 'serve'].map((name) => supervisor.start(name))),
    fatal,
  ]);
  const apiUrl = ready[3]?.['url'] ?? `http://${config.apiHost}:${config.apiPort}`;
  const ended = begun.ended.signal;
  await runCommand('schedules', [], env, ended);
  say(`ready after ${((performance.now() - started) / 1000).toFixed(1)} s`);
  say(`  page and API   ${apiUrl}`);
  if (config.temporalUiUrl !== null) say(`  Temporal UI    ${config.temporalUiUrl}`);

  const names = pipelines.map(({ name }) => name);
  const verdict = await Promise.race([fatal, demonstrate(values, names, env, apiUrl, ended)]);
  if (values['json'] === true) printJson({ ...verdict });
  else if (values['once'] === true)
    for (const path of verdict.reportPaths ?? [verdict.reportPath]) await sayAccounting(path);
  if (values['once'] === true) return verdict.unexplained === 0 ? 0 : 1;
  say('everything goes on running; Ctrl-C drains and stops it');
  await Promise.race([fatal, showLive(apiUrl, ended)]);
  return 0;
}

/** The configuration of the processes: the stack's endpoints; data beside the stack's, reports where they stay. */
async function runConfig(settings: Config, stack: Stack, dir: string): Promise<Config> {
  const { endpoints } = stack;
  const apiPort =
    process.env['API_PORT'] === undefined ? await firstFreePort(settings.apiPort) : settings.apiPort;
  return {
    ...settings,
    ...endpoints,
    home: dir,
    lakeUrl: process.env['LAKE_URL'] === undefined ? join(dir, 'lake') : settings.lakeUrl,
    apiPort,
  };
}

/** The wanted port, or the next one above that nobody uses. */
async function firstFreePort(wanted: number): Promise<number> {
  let port = wanted;
  while (!(await portIsFree(port))) port++;
  return port;
}

/** Replays the sample (into the first pipeline) with a live summary beside it, then reconciles every pipeline. */
async function demonstrate(
  values: Options,
  pipelines: readonly string[],
  env: NodeJS.ProcessEnv,
  apiUrl: string,
  ended: AbortSignal,
): Promise<Verdict> {
  const live = new AbortController();
  const summary = showLive(apiUrl, AbortSignal.any([live.signal, ended]));
  try {
    if (values['no-replay'] !== true) {
      const file = typeof values['file'] === 'string' ? values['file'] : sampleFile;
      const pass = ['speed', 'limit'].flatMap((name) =>
        typeof values[name] === 'string' ? [`--${name}`, values[name]] : [],
      );
      await runCommand('replay', ['--file', file, ...pass, '--json'], env, ended);
    }
    await caughtUp(apiUrl, ended);
  } finally {
    live.abort();
    await summary;
  }
  const verdicts: Verdict[] = [];
  for (const pipeline of pipelines) {
    const args = ['--pipeline', pipeline, '--scope', 'all', '--json'];
    verdicts.push(JSON.parse(await runCommand('reconcile', args, env, ended, [0, 2])) as Verdict);
  }
  const sum = (count: Exclude<keyof Verdict, 'reportPath' | 'reportPaths'>) =>
    verdicts.reduce((total, verdict) => total + verdict[count], 0);
  const counts = {
    records: sum('records'),
    counted: sum('counted'),
    filtered: sum('filtered'),
    duplicate: sum('duplicate'),
    late: sum('late'),
    dead: sum('dead'),
    windowsCompared: sum('windowsCompared'),
    unexplained: sum('unexplained'),
  };
  const { records, counted, filtered, duplicate, late, dead, windowsCompared, unexplained } = counts;
  say(
    unexplained === 0
      ? `verdict: exact. ${records} records, ${counted} counted, ${windowsCompared} windows compared, 0 unexplained`
      : `verdict: ${unexplained} UNEXPLAINED differences in ${windowsCompared} windows`,
  );
  if (counted < records)
    say(`  not counted    ${filtered} filtered, ${duplicate} duplicate, ${late} late, ${dead} dead`);
  if (counted === 0) say('  NOTHING WAS COUNTED: does the definition (RECKON_PIPELINE) fit the events?');
  for (const { reportPath } of verdicts) say(`  report         ${reportPath.replace(/\.json$/, '.html')}`);
  const reportPaths = verdicts.map(({ reportPath }) => reportPath);
  return {
    ...counts,
    reportPath: reportPaths[0] ?? '',
    ...(reportPaths.length > 1 ? { reportPaths } : {}),
  };
}

async function sayAccounting(reportPath: string): Promise<void> {
  const report = await readReport(reportPath);
  if (report !== null) for (const line of describeAccounting(report)) say(line);
}

/** Runs one of Reckon's commands to its end. @returns the last line of its standard output */
async function runCommand(
  name: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  ended: AbortSignal,
  accepted = [0],
): Promise<string> {
  const child = spawn(process.execPath, [join(projectRoot, 'scripts', 'run.mjs'), name, ...args], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const end = () => child.kill('SIGTERM');
  ended.addEventListener('abort', end);
  let last = '';
  let words = '';
  createInterface({ input: child.stdout }).on('line', (line) => (last = line));
  createInterface({ input: child.stderr }).on('line', (line) => {
    if (line.startsWith('reckon: ')) words = line.slice('reckon: '.length);
  });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  ended.removeEventListener('abort', end);
  if (code === null || !accepted.includes(code) || (code !== 0 && last === ''))
    throw new ReckonError(
      'unreachable',
      `${name}: ${words === '' ? `ended with exit code ${code}.` : words}`,
    );
  return last;
}

async function readStatus(apiUrl: string): Promise<PipelineStatus[] | null> {
  try {
    const response = await fetch(`${apiUrl}/v1/status`, { signal: AbortSignal.timeout(2_000) });
    if (!response.ok) return null; // Likewise.
    return ((await response.json()) as { pipelines: PipelineStatus[] }).pipelines;
  } catch {
    return null; // The API may be restarting; the next look tells.
  }
}

async function caughtUp(apiUrl: string, ended: AbortSignal): Promise<void> {
  while (!ended.aborted) {
    const status = await readStatus(apiUrl);
    if (status !== null && status.every(({ lag }) => lag === '0')) return;
    await sleep(100);
  }
}

/** A line a second while something moves: records per second, lag, open windows. */
async function showLive(apiUrl: string, signal: AbortSignal): Promise<void> {
  let before = -1;
  let beforeMs = performance.now();
  while (!signal.aborted) {
    const status = await readStatus(apiUrl);
    if (status !== null) {
      const sum = (of: (pipeline: PipelineStatus) => number) =>
        status.reduce((total, pipeline) => total + of(pipeline), 0);
      const records = sum((pipeline) => Number(pipeline.records));
      const nowMs = performance.now();
      const perSecond = before < 0 ? 0 : Math.round(((records - before) / (nowMs - beforeMs)) * 1000);
      const lag = sum((pipeline) => Number(pipeline.lag));
      const open = sum(({ openWindows }) => openWindows);
      if (records !== before)
        say(`  ${records} records   ${perSecond} records/s   lag ${lag}   ${open} open windows`);
      before = records;
      beforeMs = nowMs;
    }
    await sleep(1_000, undefined, { signal }).catch(() => undefined);
  }
}
