/**
 * What a run of the stream process leaves behind: the accounting of every partition and aggregate, checked against the topic;
 * the exit code where it does not add up; and the code of a failure, which metrics and status show.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startStack, stopStack } from '../../scripts/stack/stack.ts';
import { eventually } from '../support/eventually.ts';
import { consumed } from '../support/flights-check.ts';
import { kafka, topicSpans, withRedis } from '../support/independent.ts';
import { World, lastJson, sampleFile } from '../support/world.ts';

const aggregates = ['daily_by_origin', 'hourly_delayed'];
let world: World;
beforeAll(() => {
  world = new World();
});
afterAll(() => world.close());

async function replay(name: string, rows = 2_000): Promise<void> {
  const args = ['--file', sampleFile('flights-2k.json'), '--limit', String(rows), '--json'];
  const ended = await world.run('replay', args, { RECKON_PIPELINE: world.flights(name) });
  expect(lastJson(ended)).toMatchObject({ records: rows });
}

interface Line {
  readonly partition: number;
  readonly aggregate: string;
  readonly consumed: number;
  readonly terms: readonly number[];
  readonly first: number;
  readonly next: number;
  readonly gaps: number;
  readonly outcome: string;
}

/** The lines of the accounting; whatever else is on standard output fails. */
function accountsOf(name: string, stdout: string): Line[] {
  const pattern =
    /^(\S+), partition (\d+), (\S+): consumed (\d+) [=≠] counted (\d+) \+ filtered (\d+) \+ duplicate (\d+) \+ late (\d+) \+ dead (\d+); offsets (\d+)\.\.(\d+) [=≠] consumed \d+ \+ gaps (\d+): (.+)$/;
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [, pipeline, partition, aggregate = '', ...numbers] = pattern.exec(line) ?? [];
      expect({ line, pipeline }).toEqual({ line, pipeline: name });
      const outcome = numbers.pop() ?? '';
      const [
        all = 0,
        counted = 0,
        filtered = 0,
        duplicate = 0,
        late = 0,
        dead = 0,
        first = 0,
        next = 0,
        gaps = 0,
      ] = numbers.map(Number);
      return {
        partition: Number(partition),
        aggregate,
        consumed: all,
        terms: [counted, filtered, duplicate, late, dead],
        first,
        next,
        gaps,
        outcome,
      };
    });
}

/** Samples by name and labels, as Prometheus reads them. */
async function scrape(url: string): Promise<Map<string, number>> {
  const response = await fetch(`${url}/metrics`);
  expect(response.status).toBe(200);
  const lines = (await response.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => {
      const at = line.lastIndexOf(' ');
      return [line.slice(0, at), Number(line.slice(at + 1))];
    }),
  );
}

function sumOf(samples: ReadonlyMap<string, number>, name: string, label = ''): number {
  return [...samples]
    .filter(([sample]) => sample.startsWith(`${name}{`) && sample.includes(label))
    .reduce((sum, [, value]) => sum + value, 0);
}

test('the metrics show what was counted while it runs, and the end of the run where every record went', async () => {
  const name = world.name('accounted');
  const env = { RECKON_PIPELINE: world.flights(name) };
  const stream = await world.start('stream', env);
  const serve = await world.start('serve', env);
  await replay(name);
  await replay(name);
  await consumed(world, name, 4_000);
  const url = serve.ready['url'] ?? '';
  const spans = await topicSpans(world.endpoints.kafkaBrokers, name);
  await eventually(async () => {
    const samples = await scrape(url);
    expect(samples.get('reckon_redis_up')).toBe(1);
    expect(samples.get('reckon_kafka_up')).toBe(1);
    expect(sumOf(samples, 'reckon_records_consumed_total')).toBe(4_000);
    expect(sumOf(samples, 'reckon_records_duplicate_total')).toBe(2_000);
    for (const aggregate of aggregates)
      expect(
        ['counted', 'filtered', 'late'].reduce(
          (sum, fate) => sum + sumOf(samples, `reckon_records_${fate}_total`, `aggregate="${aggregate}"`),
          0,
        ),
      ).toBe(2_000);
    for (const { partition, next } of spans) {
      const of = (metric: string) => samples.get(`${metric}{pipeline="${name}",partition="${partition}"}`);
      expect(of('reckon_next_offset')).toBe(next);
      expect(of('reckon_log_end_offset')).toBe(next);
      expect(of('reckon_consumer_lag_records')).toBe(0);
      expect(of('reckon_owner_lag_records')).toBe(0);
      expect(of('reckon_owner_report_age_seconds')).toBeLessThan(10);
      expect(of('reckon_acquisitions_total')).toBe(1);
      expect(of('reckon_partition_idle')).toBe(1);
      expect(of('reckon_watermark_timestamp_seconds')).toBeLessThan(Date.parse('2002-01-01') / 1000);
    }
    // All are idle: the pipeline's own follows the clock, so that the last windows close.
    expect(samples.get(`reckon_pipeline_watermark_timestamp_seconds{pipeline="${name}"}`)).toBeGreaterThan(
      Date.now() / 1000 - 7_200,
    );
    expect(sumOf(samples, 'reckon_partition_stopped')).toBe(0);
  }, 30_000);

  const ended = await stream.end('SIGTERM');
  expect(ended.code).toBe(0);
  const lines = accountsOf(name, ended.stdout);
  expect(lines.map(({ partition, aggregate }) => `${partition} ${aggregate}`).sort()).toEqual(
    spans.flatMap(({ partition }) => aggregates.map((aggregate) => `${partition} ${aggregate}`)).sort(),
  );
  for (const { partition, consumed: all, terms, first, next, gaps, outcome } of lines) {
    expect(spans).toContainEqual({ partition, first, next });
    expect([terms.reduce((sum, term) => sum + term, 0), all + gaps, outcome]).toEqual([
      all,
      next - first,
      'holds',
    ]);
  }
  expect(lines.reduce((sum, line) => sum + line.consumed, 0)).toBe(4_000 * aggregates.length);

  // Nobody owns the partitions any more: they are not idle, the pipeline's watermark does not run on, and the age rises.
  await eventually(async () => {
    const samples = await scrape(url);
    expect(sumOf(samples, 'reckon_partition_idle')).toBe(0);
    for (const { partition } of spans)
      expect(
        samples.get(`reckon_owner_report_age_seconds{pipeline="${name}",partition="${partition}"}`),
      ).toBeGreaterThan(10);
  }, 30_000);
  await serve.end('SIGTERM');
});

