/** Reports as files: canonical, written whole, idempotent, newest first, and no way out of the folder. */
import { mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { canonicalJson, createReportStore } from '../../batch/report-store.ts';
import { sampleReport, unexplainedReport } from '../support/sample-report.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'reckon-reports-'));
});
afterEach(() => rm(dir, { recursive: true }));

test('canonical JSON depends on the values alone', () => {
  const one = { b: [{ y: 1, x: 2 }], a: { d: null, c: 'x' } };
  const other = { a: { c: 'x', d: null }, b: [{ x: 2, y: 1 }] };
  expect(canonicalJson(one)).toBe(canonicalJson(other));
  expect(canonicalJson(one)).toMatch(/^\{\n {2}"a"[^]*\}\n$/);
});

test('writing puts the JSON and its page into the folder of the pipeline, and nothing else', async () => {
  const { reportPath, pagePath } = await createReportStore(dir).write(sampleReport());
  expect(reportPath).toBe(join(dir, 'flights', 'closed-1a2b3c.json'));
  expect(pagePath).toBe(join(dir, 'flights', 'closed-1a2b3c.html'));
  expect(JSON.parse(await readFile(reportPath, 'utf8'))).toEqual(sampleReport());
  expect((await readdir(join(dir, 'flights'))).sort()).toEqual(['closed-1a2b3c.html', 'closed-1a2b3c.json']);
});

test('writing the same report again leaves the same bytes and the same time', async () => {
  const store = createReportStore(dir);
  const { reportPath } = await store.write(sampleReport());
  await utimes(reportPath, 1_000, 1_000);
  const before = await readFile(reportPath);
  await store.write(sampleReport());
  expect(await readFile(reportPath)).toEqual(before);
  expect((await stat(reportPath)).mtimeMs).toBe(1_000_000);
});

test('a report with the same id and other content replaces the old one', async () => {
  const store = createReportStore(dir);
  await store.write(sampleReport());
  await store.write(sampleReport({ records: '7' }));
  expect(await store.list()).toMatchObject([{ id: 'closed-1a2b3c', records: '7' }]);
});

test('the list is newest first, bounded, and can be of one pipeline', async () => {
  const store = createReportStore(dir);
  const times = { a: 3_000, b: 1_000, c: 2_000 };
  for (const [id, seconds] of Object.entries(times)) {
    const report = id === 'c' ? unexplainedReport({ id, pipeline: 'orders' }) : sampleReport({ id });
    const { reportPath } = await store.write(report);
    await utimes(reportPath, seconds, seconds);
  }
  const ids = async (...args: Parameters<typeof store.list>) =>
    (await store.list(...args)).map(({ id }) => id);
  expect(await ids()).toEqual(['a', 'c', 'b']);
  expect(await ids({ limit: 2 })).toEqual(['a', 'c']);
  expect(await ids({ pipeline: 'flights' })).toEqual(['a', 'b']);
  expect((await store.list())[1]).toEqual({
    pipeline: 'orders',
    id: 'c',
    writtenAt: '1970-01-01T00:33:20.000Z',
    scope: 'closed',
    verdict: 'unexplained',
    records: '2000',
    windowsCompared: 31,
    unexplained: 2,
  });
});

test('no folder yet is an empty list; what is no report is not listed', async () => {
  const store = createReportStore(join(dir, 'nothing'));
  expect(await store.list()).toEqual([]);
  await mkdir(join(dir, 'nothing', 'flights'), { recursive: true });
  await writeFile(join(dir, 'nothing', 'flights', '.x.draft'), '{');
  await writeFile(join(dir, 'nothing', 'stray.txt'), '');
  expect(await store.list()).toEqual([]);
});

test.each(['../secret', '..', '.hidden', 'a/b', 'a\\b', '', 'a\0b', '%2e%2e/secret'])(
  'the id %j reads and writes nothing',
  async (id) => {
    await writeFile(join(dir, 'secret.json'), '{}');
    const store = createReportStore(dir);
    expect(await store.readJson('flights', id)).toBeNull();
    expect(await store.readJson(id, 'secret')).toBeNull();
    expect(await store.readPage('flights', id)).toBeNull();
    await expect(store.write(sampleReport({ id }))).rejects.toThrow('cannot name a report');
  },
);
