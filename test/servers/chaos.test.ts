/**
 * Chaos on the real thing, and the proof that it would notice: the state that the product's own fold and commit leave in Redis
 * agrees with the recomputation, and whatever is changed there afterwards is found.
 */
import { compareCounters, compareWindows } from '../../chaos/compare.ts';
import { defineRound } from '../../chaos/definition.ts';
import type { Definition } from '../../chaos/definition.ts';
import { createEvents } from '../../chaos/events.ts';
import type { SentEvent } from '../../chaos/events.ts';
import { Random } from '../../chaos/random.ts';
import { recompute } from '../../chaos/recompute.ts';
import type { LoggedEvent } from '../../chaos/rules.ts';
import { planRounds } from '../../chaos/schedule.ts';
import { readState } from '../../chaos/state.ts';
import { readUtf8 } from '../../clients/kafka.ts';
import { createDecoder } from '../../domain/decode.ts';
import { definePipeline } from '../../domain/pipeline.ts';
import type { Pipeline } from '../../domain/pipeline.ts';
import { PartitionFold } from '../../stream/fold.ts';
import { metaKey, paneIndexKey, paneKey } from '../../stream/keys.ts';
import { StateStore } from '../../stream/state-store.ts';
import { lastLineOf, runCommand } from '../support/command.ts';
import { processesOf } from '../support/processes.ts';
import { startRedis } from '../support/redis-server.ts';
import type { RedisServer } from '../support/redis-server.ts';

const partitions = [0, 1];
const records = 4_000;
let server: RedisServer;
let pipeline: Pipeline;
let definition: Definition;
let log: LoggedEvent[];

beforeAll(async () => {
  server = await startRedis();
  const random = new Random('tampering');
  const [plan] = planRounds('tampering', 1);
  if (plan === undefined) throw new Error('no plan');
  definition = defineRound(plan, random);
  pipeline = definePipeline(definition.input);
  log = [];
  const next = partitions.map(() => 0);
  const byPartition = partitions.map(() => new Map<number, SentEvent>());
  for (const event of createEvents(definition, pipeline, records, random)) {
    const partition = event.key.length % partitions.length;
    const offset = next[partition] ?? 0;
    next[partition] = offset + 1;
    byPartition[partition]?.set(offset, event);
    log.push({ partition, offset, timestampMs: event.timestampMs, event: event.plain });
  }
  const store = new StateStore(server.redis, pipeline);
  const decode = createDecoder(pipeline, readUtf8);
  for (const partition of partitions) {
    const { position } = await store.acquire(partition, 'me', 0, null);
    const fold = new PartitionFold(pipeline, decode, position, 0);
    for (const [offset, { timestampMs, value }] of byPartition[partition] ?? []) {
      fold.take({ partition, offset, timestampMs, key: null, value });
      if (offset % 500 === 499)
        expect(await store.commit(partition, 'me', fold.takeChanges())).toEqual({ kind: 'committed' });
    }
    await store.commit(partition, 'me', fold.takeChanges());
  }
});
afterAll(() => server.stop());

async function differences(): Promise<string[]> {
  const expected = recompute(definition.rules, log);
  const keys = await server.redis.keys(`reckon:{${pipeline.name}:*`);
  const found = await readState(server.redis, pipeline, partitions, keys);
  const windows = compareWindows(expected.windows, found.rows);
  expect(windows.groups).toBeGreaterThan(100);
  const names = pipeline.aggregates.map(({ name }) => name);
  const counters = compareCounters(expected.counters, found, names);
  expect(counters.accounting).toHaveLength(partitions.length * names.length);
  return [
    ...[...windows.differences, ...counters.differences].map(({ place, what }) => `${place} ${what}`),
    ...found.strays,
  ];
}

/** Changes something in Redis, looks, and takes it back. */
async function found(change: () => Promise<unknown>, takeBack: () => Promise<unknown>): Promise<string[]> {
  await change();
  const differing = await differences();
  await takeBack();
  expect(await differences()).toEqual([]);
  return differing;
}

test('what was counted agrees with the recomputation', async () => {
  expect(await differences()).toEqual([]);
});

test('one more in one cell is found, in the windows that it belongs to', async () => {
  const { redis } = server;
  const [member = ''] = await redis.zrange(paneIndexKey(pipeline.name, 0), '5', '5');
  const key = paneKey(pipeline.name, 0, member);
  const field = Object.keys(await redis.hgetall(key)).find((name) => name.startsWith('rows|')) ?? '';
  expect(field).not.toBe('');
  const differing = await found(
    () => redis.hincrby(key, field, 1),
    () => redis.hincrby(key, field, -1),
  );
  expect(differing.length).toBeGreaterThan(0);
  const group = field.slice('rows|'.length);
  for (const line of differing) expect(line).toContain(`|${group} events`);
});

test('a pane that is gone from the index is missing, and is told as a stray', async () => {
  const { redis } = server;
  const index = paneIndexKey(pipeline.name, 1);
  const [member = '', score = ''] = await redis.zrange(index, '3', '3', 'WITHSCORES');
  const differing = await found(
    () => redis.zrem(index, member),
    () => redis.zadd(index, score, member),
  );
  expect(differing).toContain(paneKey(pipeline.name, 1, member));
  expect(differing.length).toBeGreaterThan(1);
});

test('a counter that is off by one is found, and so is the identity that it breaks', async () => {
  const { redis } = server;
  const key = metaKey(pipeline.name, 0);
  const differing = await found(
    () => redis.hincrby(key, 'duplicate', 1),
    () => redis.hincrby(key, 'duplicate', -1),
  );
  expect(differing).toEqual([
    'partition 0 duplicate',
    ...pipeline.aggregates.map(({ name }) => `partition 0 identity of ${name}`),
  ]);
});

test('npm run chaos: two rounds, every fault fires, nothing is unexplained, nothing is left behind', async () => {
  const seed = process.env['RECKON_SEED'] ?? '11';
  const ended = await runCommand('chaos', ['--rounds', '2', '--seed', seed, '--json'], {
    // Never those that are configured: nothing listens there.
    KAFKA_BROKERS: '127.0.0.1:1',
    REDIS_URL: 'redis://127.0.0.1:1',
    TMPDIR: server.folder,
  });
  if (ended.code !== 0) {
    const telling = /NOT FIRED|FAILED|DIFFERS|verdict|reckon:|Error/;
    const lines = ended.stderr.split('\n').filter((line) => telling.test(line));
    throw new Error([`exit code ${ended.code}:`, ...lines].join('\n'));
  }
  const faults = planRounds(seed, 2).flatMap((plan) => plan.faults);
  const totals = lastLineOf(ended) as { faults: Record<string, number>; windowsCompared: number };
  expect(totals).toMatchObject({ seed, rounds: 2, faultsNotFired: 0, unexplained: 0 });
  for (const name of new Set(faults))
    expect([name, totals.faults[name]]).toEqual([name, faults.filter((other) => other === name).length]);
  expect(totals.windowsCompared).toBeGreaterThan(100);
  expect(ended.stderr).toContain('partition 0 by_a:');
  expect(processesOf(`${server.folder}/reckon-chaos-`)).toEqual([]);
}, 360_000);

test('a wrong option is one line', async () => {
  const { code, stderr } = await runCommand('chaos', ['--rounds', 'many'], {});
  expect([code, stderr.trimEnd().split('\n').at(-1)]).toEqual([
    1,
    'reckon: --rounds is many. It must be a whole number above 0.',
  ]);
});
