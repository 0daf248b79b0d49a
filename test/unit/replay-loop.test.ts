/** The replay loop: order, batches, the limit, the pace on an injected clock, interruption and failure. */
import type { ProducedMessage } from '../../clients/kafka.ts';
import { definePipeline } from '../../domain/pipeline.ts';
import { Pace } from '../../ingest/pace.ts';
import { replay } from '../../ingest/replay.ts';
import type { ReplayOptions } from '../../ingest/replay.ts';
import type { Source } from '../../ingest/source-file.ts';

const pipeline = definePipeline({
  name: 'sales',
  event: {
    schema: { properties: { id: { type: 'string' }, at: { type: 'integer' } } },
    id: 'id',
    time: { field: 'at', format: 'epoch-ms' },
  },
  aggregates: { all: { window: { tumbling: '1h' }, measures: { n: 'count' } } },
});

/** A source that says how many of its rows were asked for. */
function sourceOf(rows: string[], chunkSize = 1_000): Source & { pulled: () => number } {
  let pulled = 0;
  async function* chunks(): AsyncGenerator<string[]> {
    for (; pulled < rows.length;) {
      const chunk = rows.slice(pulled, pulled + chunkSize);
      pulled += chunk.length;
      yield chunk;
    }
  }
  return { rows: chunks(), fraction: () => null, pulled: () => pulled };
}

/** Sends are recorded with the time of the virtual clock; sleeping moves it. */
function harness(overrides: Partial<ReplayOptions> = {}) {
  const sent: { value: string; atMs: number }[] = [];
  const batchSizes: number[] = [];
  let nowMs = 1_000;
  const options: ReplayOptions = {
    speed: null,
    limit: null,
    signal: new AbortController().signal,
    clock: {
      nowMs: () => nowMs,
      sleep: async (ms) => {
        nowMs += ms;
      },
    },
    send: async (messages: ProducedMessage[]) => {
      batchSizes.push(messages.length);
      for (const { value } of messages) sent.push({ value: String(value), atMs: nowMs });
    },
    ...overrides,
  };
  return { options, sent, batchSizes };
}

const numbered = (count: number): string[] => Array.from({ length: count }, (_, i) => `{"id":"${i}"}`);

it('sends every row once, in order, in bounded batches', async () => {
  const rows = numbered(12_345);
  const { options, sent, batchSizes } = harness();
  expect(await replay(sourceOf(rows), pipeline, options)).toEqual({ records: 12_345, interrupted: false });
  expect(sent.map(({ value }) => value)).toEqual(rows);
  expect(Math.max(...batchSizes)).toBeLessThanOrEqual(2_000);
});

it('bounds a batch by its size, too', async () => {
  const rows = Array.from({ length: 10 }, (_, i) => `{"id":"${i}","x":"${'x'.repeat(400_000)}"}`);
  const { options, batchSizes } = harness();
  await replay(sourceOf(rows), pipeline, options);
  expect(batchSizes).toEqual([3, 3, 3, 1]);
});

it('has one send in flight, and reads no more than two batches ahead of it', async () => {
  let inFlight = 0;
  let release: () => void = () => undefined;
  const source = sourceOf(numbered(50_000), 500);
  const { options } = harness({
    send: async () => {
      inFlight += 1;
      expect(inFlight).toBe(1);
      await new Promise<void>((resolve) => (release = resolve));
      inFlight -= 1;
    },
  });
  const done = replay(source, pipeline, options);
  const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  for (let i = 0; i < 20; i++) await settle();
  expect(source.pulled()).toBeLessThanOrEqual(4_500);
  let finished = false;
  const result = done.finally(() => (finished = true));
  while (!finished) {
    release();
    await settle();
  }
  expect(await result).toEqual({ records: 50_000, interrupted: false });
});

it('stops after --limit rows', async () => {
  for (const limit of [0, 1, 2_000, 2_001]) {
    const { options, sent } = harness({ limit });
    expect((await replay(sourceOf(numbered(5_000)), pipeline, options)).records).toBe(limit);
    expect(sent).toHaveLength(limit);
  }
});

it('paces by event time at N times real time; disorder and absent times go at once', async () => {
  const at = (ms: number | null): string =>
    ms === null ? '{"id":"x"}' : `{"id":"x","at":${5_000_000 + ms}}`;
  const offsets = [0, 60_000, 30_000, null, 120_000, 120_100, 600_000];
  const { options, sent } = harness({ speed: 60 });
  await replay(sourceOf(offsets.map(at)), pipeline, options);
  expect(sent.map(({ atMs }) => atMs - 1_000)).toEqual([0, 1_000, 1_000, 1_000, 2_000, 2_000, 10_000]);
});

it('does not fall behind the clock: time spent on sending counts', () => {
  let nowMs = 0;
  const pace = new Pace(2, () => nowMs);
  expect(pace.waitMs(1_000)).toBe(0);
  nowMs = 300;
  expect(pace.waitMs(2_000)).toBe(200);
  nowMs = 900;
  expect(pace.waitMs(2_000)).toBe(0);
  expect(pace.waitMs(null)).toBe(0);
});

it('sends what it has read when interrupted, during a wait as well', async () => {
  const stop = new AbortController();
  const { options, sent } = harness({
    speed: 1,
    signal: stop.signal,
    clock: { nowMs: () => 0, sleep: async () => stop.abort() },
  });
  const rows = ['{"id":"a","at":0}', '{"id":"b","at":5}', '{"id":"c","at":99999}', '{"id":"d","at":99999}'];
  expect(await replay(sourceOf(rows), pipeline, options)).toEqual({ records: 2, interrupted: true });
  expect(sent.map(({ value }) => value)).toEqual(rows.slice(0, 2));
});

it('ends with the failure of a send, and counts only what was acknowledged', async () => {
  const counts: number[] = [];
  let sends = 0;
  const { options } = harness({
    send: async () => {
      if (++sends === 3) throw new Error('broker gone');
    },
    onSent: (records) => counts.push(records),
  });
  await expect(replay(sourceOf(numbered(50_000)), pipeline, options)).rejects.toThrow('broker gone');
  expect(counts).toEqual([2_000, 4_000]);
});

it('sends what was read before the file turned out to be malformed', async () => {
  async function* torn(): AsyncGenerator<string[]> {
    yield numbered(10);
    throw new Error('malformed');
  }
  const { options, sent } = harness();
  await expect(replay({ rows: torn(), fraction: () => null }, pipeline, options)).rejects.toThrow(
    'malformed',
  );
  expect(sent).toHaveLength(10);
});
