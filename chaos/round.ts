/**
 * One round: a topic, a pipeline, stream processes and a flow of events of their own; faults while it flows; then quiet, and a
 * comparison of everything. Guarantee: what it started is ended before it returns, whatever happened.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { definePipeline } from '../domain/pipeline.ts';
import { compareCounters, compareSideTopics, compareWindows } from './compare.ts';
import type { Difference } from './compare.ts';
import { defineRound } from './definition.ts';
import { createEvents } from './events.ts';
import { faults } from './faults/faults.ts';
import { LogKeeper } from './log-keeper.ts';
import { Random } from './random.ts';
import { recompute } from './recompute.ts';
import type { Recomputed } from './recompute.ts';
import { keysOf, startClusteredRedis, startSingleRedis } from './redis-under-test.ts';
import type { LoggedEvent } from './rules.ts';
import { faultKinds } from './schedule.ts';
import type { FaultName, RoundPlan } from './schedule.ts';
import { Sender } from './sender.ts';
import type { Servers } from './servers.ts';
import { readState } from './state.ts';
import { Streams } from './streams.ts';
import { committed, logEnds } from './system.ts';
import type { System } from './system.ts';
import { createTopic, readTopic } from './topic.ts';
import { NotReached, until } from './wait.ts';

export interface FaultOutcome {
  readonly name: FaultName | 'poison-records' | 'event-time-jump';
  readonly fired: boolean;
  /** What proves it, or what was missing. */
  readonly proof: string;
  /** What it took, waiting for its conditions included. */
  readonly seconds: number;
}

export interface RoundResult {
  readonly faults: readonly FaultOutcome[];
  readonly records: number;
  readonly windows: number;
  readonly groups: number;
  readonly values: number;
  readonly accounting: readonly string[];
  readonly differences: readonly Difference[];
  /** What went wrong besides: processes that ended, states that were not reached. */
  readonly failures: readonly string[];
  /** How it ended: `caught up`, or stopped loudly as it has to. */
  readonly end: string;
  /** From the start of the round, when the processes were up, all was sent, all was quiet, and all was compared. */
  readonly secondsAt: readonly number[];
}

const quietMs = 90_000;
/** Smaller leaps of the event time are no fault. */
const jumpMinMs = 3_000_000;
/** Shares of the events that flow before the first fault and after the last one. */
const marginShare = 0.12;

/** @param folder of the round: definition, logs, Redis */
export async function runRound(
  plan: RoundPlan,
  servers: Servers,
  folder: string,
  say: (line: string) => void,
): Promise<RoundResult> {
  const startMs = performance.now();
  const elapsed = () => (performance.now() - startMs) / 1_000;
  const random = new Random(plan.seed);
  const definition = defineRound(plan, random);
  const pipeline = definePipeline(definition.input);
  const events = createEvents(definition, pipeline, plan.events, random);
  say(`  ${definition.summary}`);
  mkdirSync(folder, { recursive: true });
  const file = join(folder, 'pipeline.mjs');
  writeFileSync(file, `export default ${JSON.stringify(definition.input, null, 1)};\n`);
  const { brokers, kafka, kafkaDir } = servers;
  const redis =
    plan.redis === 'single'
      ? await startSingleRedis(folder, servers.toxiproxy)
      : await startClusteredRedis(folder);
  const streams = new Streams(
    {
      ...process.env,
      KAFKA_BROKERS: brokers,
      REDIS_URL: redis.url,
      RECKON_PIPELINE: file,
      RECKON_HOME: folder,
      LAKE_URL: join(folder, 'lake'),
      FLUSH_MS: String(random.pick([20, 50, 100])),
      LOG_LEVEL: 'info',
    },
    join(folder, 'logs'),
  );
  const sender = new Sender(brokers, pipeline.topic, events, definition.stampedBy);
  servers.atEnd(async () => {
    await streams.stop();
    await redis.stop();
  });
  try {
    await createTopic(brokers, pipeline.topic, plan.partitions, definition.stampedBy);
    const keeper = new LogKeeper(brokers, pipeline.topic, events);
    const system: System = {
      plan,
      definition,
      pipeline,
      brokers,
      kafka,
      kafkaDir,
      redis,
      streams,
      sender,
      keeper,
    };
    await streams.scale(plan.processes);
    const secondsAt = [elapsed()];
    const outcomes = await act(system);
    secondsAt.push(elapsed());
    return await judge(system, outcomes, secondsAt, elapsed);
  } finally {
    await sender.stop();
    await streams.stop();
    await redis.stop();
  }
}

/** Lets the events flow, and the faults happen meanwhile. */
async function act(system: System): Promise<FaultOutcome[]> {
  const { plan, sender } = system;
  const outcomes: FaultOutcome[] = [];
  const margin = Math.floor(plan.events * marginShare);
  const beganMs = performance.now();
  await sender.flow(margin, 1, () => performance.now() - beganMs > 1_000);
  for (const [i, name] of plan.faults.entries()) {
    const to = margin + Math.floor(((plan.events - 2 * margin) * (i + 1)) / plan.faults.length);
    let done = false;
    const flowing = sender.flow(to, faultKinds[name].seconds, () => done);
    outcomes.push(await attempt(system, name).finally(() => (done = true)));
    await flowing;
    if (faultKinds[name].end === 'stop' && system.streams.stopped) return outcomes;
  }
  await sender.flow(plan.events, 1, () => true);
  return outcomes;
}

