/**
 * `npm start`: everything, on events of the real world. Guarantee: it starts what is missing, shows what happens, ends with
 * the verdict of a reconciliation (`--once`) or goes on until Ctrl-C, and leaves no process and no data of its own behind
 * (reports stay).
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectAdmin, ensureTopics } from '../clients/kafka.ts';
import { ReckonError } from '../domain/errors.ts';
import type { PipelineStatus } from '../domain/status.ts';
import { portIsFree } from '../scripts/stack/ports.ts';
import { startStack } from '../scripts/stack/stack.ts';
import type { Stack } from '../scripts/stack/stack.ts';
import { projectRoot, readConfig, toEnvironment } from './config.ts';
import type { Config } from './config.ts';
import { printJson, readOptions, runMain, shutdownRequested } from './main.ts';
import { loadPipelines } from './pipelines.ts';
import { openRunFolder } from './run-folder.ts';
import { watchServers } from './server-watch.ts';
import { Supervisor } from './supervisor.ts';

const usage = 'npm start -- [--once] [--file F] [--speed N|max] [--limit N] [--no-replay] [--json]';
const sampleFile = join(projectRoot, 'node_modules', 'vega-datasets', 'data', 'flights-20k.json');

interface Verdict {
  readonly records: number;
  readonly counted: number;
  readonly windowsCompared: number;
  readonly unexplained: number;
  readonly reportPath: string;
}

const say = (line: string): void => void process.stderr.write(`${line}\n`);

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
  const folder = await openRunFolder(settings.home, say);
  let stack: Stack | null = null;
  let supervisor: Supervisor | null = null;
  const ended = new AbortController();
  const started = performance.now();
  try {
    stack = await startStack({ dir: folder.dir, progress: say });
    const config = await runConfig(settings, stack, folder.dir);
    const admin = await connectAdmin(config.kafkaBrokers, 'reckon-start');
    for (const pipeline of pipelines) await ensureTopics(admin, pipeline);
    await admin.disconnect();

    const env = { ...process.env, ...toEnvironment(config) };
    let reportFatal: (error: unknown) => void = () => undefined;
    const fatal = new Promise<never>((_, reject) => (reportFatal = reject));
    fatal.catch(() => undefined);
    supervisor = new Supervisor({
      env,
      logsDir: join(settings.home, 'logs'),
      report: say,
      onFatal: reportFatal,
    });
    const running = supervisor;
    void watchServers(stack, folder.dir, ended.signal, say).catch(reportFatal);
    const ready = await Promise.race([
      Promise.all(['stream', 'archive', 'worker', 'serve'].map((name) => running.start(name))),
      fatal,
    ]);
    const apiUrl = ready[3]?.['url'] ?? `http://${config.apiHost}:${config.apiPort}`;
    await runCommand('schedules', [], env, ended.signal);
    say(`ready after ${((performance.now() - started) / 1000).toFixed(1)} s`);
    say(`  page and API   ${apiUrl}`);
    if (config.temporalUiUrl !== null) say(`  Temporal UI    ${config.temporalUiUrl}`);

    const outcome = await Promise.race([
      stopRequested,
      fatal,
      demonstrate(values, env, apiUrl, ended.signal),
    ]);
    if (typeof outcome === 'string') return values['once'] === true ? 130 : 0;
    if (values['json'] === true) printJson({ ...outcome });
    if (values['once'] === true) return outcome.unexplained === 0 ? 0 : 1;
    say('everything goes on running; Ctrl-C drains and stops it');
    await Promise.race([stopRequested, fatal, showLive(apiUrl, ended.signal)]);
    return 0;
  } finally {
    ended.abort();
    if (supervisor !== null || stack !== null) say('draining and stopping');
    await supervisor?.stop();
    await stack?.stop();
    folder.remove();
  }
});

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

/** Replays the sample with a live summary beside it, then reconciles. */
async function demonstrate(
  values: Readonly<Record<string, string | boolean | undefined>>,
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
  const last = await runCommand('reconcile', ['--scope', 'all', '--json'], env, ended, [0, 2]);
  const { records, counted, windowsCompared, unexplained, reportPath } = JSON.parse(last) as Verdict;
  say(
    unexplained === 0
      ? `verdict: exact. ${records} records, ${counted} counted, ${windowsCompared} windows compared, 0 unexplained`
      : `verdict: ${unexplained} UNEXPLAINED differences in ${windowsCompared} windows`,
  );
  say(`  report         ${reportPath.replace(/\.json$/, '.html')}`);
  return { records, counted, windowsCompared, unexplained, reportPath };
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
