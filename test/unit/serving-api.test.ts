/** The API without a socket: reports, status, pages, and errors as JSON. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { canonicalJson, createReportStore } from '../../batch/report-store.ts';
import type { ReportStore } from '../../batch/report-store.ts';
import { ReckonError } from '../../domain/errors.ts';
import { createApi } from '../../serving/api.ts';
import type { ApiDeps } from '../../serving/api.ts';
import { sampleReport, unexplainedReport } from '../support/sample-report.ts';
import { samplePartition, sampleStatus } from '../support/sample-status.ts';

const status = sampleStatus();

let dir: string;
let reports: ReportStore;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'reckon-reports-'));
  reports = createReportStore(dir);
});
afterEach(() => rm(dir, { recursive: true }));

async function get(url: string, change: Partial<ApiDeps> = {}) {
  const api = createApi({
    pipelines: ['flights'],
    reports,
    readStatus: async () => [status],
    readReachable: async () => ({ redis: true, kafka: true }),
    temporalUiUrl: 'http://127.0.0.1:8233',
    ...change,
  });
  const response = await api.inject({ method: 'GET', url });
  await api.close();
  return response;
}

test('GET /v1/reports lists the reports with their links, and both links work', async () => {
  await reports.write(sampleReport());
  const list = await get('/v1/reports');
  expect(list.json()).toMatchObject({
    reports: [
      {
        pipeline: 'flights',
        id: 'closed-1a2b3c',
        verdict: 'exact',
        unexplained: 0,
        json: '/v1/reports/flights/closed-1a2b3c',
        page: '/v1/reports/flights/closed-1a2b3c.html',
      },
    ],
  });
  const json = await get('/v1/reports/flights/closed-1a2b3c');
  expect(json.body).toBe(canonicalJson(sampleReport()));
  expect(json.headers['content-type']).toBe('application/json; charset=utf-8');
  const page = await get('/v1/reports/flights/closed-1a2b3c.html');
  expect(page.headers['content-type']).toBe('text/html; charset=utf-8');
  expect(page.body).toContain('Exact: 0 unexplained');
  expect(page.headers['content-security-policy']).not.toContain('script-src');
});

test('GET /v1/reports takes a pipeline and a limit, and names a wrong one', async () => {
  await reports.write(sampleReport());
  expect((await get('/v1/reports?pipeline=orders')).json()).toEqual({ reports: [] });
  const wrong = await get('/v1/reports?limit=0');
  expect(wrong.statusCode).toBe(400);
  expect(wrong.json()).toEqual({
    error: { code: 'invalid-input', message: 'querystring/limit must be >= 1' },
  });
});

test.each([
  '/v1/reports/flights/nope',
  '/v1/reports/flights/nope.html',
  '/v1/reports/..%2f..%2fetc/passwd',
  '/v1/reports/flights/..%2f..%2fsecret',
  '/nothing/here',
])('%s is a 404 with one message', async (url) => {
  const response = await get(url);
  expect(response.statusCode).toBe(404);
  expect(response.json()).toEqual({ error: { code: 'not-found', message: expect.any(String) as string } });
});

test('GET /v1/status gives the live status', async () => {
  expect((await get('/v1/status')).json()).toEqual({ pipelines: [status] });
});

test('a server behind that does not answer is a 503 with its line; the page still lists the reports', async () => {
  await reports.write(unexplainedReport());
  const readStatus = () =>
    Promise.reject(new ReckonError('unreachable', 'Redis does not answer.', 'Start it.'));
  const response = await get('/v1/status', { readStatus });
  expect(response.statusCode).toBe(503);
  expect(response.json()).toEqual({
    error: { code: 'unreachable', message: 'Redis does not answer. Start it.' },
  });
  const page = await get('/', { readStatus });
  expect(page.statusCode).toBe(200);
  expect(page.body).toContain('Redis does not answer. Start it.');
  expect(page.body).toContain('2 unexplained');
});

test('a bug is a plain 500 without its message or stack, and is told to the log', async () => {
  const bug = new TypeError('secret detail');
  const told: unknown[] = [];
  const response = await get('/v1/status', {
    readStatus: () => Promise.reject(bug),
    onError: (error) => told.push(error),
  });
  expect(response.statusCode).toBe(500);
  expect(response.json()).toEqual({
    error: { code: 'internal', message: 'The server failed; its log says why.' },
  });
  expect(told).toEqual([bug]);
});

test('GET / shows status, reports with links, and the Temporal UI', async () => {
  await reports.write(sampleReport());
  const { body, headers } = await get('/');
  expect(headers['content-type']).toBe('text/html; charset=utf-8');
  expect(body).toMatch(/<b>20,000 records<\/b> consumed, <b>19,990<\/b> counted, lag\s+<b>12<\/b>/);
  expect(body).toContain('3 open windows');
  expect(body).toContain('href="/v1/reports/flights/closed-1a2b3c.html"');
  expect(body).toContain('href="http://127.0.0.1:8233"');
});

test('GET / names a partition that has stopped', async () => {
  const partitions = [samplePartition(), samplePartition({ partition: 1, stopped: 'log-truncated' })];
  const { body } = await get('/', { readStatus: async () => [sampleStatus({ partitions })] });
  expect(body).toContain('1 partition stopped');
  expect(body).toContain('stopped: log-truncated');
  expect((await get('/')).body).not.toContain('stopped');
});

test('GET /metrics gives the status for Prometheus, also where servers do not answer', async () => {
  const response = await get('/metrics');
  expect(response.statusCode).toBe(200);
  expect(response.headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
  expect(response.body).toContain('reckon_consumer_lag_records{pipeline="flights",partition="0"} 12\n');
  const away = await get('/metrics', {
    readStatus: () => Promise.reject(new ReckonError('unreachable', 'Redis does not answer.')),
    readReachable: async () => ({ redis: false, kafka: true }),
  });
  expect(away.statusCode).toBe(200);
  expect(away.body).toContain('reckon_redis_up 0\n');
  expect(away.body).toContain('reckon_kafka_up 1\n');
  expect(away.body).not.toContain('reckon_consumer_lag_records');
});

test('many readers at the same moment ask the servers behind once', async () => {
  let reads = 0;
  const api = createApi({
    pipelines: ['flights'],
    reports,
    temporalUiUrl: null,
    readReachable: async () => ({ redis: true, kafka: true }),
    readStatus: async () => {
      reads += 1;
      await new Promise((resolve) => setTimeout(resolve, 50));
      return [status];
    },
  });
  await Promise.all([1, 2, 3, 4].map(() => api.inject('/v1/status')));
  await api.close();
  expect(reads).toBe(1);
});

test('GET /healthz answers', async () => {
  expect((await get('/healthz')).json()).toEqual({ status: 'ok' });
});
