/** A small live status, to be changed field by field by the tests. */
import type { PartitionStatus, PipelineStatus } from '../../domain/status.ts';

export function samplePartition(change: Partial<PartitionStatus> = {}): PartitionStatus {
  return {
    partition: 0,
    nextOffset: '20000',
    endOffset: '20012',
    lag: '12',
    watermark: '2001-01-31T22:00:00.500Z',
    idle: false,
    stopped: null,
    epoch: 3,
    openPanes: 5,
    counters: {
      consumed: '19998',
      gaps: '2',
      duplicate: '4',
      'dead:invalid-json': '6',
      'dead:too-large': '0',
      'counted:daily': '19900',
      'filtered:daily': '80',
      'late:daily': '8',
    },
    owner: { lag: '11', seenAt: '2026-01-01T00:00:00.000Z' },
    ...change,
  };
}

export function sampleStatus(change: Partial<PipelineStatus> = {}): PipelineStatus {
  return {
    pipeline: 'flights',
    topic: 'flights',
    records: '20000',
    counted: '19990',
    lag: '12',
    openWindows: 3,
    watermark: '2001-01-31T22:00:00.000Z',
    partitions: [samplePartition()],
    ...change,
  };
}
