/** Where an owner reads from when Kafka has deleted records: the ids of the dedup horizon are known, or the partition stops. */
import { definePipeline } from '../../domain/pipeline.ts';
import { planRecovery } from '../../stream/recovery.ts';
import type { PartitionState } from '../../stream/state-store.ts';

const horizonMs = 2_000;
const pipeline = definePipeline({
  name: 'recovery',
  event: {
    schema: { type: 'object', properties: { id: { type: 'string' }, at: { type: 'string' } } },
    id: 'id',
    time: 'at',
  },
  aggregates: { all: { window: { tumbling: '1m' }, measures: { events: 'count' } } },
  dedupHorizon: horizonMs,
});

/** A record every 100 ms; offset n has the time 100 n. Everything below `nextOffset` was counted. */
function plan(
  log: { start: number; end: number },
  nextOffset: number,
  wallMs: number,
  timeOf = (n: number) => 100 * n,
  archived: { start: number; end: number } | null = null,
) {
  return planRecovery(
    0,
    { partition: 0, ...log },
    {
      position: { nextOffset, maxEventTimeMs: 0, logTimeMs: timeOf(nextOffset - 1) },
      baseOffset: 0,
    } as PartitionState,
    {
      pipeline,
      history:
        archived === null
          ? null
          : {
              topicId: async () => null,
              range: async () => archived,
              offsetAtTime: async (_, timestampMs) => {
                for (let n = archived.start; n < archived.end; n++) if (timeOf(n) >= timestampMs) return n;
                return null;
              },
              read: () => {
                throw new Error('not read by the plan');
              },
            },
      rememberedBase: async () => null,
      wallMs: () => wallMs,
      offsetAtTime: async (_, timestampMs) => {
        for (let n = log.start; n < log.end; n++) if (timeOf(n) >= timestampMs) return n;
        return null;
      },
    },
  );
}

const stops = { code: 'log-truncated' };

it('reads the horizon from Kafka where it is all there', async () => {
  expect(await plan({ start: 0, end: 200 }, 100, 20_000)).toEqual({ lake: null, kafkaFrom: 79 });
  expect(await plan({ start: 78, end: 200 }, 100, 20_000)).toEqual({ lake: null, kafkaFrom: 79 });
});

it('stops where some of it was deleted and the next record may be a duplicate, however late it is read', async () => {
  await expect(plan({ start: 80, end: 200 }, 100, 20_000)).rejects.toMatchObject(stops);
  await expect(plan({ start: 100, end: 101 }, 100, 1_000_000)).rejects.toMatchObject(stops);
});

it('goes on where the next record was written after the horizon', async () => {
  const later = (n: number) => (n < 100 ? 100 * n : 100 * n + horizonMs);
  expect(await plan({ start: 100, end: 200 }, 100, 20_000, later)).toEqual({ lake: null, kafkaFrom: 100 });
  const asLate = (n: number) => later(n) - (n < 100 ? 0 : 100);
  await expect(plan({ start: 100, end: 200 }, 100, 20_000, asLate)).rejects.toMatchObject(stops);
});

it('asks the clock where there is no next record yet', async () => {
  expect(await plan({ start: 100, end: 100 }, 100, 9_900 + horizonMs + 1)).toEqual({
    lake: null,
    kafkaFrom: 100,
  });
  await expect(plan({ start: 100, end: 100 }, 100, 9_900 + horizonMs)).rejects.toMatchObject(stops);
});

describe('with a lake', () => {
  const ids = (archived: { start: number; end: number }, wallMs = 20_000) =>
    plan({ start: 90, end: 200 }, 100, wallMs, undefined, archived);

  it('reads the ids that Kafka has deleted, also when no record waits and the clock is far ahead', async () => {
    expect(await ids({ start: 0, end: 95 })).toEqual({ lake: { from: 79, to: 90 }, kafkaFrom: 90 });
    expect(await plan({ start: 90, end: 100 }, 100, 1e12, undefined, { start: 0, end: 95 })).toEqual({
      lake: { from: 79, to: 90 },
      kafkaFrom: 90,
    });
  });

  it('stops where the lake does not reach back to the beginning of the horizon, or not up to the log', async () => {
    await expect(ids({ start: 85, end: 95 })).rejects.toMatchObject(stops);
    await expect(ids({ start: 0, end: 89 })).rejects.toMatchObject(stops);
    expect(await ids({ start: 78, end: 95 })).toEqual({ lake: { from: 79, to: 90 }, kafkaFrom: 90 });
  });

  it('counts from it what Kafka has deleted uncounted, after the ids before', async () => {
    const behind = (archived: { start: number; end: number }) =>
      plan({ start: 120, end: 200 }, 100, 20_000, undefined, archived);
    expect(await behind({ start: 0, end: 130 })).toEqual({ lake: { from: 79, to: 120 }, kafkaFrom: 120 });
    await expect(behind({ start: 0, end: 119 })).rejects.toMatchObject(stops);
    await expect(behind({ start: 101, end: 130 })).rejects.toMatchObject(stops);
    await expect(behind({ start: 90, end: 130 })).rejects.toMatchObject(stops);
  });
});