test('a counter that somebody changed: the line says so, and the exit code is 1', async () => {
  const name = world.name('miscounted');
  const stream = await world.start('stream', { RECKON_PIPELINE: world.flights(name) });
  await replay(name, 500);
  await consumed(world, name, 500);
  await withRedis(world.endpoints.redisUrl, (redis) =>
    redis.hincrby(`reckon:{${name}:0}:meta`, 'counted:hourly_delayed', 1),
  );
  const ended = await stream.end('SIGTERM');
  expect(ended.code).toBe(1);
  const broken = accountsOf(name, ended.stdout).filter(({ outcome }) => outcome !== 'holds');
  expect(broken).toMatchObject([{ partition: 0, aggregate: 'hourly_delayed', outcome: 'DOES NOT HOLD' }]);
  expect(ended.stderr).toMatch(/"level":50,.*partition 0, hourly_delayed: .*DOES NOT HOLD/);
});

test('a partition that stops leaves its code where metrics, status and page show it', async () => {
  const name = world.name('stopped');
  const env = { RECKON_PIPELINE: world.flights(name) };
  const first = await world.start('stream', env);
  await replay(name, 1_000);
  await consumed(world, name, 1_000);
  await first.end('SIGTERM');
  // Records that were never counted are deleted, and there is no lake.
  await replay(name, 1_000);
  const admin = kafka(world.endpoints.kafkaBrokers).admin();
  await admin.connect();
  const offsets = await admin.fetchTopicOffsets(name);
  const partitions = offsets.map(({ partition, high }) => ({ partition, offset: high }));
  await admin.deleteTopicRecords({ topic: name, partitions });
  await admin.disconnect();
  const second = await world.run('stream', [], env);
  expect(second.code).toBe(1);
  expect(second.stderr).toMatch(/^reckon: Partition \d+ of topic .*deleted before they were read/m);
  // What was counted before still adds up, and is told.
  expect(accountsOf(name, second.stdout).every(({ outcome }) => outcome === 'holds')).toBe(true);

  const serve = await world.start('serve', env);
  const url = serve.ready['url'] ?? '';
  const stopped = [...(await scrape(url))].filter(([sample]) =>
    sample.startsWith('reckon_partition_stopped'),
  );
  expect(stopped.length).toBeGreaterThan(0);
  for (const [sample, value] of stopped) {
    expect(value).toBe(1);
    expect(sample).toContain('code="log-truncated"');
  }
  const status = (await (await fetch(`${url}/v1/status`)).json()) as {
    pipelines: { partitions: { stopped: string | null }[] }[];
  };
  const codes = status.pipelines.flatMap((pipeline) => pipeline.partitions.map((one) => one.stopped));
  expect(codes.filter((code) => code === 'log-truncated')).toHaveLength(stopped.length);
  expect(await (await fetch(url)).text()).toContain('stopped: log-truncated');
  await serve.end('SIGTERM');
});

test('a Redis that is away delays neither the end of a run nor a scrape', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'reckon-away-'));
  const quiet = () => undefined;
  const stack = await startStack({ dir, only: ['redis'], ports: 'free', progress: quiet });
  const own = new World(stack.endpoints.redisUrl);
  try {
    const name = own.name('away');
    const env = { RECKON_PIPELINE: own.flights(name) };
    const stream = await own.start('stream', env);
    const serve = await own.start('serve', env);
    await replay(name, 500);
    await consumed(own, name, 500);
    await stopStack(dir, quiet);
    const samples = await scrape(serve.ready['url'] ?? '');
    expect([...samples]).toEqual([
      ['reckon_redis_up', 0],
      ['reckon_kafka_up', 1],
    ]);
    const startedMs = performance.now();
    const ended = await stream.end('SIGTERM');
    expect(ended.code).toBe(0);
    expect(performance.now() - startedMs).toBeLessThan(15_000);
    expect(ended.stdout).toBe('');
    expect(ended.stderr).toContain('no accounting of this run');
  } finally {
    await own.close();
    await stopStack(dir, quiet);
    rmSync(dir, { recursive: true, force: true });
  }
});
