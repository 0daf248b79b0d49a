/** The reconciliation workflow on a real Temporal server, with fake layers behind its activities. */
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { bundleWorkflows, createWorker } from '../../apps/worker.ts';
import type { ReadyWorker } from '../../apps/worker.ts';
import type { ReconciliationDeps } from '../../activities/reconciliation.ts';
import type { ReconciliationSummary } from '../../domain/contracts.ts';
import { ReckonError } from '../../domain/errors.ts';
import { progressQuery } from '../../domain/progress.ts';
import type { ReconciliationProgress } from '../../domain/progress.ts';
import { resultOf } from '../../clients/temporal.ts';
import { unexplainedReport } from '../support/sample-report.ts';
import { fakeLayers, startTemporal } from '../support/temporal-server.ts';
import type { TestTemporal } from '../support/temporal-server.ts';
import { eventually } from '../support/eventually.ts';

let temporal: TestTemporal;
let bundle: Awaited<ReturnType<typeof bundleWorkflows>>;

beforeAll(async () => {
  [temporal, bundle] = await Promise.all([startTemporal(), bundleWorkflows()]);
});
afterAll(() => temporal.stop());

/** Runs the work beside a worker, on a task queue of its own. */
async function withWorker(
  change: Partial<ReconciliationDeps>,
  work: (start: (...args: unknown[]) => ReturnType<typeof startRun>, worker: ReadyWorker) => Promise<void>,
  taskQueue: string = randomUUID(),
): Promise<void> {
  const layers = await fakeLayers(change);
  const settings = { ...temporal.settings, temporalTaskQueue: taskQueue };
  const worker = await createWorker(settings, layers.deps, bundle);
  const running = worker.run();
  try {
    await work((...args) => startRun(taskQueue, args), worker);
  } finally {
    worker.shutdown();
    await running;
    await worker.close();
    await layers.remove();
  }
}

function startRun(taskQueue: string, args: unknown[]) {
  const { workflow } = temporal.environment.client;
  return workflow.start('reconciliation', { taskQueue, workflowId: randomUUID(), args });
}

type Run = Awaited<ReturnType<typeof startRun>>;

async function attributesOf(run: Run): Promise<Record<string, unknown>> {
  const { typedSearchAttributes } = await run.describe();
  const read = (name: string) => typedSearchAttributes.get({ name, type: 'KEYWORD' });
  return { pipeline: read('ReckonPipeline'), phase: read('ReckonPhase'), verdict: read('ReckonVerdict') };
}

const progressOf = (run: Run) => run.query<ReconciliationProgress>(progressQuery);

async function currentDetailsOf(run: Run): Promise<string> {
  const metadata = await run.query<{ currentDetails?: string }>('__temporal_workflow_metadata');
  return metadata.currentDetails ?? '';
}

/** The workflow's failure as the UI shows it at the top of the page. */
async function failureOf(run: Run): Promise<ReckonError> {
  return resultOf(run).then(
    () => {
      throw new Error('the workflow did not fail');
    },
    (error: unknown) => error as ReckonError,
  );
}

describe('input', () => {
  test.each([
    ['no argument', []],
    ['null', [null]],
    ['undefined', [undefined]],
    ['an empty object', [{}]],
    ['null fields', [{ pipeline: null, scope: null }]],
  ])('%s gives the first pipeline and its closed windows', async (_name, args) => {
    await withWorker({}, async (start) => {
      const summary = (await resultOf(await start(...args))) as ReconciliationSummary;
      expect(summary).toMatchObject({ pipeline: 'flights', scope: 'closed', verdict: 'exact' });
    });
  });

  test('pipeline and scope are taken from the object', async () => {
    await withWorker({}, async (start) => {
      const summary = await resultOf(await start({ pipeline: 'orders', scope: 'all' }));
      expect(summary).toMatchObject({ pipeline: 'orders', scope: 'all' });
    });
  });

  test.each([
    ['an unknown field', [{ scop: 'all' }], 'scop: no such field; this workflow takes pipeline, scope.'],
    ['a wrong scope', [{ scope: 'open' }], 'scope: must be "closed" or "all", not "open".'],
    ['a pipeline that is no text', [{ pipeline: 7 }], 'pipeline: must be a text that is not empty, not 7.'],
    ['an array', [['flights']], 'input: must be nothing or one JSON object, not ["flights"].'],
    ['a text', ['flights'], 'input: must be nothing or one JSON object, not "flights".'],
    ['an unknown pipeline', [{ pipeline: 'nope' }], 'pipeline: there is no pipeline "nope".'],
  ])('%s fails the workflow at once, naming the field', async (_name, args, message) => {
    await withWorker({}, async (start) => {
      const failure = await failureOf(await start(...args));
      expect(failure).toMatchObject({ code: 'invalid-input' });
      expect(failure.message).toContain(message);
    });
  });
});

