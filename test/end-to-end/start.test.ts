/**
 * `npm start` as a person types it, on servers of its own: the verdict, the restart of a killed process, Ctrl-C, and what is
 * left afterwards, which is nothing but the reports.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from '../support/eventually.ts';
import { processesOf } from '../support/processes.ts';
import { lastJson, root } from '../support/world.ts';
import type { Ended } from '../support/world.ts';

const own = ['stream', 'archive', 'worker', 'serve'];
let home: string;
let child: ChildProcess | null = null;
let output = { stdout: '', stderr: '' };

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'reckon-start-'));
});
afterEach(async () => {
  // Only after a failure is anything left; every one of these was started by the test.
  for (const { pid } of processesOf(home)) process.kill(pid, 'SIGKILL');
  await eventually(() => expect(processesOf(home)).toEqual([]));
  rmSync(home, { recursive: true, force: true });
});

/**
 * In a process group of its own, as a terminal does it. Not by way of npm where the exit code after Ctrl-C counts: npm itself
 * ends by the signal, whatever its script's exit code is.
 */
function start(
  args: readonly string[],
  way = [process.execPath, 'scripts/run.mjs', 'start'],
): Promise<Ended> {
  output = { stdout: '', stderr: '' };
  const mine = output;
  const started = spawn(way[0] ?? '', [...way.slice(1), ...args], {
    cwd: root,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      RECKON_HOME: home,
      RECKON_DOCKER: 'no',
      // Nothing of the surroundings: not the servers of the other tests, either.
      KAFKA_BROKERS: '',
      REDIS_URL: '',
      TEMPORAL_ADDRESS: '',
      RECKON_PIPELINE: '',
    },
  });
  child = started;
  started.stdout.setEncoding('utf8').on('data', (text: string) => (mine.stdout += text));
  started.stderr.setEncoding('utf8').on('data', (text: string) => (mine.stderr += text));
  return once(started, 'close').then(([code]): Ended => ({ code: code as number | null, ...mine }));
}

function pidOf(name: string): number {
  const found = processesOf(home).filter(({ command }) => command.endsWith(`run.mjs ${name}`));
  expect(found.map(({ command }) => command)).toHaveLength(1);
  return found[0]?.pid ?? 0;
}

/** Ctrl-C in the terminal: every process of the group gets the signal. */
function pressControlC(): void {
  process.kill(-(child?.pid ?? Number.NaN), 'SIGINT');
}

async function expectNothingLeft(): Promise<void> {
  await eventually(() => expect(processesOf(home)).toEqual([]), 5_000);
  expect(existsSync(join(home, 'runs')) ? readdirSync(join(home, 'runs')) : []).toEqual([]);
}

async function said(pattern: RegExp): Promise<string> {
  const mine = output;
  await eventually(() => {
    // What it has said so far is the best explanation of what it does not say.
    if (!pattern.test(mine.stderr)) throw new Error(`${String(pattern)} was not said:\n${mine.stderr}`);
  }, 120_000);
  return pattern.exec(mine.stderr)?.[1] ?? '';
}

test('npm start -- --once --json: 20,000 flights, 0 unexplained, nothing left', async () => {
  const ended = await start(['--once', '--json'], ['npm', 'start', '--']);
  expect({ code: ended.code, stderr: ended.code === 0 ? '' : ended.stderr }).toEqual({ code: 0, stderr: '' });
  const verdict = lastJson(ended);
  expect(verdict).toEqual({
    records: 20_000,
    counted: 20_000,
    filtered: 0,
    duplicate: 0,
    late: 0,
    dead: 0,
    windowsCompared: expect.any(Number) as number,
    unexplained: 0,
    reportPath: expect.stringContaining(home) as string,
  });
  expect(verdict['windowsCompared']).toBeGreaterThan(1_000);
  await expectNothingLeft();
  const report = JSON.parse(readFileSync(String(verdict['reportPath']), 'utf8')) as { verdict: string };
  expect(report.verdict).toBe('exact');
});

test('a killed process is reported and restarted; Ctrl-C drains, ends with 0 and leaves nothing', async () => {
  const ended = start(['--limit', '2000']);
  await said(/everything goes on running/);
  const url = await said(/page and API\s+(http\S+)/);
  for (const name of own) {
    const killed = pidOf(name);
    process.kill(killed, 'SIGKILL');
    await said(new RegExp(`${name} \\(pid ${killed}\\) ended by SIGKILL; starting it again`));
    const again = Number(await said(new RegExp(`${name} runs again \\(pid (\\d+)\\)`)));
    expect(again).not.toBe(killed);
    expect(pidOf(name)).toBe(again);
  }
  await eventually(async () => {
    const response = await fetch(`${url}/v1/status`);
    const { pipelines } = (await response.json()) as { pipelines: { records: string; lag: string }[] };
    expect(pipelines).toMatchObject([{ records: '2000', lag: '0' }]);
  });
  pressControlC();
  expect((await ended).code).toBe(0);
  await expectNothingLeft();
});

test('Ctrl-C during the start leaves nothing', async () => {
  const ended = start([]);
  await said(/redis: ready/);
  pressControlC();
  await ended;
  await expectNothingLeft();
});

test('what a killed run leaves behind is cleared away by the next one', async () => {
  const first = start(['--limit', '100']);
  await said(/everything goes on running/);
  const main = processesOf(home).filter(({ command }) => command.includes('run.mjs start'));
  for (const { pid } of main) process.kill(pid, 'SIGKILL');
  await first;
  // Reckon's own processes end with their parent; the servers are left.
  await eventually(() =>
    expect(processesOf(home).filter(({ command }) => command.includes('run.mjs'))).toEqual([]),
  );
  expect(processesOf(home)).not.toEqual([]);

  const second = await start(['--once', '--limit', '100', '--json']);
  expect(second.stderr).toContain('clearing away what an earlier run left behind');
  expect({ code: second.code, ...lastJson(second) }).toMatchObject({ code: 0, records: 100, unexplained: 0 });
  await expectNothingLeft();
});
