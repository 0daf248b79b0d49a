/** The metrics as a scrape sees them: every sample of one partition, and what is absent where nothing is known. */
import { rejectionReasons } from '../../domain/event.ts';
import { renderMetrics } from '../../serving/metrics.ts';
import { samplePartition, sampleStatus } from '../support/sample-status.ts';

const up = { redis: true, kafka: true };
const nowMs = Date.parse('2026-01-01T00:00:07.250Z');

/** Sample → value; every metric must have a help text and a type. */
async function scrape(...args: Parameters<typeof renderMetrics>): Promise<Record<string, number>> {
  const lines = (await renderMetrics(...args)).split('\n').filter((line) => line !== '');
  const described = new Set(lines.flatMap((line) => /^# HELP (\S+) \S/.exec(line)?.[1] ?? []));
  const types = new Map(
    lines.flatMap((line) => {
      const [, name, type] = /^# TYPE (\S+) (\S+)$/.exec(line) ?? [];
      return name === undefined || type === undefined ? [] : [[name, type] as const];
    }),
  );
  const samples = lines.filter((line) => !line.startsWith('#'));
  for (const sample of samples) {
    const name = /^[a-z_]+/.exec(sample)?.[0] ?? '';
    expect([name, described.has(name)]).toEqual([name, true]);
    expect([name, types.get(name)]).toEqual([name, name.endsWith('_total') ? 'counter' : 'gauge']);
  }
  return Object.fromEntries(
    samples.map((sample) => {
      const at = sample.lastIndexOf(' ');
      return [sample.slice(0, at), Number(sample.slice(at + 1))];
    }),
  );
}

const of = (labels = '') => `{pipeline="flights",partition="0"${labels}}`;

it('shows everything that is known of a partition', async () => {
  expect(await scrape([sampleStatus()], up, nowMs)).toEqual({
    reckon_redis_up: 1,
    reckon_kafka_up: 1,
    'reckon_pipeline_watermark_timestamp_seconds{pipeline="flights"}': 980_978_400,
    [`reckon_consumer_lag_records${of()}`]: 12,
    [`reckon_next_offset${of()}`]: 20_000,
    [`reckon_log_end_offset${of()}`]: 20_012,
    [`reckon_watermark_timestamp_seconds${of()}`]: 980_978_400.5,
    [`reckon_partition_idle${of()}`]: 0,
    [`reckon_open_panes${of()}`]: 5,
    [`reckon_owner_lag_records${of()}`]: 11,
    [`reckon_owner_report_age_seconds${of()}`]: 7.25,
    [`reckon_acquisitions_total${of()}`]: 3,
    [`reckon_records_consumed_total${of()}`]: 19_998,
    [`reckon_records_duplicate_total${of()}`]: 4,
    [`reckon_offset_gaps_total${of()}`]: 2,
    [`reckon_records_dead_total${of(',reason="invalid-json"')}`]: 6,
    [`reckon_records_dead_total${of(',reason="too-large"')}`]: 0,
    [`reckon_records_counted_total${of(',aggregate="daily"')}`]: 19_900,
    [`reckon_records_filtered_total${of(',aggregate="daily"')}`]: 80,
    [`reckon_records_late_total${of(',aggregate="daily"')}`]: 8,
  });
});

it('a stopped partition has the code of its failure, an idle one a 1', async () => {
  const partitions = [samplePartition({ stopped: 'overflow', idle: true })];
  const samples = await scrape([sampleStatus({ partitions })], up, nowMs);
  expect(samples[`reckon_partition_stopped${of(',code="overflow"')}`]).toBe(1);
  expect(samples[`reckon_partition_idle${of()}`]).toBe(1);
});

it('what is not known yet has no sample', async () => {
  const partitions = [samplePartition({ watermark: null, owner: null })];
  const samples = await scrape([sampleStatus({ partitions, watermark: null })], up, nowMs);
  expect(Object.keys(samples).filter((name) => /watermark|owner|stopped/.test(name))).toEqual([]);
});

it('partitions and pipelines have samples of their own', async () => {
  const partitions = [samplePartition(), samplePartition({ partition: 1, lag: '7' })];
  const samples = await scrape(
    [sampleStatus({ partitions }), sampleStatus({ pipeline: 'orders' })],
    up,
    nowMs,
  );
  const lags = Object.entries(samples).filter(([name]) => name.startsWith('reckon_consumer_lag_records'));
  expect(lags).toEqual([
    ['reckon_consumer_lag_records{pipeline="flights",partition="0"}', 12],
    ['reckon_consumer_lag_records{pipeline="flights",partition="1"}', 7],
    ['reckon_consumer_lag_records{pipeline="orders",partition="0"}', 12],
  ]);
});

it('where no status can be read, only what answers is told', async () => {
  expect(await scrape(null, { redis: false, kafka: true }, nowMs)).toEqual({
    reckon_redis_up: 0,
    reckon_kafka_up: 1,
  });
});

it('the clock of an owner that is ahead of ours makes no negative age', async () => {
  const samples = await scrape([sampleStatus()], up, Date.parse('2025-12-31T23:59:59Z'));
  expect(samples[`reckon_owner_report_age_seconds${of()}`]).toBe(0);
});

it('every reason for which a record may be rejected can be a label', async () => {
  const dead = Object.keys(rejectionReasons).map((reason) => [`dead:${reason}`, '1'] as const);
  const partitions = [samplePartition({ counters: Object.fromEntries(dead) })];
  const samples = await scrape([sampleStatus({ partitions })], up, nowMs);
  const reasons = Object.keys(samples).filter((name) => name.startsWith('reckon_records_dead_total'));
  expect(reasons).toHaveLength(Object.keys(rejectionReasons).length);
});
