/** The schedules on a real Temporal server: idempotent, explicit about overlap, and what they start has a verdict. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureSchedules, listReconciliationSchedules, readEvery } from '../../apps/schedules.ts';
import { createWorker } from '../../apps/worker.ts';
import { withTemporal } from '../../clients/temporal.ts';
import type { Temporal } from '../../clients/temporal.ts';
import { lastLineOf, runCommand } from '../support/command.ts';
import { eventually } from '../support/eventually.ts';
import { fakeLayers, startTemporal } from '../support/temporal-server.ts';
import type { TestTemporal } from '../support/temporal-server.ts';

let temporal: TestTemporal;
let home: string;
beforeAll(async () => {
  [temporal, home] = await Promise.all([startTemporal(), mkdtemp(join(tmpdir(), 'reckon-schedules-'))]);
});
afterAll(async () => {
  await temporal.stop();
  await rm(home, { recursive: true });
});

const minuteMs = 60_000;
const use = <Result>(work: (connected: Temporal) => Promise<Result>) => withTemporal(temporal.settings, work);
const idOf = (pipeline: string) => `reckon-reconciliation-${pipeline}`;
const handleOf = (pipeline: string) => temporal.environment.client.schedule.getHandle(idOf(pipeline));

/** The server's list is a search index, which follows a moment later. */
const listed = (ids: readonly string[]) =>
  eventually(async () => {
    const schedules = await use(listReconciliationSchedules);
    expect(schedules.map(({ scheduleId }) => scheduleId)).toEqual(ids);
  });

afterEach(async () => {
  for await (const { scheduleId } of temporal.environment.client.schedule.list())
    await temporal.environment.client.schedule.getHandle(scheduleId).delete();
  await listed([]);
});

test('created twice, each pipeline still has one schedule', async () => {
  const pipelines = ['flights', 'orders'];
  const first = await use((connected) => ensureSchedules(connected, pipelines, 15 * minuteMs));
  const second = await use((connected) => ensureSchedules(connected, pipelines, 15 * minuteMs));
  expect(first.map(({ change }) => change)).toEqual(['created', 'created']);
  expect(second.map(({ change }) => change)).toEqual(['updated', 'updated']);
  await listed([idOf('flights'), idOf('orders')]);
});

test('the schedule says everything: interval, overlap, catch-up, jitter, workflow, queue, input', async () => {
  await use((connected) => ensureSchedules(connected, ['flights'], 15 * minuteMs));
  const { spec, policies, action } = await handleOf('flights').describe();
  expect(spec.intervals).toMatchObject([{ every: 15 * minuteMs }]);
  expect(spec.jitter).toBe(10_000);
  expect(policies).toMatchObject({ overlap: 'SKIP', catchupWindow: 10 * minuteMs });
  expect(action).toMatchObject({
    workflowType: 'reconciliation',
    workflowId: 'reconciliation-flights',
    taskQueue: 'reckon-test',
    args: [{ pipeline: 'flights', scope: 'closed' }],
  });
});

test('a new interval updates the schedule; a paused one stays paused', async () => {
  await use((connected) => ensureSchedules(connected, ['flights'], 15 * minuteMs));
  await handleOf('flights').pause('for the test');
  await use((connected) => ensureSchedules(connected, ['flights'], 5 * minuteMs));
  const { spec, state } = await handleOf('flights').describe();
  expect(spec.intervals).toMatchObject([{ every: 5 * minuteMs }]);
  expect(state.paused).toBe(true);
});

test('a run of the schedule ends with its verdict, which the list shows', async () => {
  const layers = await fakeLayers();
  const worker = await createWorker(temporal.settings, layers.deps);
  const running = worker.run();
  try {
    await use((connected) => ensureSchedules(connected, ['flights'], 15 * minuteMs));
    await handleOf('flights').trigger('SKIP');
    await eventually(async () => {
      const [schedule] = await use(listReconciliationSchedules);
      expect(schedule?.lastRun).toMatchObject({ status: 'COMPLETED', verdict: 'exact' });
      expect(schedule?.lastRun?.workflowId).toMatch(/^reconciliation-flights-/);
      expect(Date.parse(schedule?.nextRun ?? '')).toBeGreaterThan(Date.now());
    });
  } finally {
    worker.shutdown();
    await running;
    await worker.close();
    await layers.remove();
  }
});

test.each(['5', '0s', '9s', 'soon', '-5m', ''])('--every %j is refused with one line', (text) => {
  expect(() => readEvery(text)).toThrow(`--every ${text}: must be a duration of at least 10s.`);
});

test('the command creates, lists, and says what it did', async () => {
  const { temporalAddress, temporalTaskQueue } = temporal.settings;
  const env = {
    TEMPORAL_ADDRESS: temporalAddress,
    TEMPORAL_TASK_QUEUE: temporalTaskQueue,
    RECKON_HOME: home,
    RECKON_PIPELINE: '',
  };
  const created = await runCommand('schedules', ['--every', '5m', '--json'], env);
  expect(created).toMatchObject({ code: 0, stderr: '' });
  expect(created.stdout).toContain(`${idOf('flights')}: created, every 5m\n`);
  expect(lastLineOf(created)).toEqual({ schedules: [{ scheduleId: idOf('flights'), change: 'created' }] });
  await listed([idOf('flights')]);
  const list = await runCommand('schedules', ['--list', '--json'], env);
  expect(list.stdout).toMatch(
    /^reckon-reconciliation-flights: every 5m, overlap skip, next run .*, never ran\n/,
  );
  expect(lastLineOf(list)).toMatchObject({ schedules: [{ scheduleId: idOf('flights'), lastRun: null }] });
});

test('an unreachable Temporal is one line and exit code 1', async () => {
  const result = await runCommand('schedules', [], { TEMPORAL_ADDRESS: '127.0.0.1:1', RECKON_HOME: home });
  expect(result).toMatchObject({ code: 1, stdout: '' });
  expect(result.stderr).toBe(
    'reckon: Temporal does not answer at 127.0.0.1:1. Start it (npm run stack -- up) or set TEMPORAL_ADDRESS.\n',
  );
});
