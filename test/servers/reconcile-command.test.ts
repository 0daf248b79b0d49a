/** `npm run reconcile` on a real Temporal server: verdict, last line, exit code, and what it says when nothing works. */
import { mkdtemp, rm } from 'node:fs/promises';
import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { reconcile } from '../../apps/reconcile.ts';
import { bundleWorkflows, createWorker } from '../../apps/worker.ts';
import type { ReconciliationDeps } from '../../activities/reconciliation.ts';
import { withTemporal } from '../../clients/temporal.ts';
import { lastLineOf, runCommand } from '../support/command.ts';
import { unexplainedReport } from '../support/sample-report.ts';
import { fakeLayers, startTemporal } from '../support/temporal-server.ts';
import type { FakeLayers, TestTemporal } from '../support/temporal-server.ts';

let temporal: TestTemporal;
let home: string;
let bundle: Awaited<ReturnType<typeof bundleWorkflows>>;
beforeAll(async () => {
  [temporal, bundle] = await Promise.all([startTemporal(), bundleWorkflows()]);
  home = await mkdtemp(join(tmpdir(), 'reckon-reconcile-'));
});
afterAll(async () => {
  await temporal.stop();
  await rm(home, { recursive: true });
});

async function withWorker(
  change: Partial<ReconciliationDeps>,
  work: (run: (...args: string[]) => ReturnType<typeof runCommand>, layers: FakeLayers) => Promise<void>,
): Promise<void> {
  const queue = randomUUID();
  const layers = await fakeLayers(change);
  const worker = await createWorker({ ...temporal.settings, temporalTaskQueue: queue }, layers.deps, bundle);
  const running = worker.run();
  const env = {
    TEMPORAL_ADDRESS: temporal.settings.temporalAddress,
    TEMPORAL_TASK_QUEUE: queue,
    RECKON_HOME: home,
  };
  try {
    await work((...args) => runCommand('reconcile', args, env), layers);
  } finally {
    worker.shutdown();
    await running;
    await worker.close();
    await layers.remove();
  }
}

test('an exact verdict: table, JSON in the last line with counts as numbers, exit code 0', async () => {
  await withWorker({}, async (run, { reportsDir }) => {
    const result = await run('--json');
    expect(result.code).toBe(0);
    expect(result.stdout).toMatch(/^EXACT: 0 unexplained\n/);
    expect(result.stdout).toMatch(
      /aggregate +windows +groups +matched +different\n +daily +31 +1240 +1240 +0\n/,
    );
    expect(result.stdout).toMatch(
      /\n {2}daily +1 +both +1000 +980 +5 +8 +4 +3 +1002 +2 +holds\n {2}it holds for every partition and aggregate \(2\)\n\{/,
    );
    expect(lastLineOf(result)).toMatchObject({
      records: 2000,
      counted: 1960,
      windowsCompared: 31,
      unexplained: 0,
      reportPath: join(reportsDir, 'flights', 'closed-1a2b3c.json'),
    });
  });
});

test('something unexplained: it says so and the exit code is 2', async () => {
  await withWorker({ compareLayers: async () => unexplainedReport() }, async (run) => {
    const result = await run('--pipeline', 'flights', '--scope', 'closed');
    expect(result.code).toBe(2);
    expect(result.stdout).toMatch(/^NOT EXACT: 2 unexplained\n/);
    expect(result.stdout).toMatch(/\n {2}it DOES NOT HOLD for 1 of 2\n$/);
  });
});

test('a wrong scope or pipeline is one line and exit code 1', async () => {
  await withWorker({}, async (run) => {
    const scope = await run('--scope', 'open');
    expect(scope).toMatchObject({ code: 1, stdout: '' });
    expect(scope.stderr).toContain('reckon: scope: must be "closed" or "all", not "open".\n');
    const pipeline = await run('--pipeline', 'nope');
    expect(pipeline).toMatchObject({ code: 1, stdout: '' });
    expect(pipeline.stderr).toMatch(
      /reckon: pipeline: there is no pipeline "nope"\. .*flights, orders; all workers .*RECKON_PIPELINE\.\n$/,
    );
    expect(pipeline.stderr).not.toMatch(/^\s+at /m);
  });
});

test('without a worker, it says how to start one, and leaves nothing running', async () => {
  const settings = { ...temporal.settings, temporalTaskQueue: randomUUID() };
  const attempt = withTemporal(settings, (connected) => reconcile(connected, { workerWaitMs: 500 }));
  await expect(attempt).rejects.toMatchObject({
    line: `No worker answers on Temporal's task queue ${settings.temporalTaskQueue}. Start one: npm run worker.`,
  });
  const { count } = await temporal.environment.client.workflow.count(
    `TaskQueue = '${settings.temporalTaskQueue}' AND ExecutionStatus = 'Running'`,
  );
  expect(count).toBe(0);
});

test('a worker that died is remembered by the server; the run that nobody picks up is terminated', async () => {
  const queue = randomUUID();
  const settings = { ...temporal.settings, temporalTaskQueue: queue };
  const layers = await fakeLayers();
  const worker = await createWorker(settings, layers.deps, bundle);
  const running = worker.run();
  await withTemporal(settings, (connected) => reconcile(connected, {}));
  worker.shutdown();
  await running;
  await worker.close();
  await layers.remove();
  const attempt = withTemporal(settings, (connected) => reconcile(connected, { workerWaitMs: 2_000 }));
  await expect(attempt).rejects.toMatchObject({ code: 'unreachable' });
  const runs = temporal.environment.client.workflow.list({ query: `TaskQueue = '${queue}'` });
  const open: string[] = [];
  for await (const { workflowId } of runs) {
    const { status } = await temporal.environment.client.workflow.getHandle(workflowId).describe();
    if (status.name === 'RUNNING') open.push(workflowId);
  }
  expect(open).toEqual([]);
});

test('aborting cancels the workflow', async () => {
  const queue = randomUUID();
  const settings = { ...temporal.settings, temporalTaskQueue: queue };
  const layers = await fakeLayers({ archivedVector: async () => ({}) });
  const worker = await createWorker(settings, layers.deps, bundle);
  const running = worker.run();
  const interrupted = new AbortController();
  const onPhase = (phase: string): void => {
    if (phase === 'awaiting-archive') interrupted.abort();
  };
  try {
    const attempt = withTemporal(settings, (connected) =>
      reconcile(connected, { onPhase, signal: interrupted.signal }),
    );
    await expect(attempt).rejects.toThrow('was cancelled');
  } finally {
    worker.shutdown();
    await running;
    await worker.close();
    await layers.remove();
  }
});