test('success: summary, report files, search attributes and details', async () => {
  await withWorker({}, async (start) => {
    const run = await start();
    const summary = (await resultOf(run)) as ReconciliationSummary;
    expect(summary).toMatchObject({ records: '2000', counted: '1960', windowsCompared: 31, unexplained: 0 });
    expect(existsSync(summary.reportPath)).toBe(true);
    expect(existsSync(summary.reportPath.replace(/json$/, 'html'))).toBe(true);
    expect(await attributesOf(run)).toEqual({ pipeline: 'flights', phase: 'completed', verdict: 'exact' });
    expect(await progressOf(run)).toMatchObject({ phase: 'completed', reportPath: summary.reportPath });
    expect(await currentDetailsOf(run)).toContain('**Exact: 0 unexplained**');
  });
});

test('an unexplained difference is a completed workflow with that verdict', async () => {
  const compareLayers = async () => unexplainedReport();
  await withWorker({ compareLayers }, async (start) => {
    const run = await start();
    expect(await resultOf(run)).toMatchObject({ verdict: 'unexplained', unexplained: 2 });
    expect((await run.describe()).status.name).toBe('COMPLETED');
    expect(await attributesOf(run)).toMatchObject({ verdict: 'unexplained' });
    expect(await currentDetailsOf(run)).toContain('NOT exact: 2 unexplained');
  });
});

test('waits for the archive, showing how far it is, and goes on when it has come', async () => {
  let archived: Record<string, string> = { '0': '1002', '1': '17' };
  await withWorker({ archivedVector: async () => archived }, async (start) => {
    const run = await start();
    await eventually(async () => expect(await progressOf(run)).toMatchObject({ phase: 'awaiting-archive' }));
    expect(await currentDetailsOf(run)).toContain('**Wait until the archive covers that vector: running**');
    await eventually(async () => {
      const { raw } = await run.describe();
      const details = raw.pendingActivities?.[0]?.heartbeatDetails?.payloads?.[0]?.data;
      expect(JSON.parse(Buffer.from(details ?? []).toString())).toMatchObject({ archived: { '1': '17' } });
    });
    archived = { '0': '2000', '1': '1002' };
    expect(await resultOf(run)).toMatchObject({ verdict: 'exact' });
  });
});

test('cancellation while it waits for the archive stops the activity and the workflow promptly', async () => {
  let looks = 0;
  const archivedVector = async () => {
    looks += 1;
    return { '0': '0', '1': '0' };
  };
  await withWorker({ archivedVector }, async (start) => {
    const run = await start();
    await eventually(() => expect(looks).toBeGreaterThan(2));
    const cancelledMs = Date.now();
    await run.cancel();
    expect(await failureOf(run)).toMatchObject({
      message: expect.stringContaining('was cancelled') as string,
    });
    expect(Date.now() - cancelledMs).toBeLessThan(5_000);
    expect((await run.describe()).status.name).toBe('CANCELLED');
    expect(await attributesOf(run)).toMatchObject({ phase: 'cancelled' });
    // Many polls (every 20 ms) would fit into this pause, if the activity still ran.
    const looksAtEnd = looks;
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(looks).toBe(looksAtEnd);
  });
});

test('a failure that a retry can help is retried; one that it cannot ends the workflow with its line', async () => {
  let attempts = 0;
  const compareLayers = async (): Promise<never> => {
    attempts += 1;
    if (attempts === 1) throw new ReckonError('unreachable', 'The lake does not answer.', 'Wait.');
    throw new ReckonError('corrupt-lake', 'A data file is missing.', 'Restore it.');
  };
  await withWorker({ compareLayers }, async (start) => {
    const run = await start();
    expect(await failureOf(run)).toMatchObject({
      code: 'corrupt-lake',
      message: 'A data file is missing. Restore it.',
    });
    expect(attempts).toBe(2);
    expect(await attributesOf(run)).toMatchObject({ phase: 'failed' });
  });
});

test('a worker that shuts down while it waits hands the run to the next worker', async () => {
  let archived: Record<string, string> = { '0': '0', '1': '0' };
  let looks = 0;
  const archivedVector = async () => {
    looks += 1;
    return archived;
  };
  const queue = randomUUID();
  let run: Run | undefined;
  await withWorker(
    { archivedVector },
    async (start) => {
      run = await start();
      await eventually(() => expect(looks).toBeGreaterThan(0));
    },
    queue,
  );
  archived = { '0': '1002', '1': '1002' };
  await withWorker(
    { archivedVector },
    async () => {
      if (run === undefined) throw new Error('not started');
      expect(await resultOf(run)).toMatchObject({ verdict: 'exact' });
    },
    queue,
  );
});
