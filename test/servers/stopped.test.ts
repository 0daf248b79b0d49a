/** The code that an owner leaves when it stops: whose it may be, how long it stays, and that it is no state. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectAdmin } from '../../clients/kafka.ts';
import { prepareTopics } from '../../clients/kafka-topics.ts';
import { startStack, stopStack } from '../../scripts/stack/stack.ts';
import { readPipelineStatus } from '../../serving/status.ts';
import { readAccounts } from '../../stream/accounts.ts';
import { PartitionFold } from '../../stream/fold.ts';
import { StateStore } from '../../stream/state-store.ts';
import { click, clicks, decode } from '../support/commit-writer.ts';
import { startRedis } from '../support/redis-server.ts';
import type { RedisServer } from '../support/redis-server.ts';

const quiet = () => undefined;
let server: RedisServer;
/** Of two processes. */
let one: StateStore;
let other: StateStore;
let partition = 0;

beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());
beforeEach(() => {
  partition++;
  one = new StateStore(server.redis, clicks);
  other = new StateStore(server.redis, clicks);
});

it('is read by others until somebody acquires the partition', async () => {
  await one.acquire(partition, 'a', 0, null);
  expect(await other.readStopped(partition)).toBeNull();
  await one.leaveStopped(partition, 'overflow');
  expect(await other.readStopped(partition)).toBe('overflow');
  expect((await other.acquire(partition, 'b', 0, null)).epoch).toBe(2);
  expect(await other.readStopped(partition)).toBeNull();
});

it('is not left by a process that another one has followed', async () => {
  await one.acquire(partition, 'a', 0, null);
  await other.acquire(partition, 'b', 0, null);
  await one.leaveStopped(partition, 'log-truncated');
  expect(await other.readStopped(partition)).toBeNull();
});

it('is left where nobody has come so far as to own the partition, which has no state by that', async () => {
  await one.leaveStopped(partition, 'log-truncated');
  expect(await other.readStopped(partition)).toBe('log-truncated');
  expect(await other.read(partition)).toBeNull();
  expect(await other.snapshot(partition, true)).toBeNull();
  expect(await readAccounts(other, clicks, [partition])).toEqual([]);
  const { position, epoch } = await other.acquire(partition, 'b', 7, null);
  expect({ nextOffset: position.nextOffset, epoch }).toEqual({ nextOffset: 7, epoch: 1 });
  expect(await one.readStopped(partition)).toBeNull();
});

it('is no counter: the accounting adds up beside it', async () => {
  const { position } = await one.acquire(partition, 'a', 3, null);
  const fold = new PartitionFold(clicks, decode, position, position.nextOffset);
  for (const offset of [3, 4, 6, 7]) fold.take(click(partition, offset));
  expect(await one.commit(partition, 'a', fold.takeChanges())).toEqual({ kind: 'committed' });
  await one.leaveStopped(partition, 'unreachable');
  const counters = [...((await other.read(partition))?.counters.keys() ?? [])];
  expect(counters).toContain('counted:total');
  expect(counters).not.toContain('stopped');
  const accounts = await readAccounts(other, clicks, [partition]);
  expect(accounts).toHaveLength(clicks.aggregates.length);
  for (const account of accounts)
    expect(account).toMatchObject({ partition, baseOffset: 3, nextOffset: 8, offsetGaps: '1', holds: true });
});

it('the status shows it beside partitions that were never begun', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'reckon-status-'));
  const stack = await startStack({ dir, only: ['kafka'], ports: 'free', progress: quiet });
  const { kafkaBrokers } = stack.endpoints;
  await prepareTopics(kafkaBrokers, 'test', [clicks]);
  const admin = await connectAdmin(kafkaBrokers, 'test');
  try {
    await server.redis.flushall();
    await one.acquire(0, 'a', 0, null);
    await one.leaveStopped(0, 'overflow');
    await one.report(0, 'a', { lag: 5, idleSinceMs: null, seenAtMs: 1_000 });
    const status = await readPipelineStatus(admin, other, clicks, 2_000);
    expect(status.watermark).toBeNull();
    expect(status.partitions.map(({ stopped, epoch, idle }) => ({ stopped, epoch, idle }))).toEqual(
      Array.from({ length: clicks.partitions }, (_, i) => ({
        stopped: i === 0 ? 'overflow' : null,
        epoch: i === 0 ? 1 : 0,
        idle: false,
      })),
    );
    expect(status.partitions[0]?.owner).toEqual({ lag: '5', seenAt: '1970-01-01T00:00:01.000Z' });
    expect(status.partitions[0]?.counters).toMatchObject({
      consumed: '0',
      'counted:total': '0',
      'late:total': '0',
    });
  } finally {
    await admin.disconnect();
    await stopStack(dir, quiet);
    rmSync(dir, { recursive: true, force: true });
  }
});
