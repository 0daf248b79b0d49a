/**
 * `GET /metrics`: the live status as Prometheus reads it. Guarantee: a function of the status, the clock and what answers; the
 * counters are the committed ones, so they survive restarts of every process and fall back only when Redis does.
 */
import { Counter, Gauge, Registry } from 'prom-client';
import type { PartitionStatus, PipelineStatus, Reachable } from '../domain/status.ts';

type Labels = Readonly<Record<string, string>>;
/** What one partition shows under one name. */
type Sample = readonly [labels: Labels, value: number];

interface PartitionMetric {
  readonly name: string;
  readonly help: string;
  /** Besides `pipeline` and `partition`. */
  readonly labels?: readonly string[];
  readonly samples: (partition: PartitionStatus, nowMs: number) => readonly Sample[];
}

const one = (value: number): readonly Sample[] => [[{}, value]];
/** A metric for which there is nothing to say yet has no sample. */
const known = (value: number | null): readonly Sample[] => (value === null ? [] : one(value));

const gauges: readonly PartitionMetric[] = [
  {
    name: 'reckon_consumer_lag_records',
    help: 'Records of the log that are not in the committed counts yet.',
    samples: ({ lag }) => one(Number(lag)),
  },
  {
    name: 'reckon_next_offset',
    help: 'Next offset of the committed counts.',
    samples: ({ nextOffset }) => one(Number(nextOffset)),
  },
  {
    name: 'reckon_log_end_offset',
    help: 'Next offset of the log.',
    samples: ({ endOffset }) => one(Number(endOffset)),
  },
  {
    name: 'reckon_watermark_timestamp_seconds',
    help: 'Watermark of the partition (event time); absent before its first event.',
    samples: ({ watermark }) => known(toSeconds(watermark)),
  },
  {
    name: 'reckon_partition_idle',
    help: '1 where all was taken and nothing came for a while, so that nobody waits for the partition.',
    samples: ({ idle }) => one(Number(idle)),
  },
  {
    name: 'reckon_open_panes',
    help: 'Panes of windows that a record may still change.',
    samples: ({ openPanes }) => one(openPanes),
  },
  {
    name: 'reckon_owner_lag_records',
    help: 'Lag as the owner of the partition saw it when it looked.',
    samples: ({ owner }) => known(owner === null ? null : Number(owner.lag)),
  },
  {
    name: 'reckon_owner_report_age_seconds',
    help: 'Since when the owner of the partition has not been heard of; it tells its lag every two seconds.',
    samples: ({ owner }, nowMs) =>
      known(owner === null ? null : Math.max(0, (nowMs - Date.parse(owner.seenAt)) / 1000)),
  },
  {
    name: 'reckon_partition_stopped',
    help: '1 where the last owner stopped for a failure, by its code, and nobody has acquired the partition since.',
    labels: ['code'],
    samples: ({ stopped }) => (stopped === null ? [] : [[{ code: stopped }, 1]]),
  },
];

const counters: readonly PartitionMetric[] = [
  {
    name: 'reckon_acquisitions_total',
    help: 'How often the partition was acquired.',
    samples: ({ epoch }) => one(epoch),
  },
  counterOf('reckon_records_consumed_total', 'Records taken.', 'consumed'),
  counterOf(
    'reckon_records_duplicate_total',
    'Records whose id had been seen within the horizon.',
    'duplicate',
  ),
  counterOf('reckon_offset_gaps_total', 'Offsets of the log that hold no record.', 'gaps'),
  countersBy('reckon_records_dead_total', 'Records that were rejected.', 'dead', 'reason'),
  countersBy('reckon_records_counted_total', 'Records that were counted.', 'counted', 'aggregate'),
  countersBy('reckon_records_filtered_total', 'Records that `where` left out.', 'filtered', 'aggregate'),
  countersBy(
    'reckon_records_late_total',
    'Records that came after their windows had closed.',
    'late',
    'aggregate',
  ),
];

function counterOf(name: string, help: string, counter: string): PartitionMetric {
  return { name, help, samples: (partition) => one(Number(partition.counters[counter] ?? 0)) };
}

/** Of the counters `<prefix>:<value of the label>`. */
function countersBy(name: string, help: string, prefix: string, label: string): PartitionMetric {
  return {
    name,
    help,
    labels: [label],
    samples: (partition) =>
      Object.entries(partition.counters)
        .filter(([counter]) => counter.startsWith(`${prefix}:`))
        .map(([counter, value]) => [{ [label]: counter.slice(prefix.length + 1) }, Number(value)]),
  };
}

export const metricsContentType = Registry.PROMETHEUS_CONTENT_TYPE;

/** @param pipelines null where the status cannot be read: then only what answers is told */
export async function renderMetrics(
  pipelines: readonly PipelineStatus[] | null,
  reachable: Reachable,
  nowMs: number,
): Promise<string> {
  // Everything is read anew for each scrape, so nothing is kept that could be stale.
  const registry = new Registry();
  const registers = [registry];
  new Gauge({ name: 'reckon_redis_up', help: 'Whether Redis answers.', registers }).set(
    Number(reachable.redis),
  );
  new Gauge({ name: 'reckon_kafka_up', help: 'Whether Kafka answers.', registers }).set(
    Number(reachable.kafka),
  );
  if (pipelines === null) return registry.metrics();
  const watermarks = new Gauge({
    name: 'reckon_pipeline_watermark_timestamp_seconds',
    help: 'Watermark of the pipeline (event time), which labels its windows; absent before the first event.',
    labelNames: ['pipeline'],
    registers,
  });
  for (const { pipeline, watermark } of pipelines) {
    const seconds = toSeconds(watermark);
    if (seconds !== null) watermarks.set({ pipeline }, seconds);
  }
  for (const metric of gauges) {
    const gauge = new Gauge({ ...described(metric), registers });
    forEachSample(metric, pipelines, nowMs, (labels, value) => gauge.set(labels, value));
  }
  for (const metric of counters) {
    const counter = new Counter({ ...described(metric), registers });
    forEachSample(metric, pipelines, nowMs, (labels, value) => counter.inc(labels, value));
  }
  return registry.metrics();
}

function described({ name, help, labels = [] }: PartitionMetric) {
  return { name, help, labelNames: ['pipeline', 'partition', ...labels] };
}

function forEachSample(
  { samples }: PartitionMetric,
  pipelines: readonly PipelineStatus[],
  nowMs: number,
  tell: (labels: Labels, value: number) => void,
): void {
  for (const { pipeline, partitions } of pipelines)
    for (const partition of partitions)
      for (const [labels, value] of samples(partition, nowMs))
        tell({ pipeline, partition: String(partition.partition), ...labels }, value);
}

function toSeconds(iso: string | null): number | null {
  return iso === null ? null : Date.parse(iso) / 1000;
}