async function attempt(system: System, name: FaultName): Promise<FaultOutcome> {
  const random = new Random(`${system.plan.seed}/${name}`);
  const startMs = performance.now();
  const seconds = () => (performance.now() - startMs) / 1_000;
  for (let tries = 1; ; tries++) {
    try {
      return { name, fired: true, proof: await faults[name](system, random), seconds: seconds() };
    } catch (error) {
      const again = error instanceof NotReached && tries < 2 && faultKinds[name].end === 'goes on';
      if (!again) return { name, fired: false, proof: (error as Error).message, seconds: seconds() };
    }
  }
}

async function judge(
  system: System,
  outcomes: readonly FaultOutcome[],
  secondsAt: number[],
  elapsed: () => number,
): Promise<RoundResult> {
  const { plan, definition, pipeline, brokers, redis, streams, keeper } = system;
  const failures: string[] = [];
  const mustStop = plan.faults.some((name) => faultKinds[name].end === 'stop');
  const end = await quiet(system).catch((error: unknown) => `not quiet: ${(error as Error).message}`);
  if (
    end !== (mustStop ? 'stopped' : 'caught up') &&
    !(end === 'stopped' && plan.faults.includes('log-trimmed'))
  )
    failures.push(end);
  for (const { code, signal, words } of streams.unexpected)
    failures.push(`a stream process ended by ${signal ?? `exit code ${code}`}: ${words}`);
  failures.push(...(await drain(streams)));
  secondsAt.push(elapsed());
  const [dead, late] = await Promise.all([
    readTopic(brokers, pipeline.deadLetterTopic),
    readTopic(brokers, pipeline.lateTopic),
    keeper.capture(),
  ]);
  const offsets = await committed(system);
  const upTo = new Map(offsets.map((offset, partition) => [partition, offset ?? 0]));
  const { log } = keeper;
  const expected = recompute(definition.rules, log, upTo);
  const whole = end === 'caught up' ? expected : recompute(definition.rules, log);
  const partitions = [...upTo.keys()];
  const found = await readState(
    redis.redis,
    pipeline,
    partitions,
    await keysOf(redis, `reckon:{${pipeline.name}:`),
  );
  failures.push(...found.strays.map((key) => `a pane that is in no index: ${key}`));
  const compared = compareWindows(expected.windows, found.rows);
  const names = pipeline.aggregates.map(({ name }) => name);
  const { differences, accounting } = compareCounters(expected.counters, found, names);
  const side = compareSideTopics(expected, whole, dead, late);
  const taken = log.filter(({ partition, offset }) => offset < (upTo.get(partition) ?? 0));
  const present = inTheEvents(taken, expected.dead);
  return {
    ...compared,
    // A round that ends in a stop need not have come so far.
    faults: [...outcomes, ...present.filter(({ fired }) => fired || end === 'caught up')],
    records: taken.length,
    accounting,
    differences: [...compared.differences, ...differences, ...side],
    failures,
    secondsAt: [...secondsAt, elapsed()],
    end:
      (end === 'stopped' ? `stopped: ${streams.stops[0]?.words ?? ''}` : end) +
      (streams.restarts > 0 ? `; streams started again as a server was away: ${streams.restarts}` : ''),
  };
}

/** Waits until nothing is left to count, or nobody is left to count it. */
async function quiet(system: System): Promise<string> {
  const { streams } = system;
  let ends = streams.stopped ? [] : await logEnds(system);
  return until(
    'every partition is counted to the end of the log',
    async () => {
      if (streams.unexpected.length > 0) return 'a stream process has ended';
      if (streams.stopped) return 'stopped';
      const offsets = await committed(system);
      if (!ends.every((endOffset, partition) => (offsets[partition] ?? 0) >= endOffset)) return null;
      // What the sender had given up on may have arrived all the same.
      ends = await logEnds(system);
      const isDone = ends.every(
        (endOffset, partition) => offsets[partition] === endOffset || endOffset === 0,
      );
      return isDone && streams.wanted.every(({ isUp }) => isUp) ? 'caught up' : null;
    },
    quietMs,
    50,
  );
}

/** SIGTERM ends each with 0. */
async function drain(streams: Streams): Promise<string[]> {
  const failures: string[] = [];
  for (const process of streams.wanted) {
    process.kill('SIGTERM');
    const { code, signal, words } = await process.ended;
    if (code !== 0)
      failures.push(`a stream process did not drain: ${signal ?? `exit code ${code}`}: ${words}`);
  }
  return failures;
}

/** Faults that every round's events bring with them. */
function inTheEvents(taken: readonly LoggedEvent[], dead: Recomputed['dead']): FaultOutcome[] {
  const reasons = new Set(dead.values());
  const newest = new Map<number, number>();
  let largestMs = 0;
  for (const { partition, offset, event } of [...taken].sort((a, b) => a.offset - b.offset)) {
    if (dead.has(`${partition}:${offset}`)) continue;
    const before = newest.get(partition) ?? event.timeMs;
    largestMs = Math.max(largestMs, event.timeMs - before);
    newest.set(partition, Math.max(before, event.timeMs));
  }
  return [
    {
      name: 'poison-records',
      fired: reasons.size > 0,
      proof: `rejected for ${reasons.size} reasons: ${[...reasons].join(' ')}`,
      seconds: 0,
    },
    {
      name: 'event-time-jump',
      fired: largestMs >= jumpMinMs,
      proof: `the largest of ${(largestMs / 3_600_000).toFixed(1)} h`,
      seconds: 0,
    },
  ];
}
