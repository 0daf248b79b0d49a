/** The API on a real socket: its host, a taken port, a free port, and a request from outside. */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { listen } from '../../apps/serve.ts';
import { createReportStore } from '../../batch/report-store.ts';
import { createApi } from '../../serving/api.ts';
import { sampleReport } from '../support/sample-report.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'reckon-serving-'));
});
afterAll(() => rm(dir, { recursive: true }));

const api = () =>
  createApi({
    pipelines: ['flights'],
    reports: createReportStore(dir),
    readStatus: async () => [],
    readReachable: async () => ({ redis: true, kafka: true }),
    temporalUiUrl: null,
  });

test('port 0 takes a free port on 127.0.0.1 and gives its URL', async () => {
  await createReportStore(dir).write(sampleReport());
  const server = api();
  const url = await listen(server, '127.0.0.1', 0);
  try {
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect((server.server.address() as AddressInfo).address).toBe('127.0.0.1');
    const page = await fetch(`${url}/v1/reports/flights/closed-1a2b3c.html`);
    expect(page.status).toBe(200);
    expect(await page.text()).toContain('Exact: 0 unexplained');
  } finally {
    await server.close();
  }
});

test('a path that climbs out of the folder finds nothing, however it is written', async () => {
  const server = api();
  const url = await listen(server, '127.0.0.1', 0);
  try {
    for (const path of [
      'flights/..%2f..%2fetc%2fpasswd',
      '%2e%2e/closed-1a2b3c',
      '..%2fflights/closed-1a2b3c',
    ])
      expect((await fetch(`${url}/v1/reports/${path}`)).status).toBe(404);
  } finally {
    await server.close();
  }
});

test('a taken port is one clear line', async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const { port } = other.address() as AddressInfo;
  const server = api();
  await expect(listen(server, '127.0.0.1', port)).rejects.toMatchObject({
    code: 'port-taken',
    line: `Port ${port} of 127.0.0.1 is taken by another process. Set API_PORT to another one, or to 0 for any free one.`,
  });
  await server.close();
  await new Promise((resolve) => other.close(resolve));
});
