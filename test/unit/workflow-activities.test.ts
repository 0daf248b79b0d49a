/** The activities and what they map: defaults, failures by code, polling, cancellation, the counts of a summary. */
import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import { toFailure } from '../../activities/failure.ts';
import { createReconciliationActivities } from '../../activities/reconciliation.ts';
import type { ReconciliationDeps } from '../../activities/reconciliation.ts';
import { failureCodes, ReckonError } from '../../domain/errors.ts';
import type { FailureCode } from '../../domain/errors.ts';
import type { OffsetVector } from '../../domain/offset-vector.ts';
import type { Pipeline } from '../../domain/pipeline.ts';
import { fatesOfMost, summarize } from '../../domain/summary.ts';
import { sampleReport } from '../support/sample-report.ts';

const never = () => Promise.reject(new Error('not called'));

function activities(change: Partial<ReconciliationDeps> = {}) {
  return createReconciliationActivities({
    pipelines: [{ name: 'flights' } as Pipeline, { name: 'orders' } as Pipeline],
    snapshotSpeed: never,
    archivedVector: never,
    demandArchive: async () => undefined,
    compareLayers: never,
    reports: { write: never, list: never, readJson: never, readPage: never },
    archivePollMs: 1,
    ...change,
  });
}

test('resolvePipeline: the first by default, a known name as it is, an unknown one is not retried', async () => {
  const { resolvePipeline } = activities();
  expect(await resolvePipeline({ pipeline: null })).toBe('flights');
  expect(await resolvePipeline({ pipeline: 'orders' })).toBe('orders');
  await expect(resolvePipeline({ pipeline: 'nope' })).rejects.toMatchObject({
    type: 'invalid-input',
    nonRetryable: true,
    message:
      'pipeline: there is no pipeline "nope". This worker has flights, orders; all workers of a task queue need the same RECKON_PIPELINE.',
  });
});

test.each(Object.keys(failureCodes) as FailureCode[])(
  '%s is retried exactly when its code says so',
  (code) => {
    const failure = toFailure(new ReckonError(code, 'What is wrong.', 'What to do.'));
    expect(failure).toBeInstanceOf(ApplicationFailure);
    expect(failure).toMatchObject({
      type: code,
      message: 'What is wrong. What to do.',
      nonRetryable: !failureCodes[code].retryable,
    });
  },
);

test('a cancellation stays one; an unforeseen error stays retryable', () => {
  const cancellation = new CancelledFailure('stop');
  expect(toFailure(cancellation)).toBe(cancellation);
  expect(toFailure(new TypeError('odd'))).toMatchObject({
    type: 'TypeError',
    message: 'odd',
    nonRetryable: false,
  });
});

test('awaitArchive looks until every partition is covered, telling how far the archive is', async () => {
  const reached: OffsetVector[] = [{}, { '0': '10' }, { '0': '10', '1': '4' }, { '0': '11', '1': '5' }];
  let looks = 0;
  const asked: OffsetVector[] = [];
  const { awaitArchive } = activities({
    archivedVector: async () => reached[looks++] ?? {},
    demandArchive: async (_pipeline, vector) => void asked.push(vector),
  });
  const vector = { '0': '10', '1': '5' };
  await new MockActivityEnvironment().run(awaitArchive, { pipeline: 'flights', vector });
  expect(looks).toBe(4);
  // It asks for the archive as long as it is not there.
  expect(asked).toEqual([vector, vector, vector]);
});

test('awaitArchive ends when it is cancelled', async () => {
  const environment = new MockActivityEnvironment();
  const archivedVector = async () => {
    environment.cancel('CANCELLED');
    return {};
  };
  const { awaitArchive } = activities({ archivedVector });
  const run = environment.run(awaitArchive, { pipeline: 'flights', vector: { '0': '1' } });
  await expect(run).rejects.toBeInstanceOf(CancelledFailure);
});

test('work that ignores its signal does not hold up a cancelled activity', async () => {
  const environment = new MockActivityEnvironment();
  let signal: AbortSignal | undefined;
  const { snapshotSpeed } = activities({
    snapshotSpeed: (_pipeline, _scope, _runId, given) => {
      signal = given;
      environment.cancel('CANCELLED');
      return new Promise(() => undefined);
    },
  });
  const run = environment.run(snapshotSpeed, { pipeline: 'flights', scope: 'closed' as const, runId: 'r' });
  await expect(run).rejects.toBeInstanceOf(CancelledFailure);
  expect(signal?.aborted).toBe(true);
});

test('a heartbeat is sent while the work runs', async () => {
  const environment = new MockActivityEnvironment();
  let beats = 0;
  let finish = (): void => undefined;
  const archived = new Promise<OffsetVector>((resolve) => {
    finish = () => resolve({ '0': '1' });
  });
  environment.on('heartbeat', () => {
    beats += 1;
    if (beats === 2) finish();
  });
  const { awaitArchive } = activities({ archivedVector: () => archived });
  await environment.run(awaitArchive, { pipeline: 'flights', vector: { '0': '1' } });
  expect(beats).toBe(2);
});

test('the counted records of a summary are those of the aggregate that counted the most', () => {
  const report = sampleReport();
  const [row] = report.accounting;
  if (row === undefined) throw new Error('the sample has rows');
  const other = { ...row, aggregate: 'delayed', speed: { ...row.speed, counted: '700' } };
  expect(fatesOfMost([...report.accounting, other])).toEqual({
    counted: '1960',
    filtered: '10',
    duplicate: '16',
    late: '8',
    dead: '6',
  });
  expect(fatesOfMost([]).counted).toBe('0');
  const big = { ...row, speed: { ...row.speed, counted: '9007199254740993' } };
  expect(fatesOfMost([big, { ...big, partition: 1 }]).counted).toBe('18014398509481986');
  const snapshot = {
    pipeline: 'flights',
    scope: report.scope,
    vector: report.vector,
    lag: '7',
    path: '/s.parquet',
  };
  expect(summarize(report, snapshot, '/r.json')).toMatchObject({
    counted: '1960',
    lag: '7',
    reportPath: '/r.json',
    reportId: report.id,
  });
});
