/** Faults of the stream processes: killed, rebalanced, and a zombie that wakes when others own its partitions. */
import { committed, progress, settled, sum } from '../system.ts';
import type { Fault } from '../system.ts';
import { NotReached, until } from '../wait.ts';

/** `kill -9` of an owner, which is started again. */
export const streamKilled: Fault = async (system, random) => {
  await progress(system, 50);
  const owners = system.streams.wanted.filter(({ owned }) => owned.length > 0);
  if (owners.length === 0) throw new NotReached('no process owns a partition');
  const victim = random.pick(owners);
  const before = sum(await committed(system));
  victim.kill('SIGKILL');
  const { signal } = await victim.ended;
  if (signal !== 'SIGKILL') throw new NotReached(`the process ended by ${signal}`);
  const successor = await system.streams.start();
  return `pid ${victim.pid}, owner of [${victim.owned.join(', ')}], ended by SIGKILL at ${before} records; pid ${successor.pid} started`;
};

/** 1 → 3 → 2 processes. */
export const rebalanced: Fault = async (system) => {
  const { streams, plan } = system;
  const owners: string[] = [];
  let moved = 0;
  for (const count of [1, 3, 2]) {
    const sinceMs = performance.now();
    const ownersLeft = streams.wanted.slice(count).some(({ owned }) => owned.length > 0);
    await streams.scale(count);
    await settled(system);
    const owning = streams.wanted.map(({ owned }) => owned.length);
    if (owning.filter((n) => n > 0).length !== Math.min(count, plan.partitions))
      await until(
        `${count} processes share the partitions`,
        () =>
          streams.wanted.filter(({ owned }) => owned.length > 0).length === Math.min(count, plan.partitions),
      );
    const acquired = streams.countLines('partition acquired', sinceMs);
    if (ownersLeft && acquired === 0) throw new NotReached(`nothing was acquired with ${count} processes`);
    owners.push(
      `${count}: ${streams.wanted.map(({ owned }) => `[${owned.join(' ')}]`).join('')} (${acquired} acquired)`,
    );
    moved += acquired;
    await progress(system, 20);
  }
  if (moved === 0) throw new NotReached('no partition was acquired');
  return owners.join(', ');
};

/** An owner is stopped for longer than its session lasts, others take over, and it wakes with its old state in memory. */
export const zombieOwner: Fault = async (system, random) => {
  const { streams } = system;
  if (streams.wanted.length < 2) await streams.scale(2);
  await settled(system);
  await progress(system, 50);
  const zombie = random.pick(streams.wanted.filter(({ owned }) => owned.length > 0));
  const held = zombie.owned;
  const stoppedAtMs = performance.now();
  zombie.kill('SIGSTOP');
  try {
    await until(
      'others acquire the partitions of the stopped owner',
      () => {
        const taken = streams.wanted
          .filter((other) => other !== zombie)
          .flatMap((other) => other.acquiredSince(stoppedAtMs));
        return held.every((partition) => taken.includes(partition));
      },
      60_000,
    );
    await progress(system, 20);
  } finally {
    zombie.kill('SIGCONT');
  }
  const wokenAtMs = performance.now();
  await until(
    'the zombie notices that it owns nothing any more',
    () =>
      zombie.ending ??
      zombie.log.find(
        ({ atMs, msg }) =>
          atMs > wokenAtMs && (msg === 'partitions assigned' || msg.startsWith('ownership lost')),
      ),
    60_000,
  );
  const fenced = zombie.log.filter(({ atMs, reason }) => atMs > wokenAtMs && reason === 'fenced').length;
  const seconds = ((wokenAtMs - stoppedAtMs) / 1_000).toFixed(1);
  return `pid ${zombie.pid}, owner of [${held.join(', ')}], slept ${seconds} s; others acquired them; it woke, ${fenced} commits fenced`;
};
