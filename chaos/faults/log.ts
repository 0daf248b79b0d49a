/**
 * The log itself is taken away: records deleted before or after they were counted, or the whole topic recreated. What must be
 * read and is gone has to stop the stream; it never goes on with other numbers.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../random.ts';
import { committed, logEnds, progress } from '../system.ts';
import type { Fault, System } from '../system.ts';
import { createTopic, cutTopic, deleteTopic, offsetsOf } from '../topic.ts';
import { NotReached, until } from '../wait.ts';

const stopMs = 75_000;
/** A fetch that was under way when the streams were stopped is answered by then. */
const fetchMs = 300;

/** Records are deleted that no stream has read yet. */
export const logTruncated: Fault = async (system, random) => {
  const { streams } = system;
  await streams.scale(Math.min(2, streams.wanted.length));
  await progress(system, 100);
  streams.expectStop(/records were deleted before they were read/);
  const asleep = await putAway(system, random.chance(0.5));
  const told = await cutUnread(system, random).finally(() => wake(system, asleep));
  return `${told}; ${await stops(system)}`;
};

async function cutUnread(system: System, random: Random): Promise<string> {
  const { brokers, pipeline, keeper } = system;
  await sleep(fetchMs);
  const unread = await logEnds(system);
  const ends = await until('more events arrive', async () => {
    const now = await logEnds(system);
    return now.some((end, i) => end >= (unread[i] ?? 0) + 20) && now;
  });
  await keeper.capture();
  const partition = ends.findIndex((end, i) => end >= (unread[i] ?? 0) + 20);
  const from = random.integer((unread[partition] ?? 0) + 1, ends[partition] ?? 0);
  await cutTopic(brokers, pipeline.topic, new Map([[partition, from]]));
  const counted = (await committed(system))[partition] ?? 0;
  const start = (await offsetsOf(brokers, pipeline.topic))[partition]?.start ?? 0;
  if (start <= counted) throw new NotReached(`the log begins at ${start}, and ${counted} are counted`);
  return `partition ${partition} begins at ${start} now, ${counted} were counted`;
}

/** How the topic is recreated, as the streams see it. */
const recreations = [
  'while streams run',
  'between two runs',
  'and refilled while streams are paused',
] as const;

/** The topic is deleted and created again under its name. */
export const topicRecreated: Fault = async (system, random) => {
  const { streams, brokers, pipeline, plan, keeper, sender, definition } = system;
  await streams.scale(Math.min(2, streams.wanted.length));
  await progress(system, 100);
  streams.expectStop(/was recreated|records were deleted before they were read|has no partition/);
  const how = random.pick(recreations);
  const asleep =
    how === 'while streams run' ? { killed: 0 } : await putAway(system, how === 'between two runs');
  const before = await logEnds(system);
  await sender
    .hold(async () => {
      await keeper.capture();
      keeper.freeze();
      await deleteTopic(brokers, pipeline.topic);
      await createTopic(brokers, pipeline.topic, plan.partitions, definition.stampedBy);
      // As many records again: an offset alone does not tell that they are others.
      if (how === 'and refilled while streams are paused') await sender.refill(500);
    })
    .finally(() => wake(system, asleep));
  const after = await logEnds(system);
  return `recreated ${how}: ends [${before.join(' ')}] → [${after.join(' ')}]; ${await stops(system)}`;
};

/**
 * Counted records are deleted, and every stream is killed, so that ids have to be looked up in what is left. Below the horizon
 * that changes nothing; within, the stream must either be exact all the same or stop.
 */
export const logTrimmed: Fault = async (system, random) => {
  const { streams, brokers, pipeline, keeper, definition } = system;
  await progress(system, 200);
  await keeper.capture();
  const offsets = await committed(system);
  const isWithin = random.chance(0.7);
  streams.expectStop(/needs the ids of the dedupHorizon/);
  const before = new Map(
    offsets.flatMap((offset, partition) => {
      if (offset === null || offset === 0) return [];
      const firstKept = isWithin
        ? random.integer(Math.ceil(offset / 2), offset)
        : horizonStart(system, partition, offset, definition.rules.dedupHorizonMs);
      return firstKept > 0 ? [[partition, firstKept] as const] : [];
    }),
  );
  if (before.size === 0) throw new NotReached('all records are within the dedupHorizon');
  await cutTopic(brokers, pipeline.topic, before);
  const starts = (await offsetsOf(brokers, pipeline.topic)).map(({ start }) => start);
  if (![...before].every(([partition, offset]) => starts[partition] === offset))
    throw new NotReached(`the log begins at [${starts.join(' ')}]`);
  const asleep = await putAway(system, true);
  await wake(system, asleep);
  return `${isWithin ? 'within' : 'below'} the dedupHorizon: offsets counted [${offsets.join(' ')}], log begins at [${starts.join(' ')}]; streams killed and started`;
};

/** The first offset whose log time is not more than the horizon before that of the last counted record. */
function horizonStart({ keeper }: System, partition: number, counted: number, horizonMs: number): number {
  const records = keeper.log
    .filter((record) => record.partition === partition && record.offset < counted)
    .sort((a, b) => a.offset - b.offset);
  const newest = Math.max(...records.map(({ timestampMs }) => timestampMs));
  return records.find(({ timestampMs }) => timestampMs >= newest - horizonMs)?.offset ?? counted;
}

interface Asleep {
  readonly killed: number;
}

/** Nothing is read from here on: the streams are killed, or only stopped for a moment. */
async function putAway({ streams }: System, kill: boolean): Promise<Asleep> {
  const running = streams.wanted;
  for (const process of running) process.kill(kill ? 'SIGKILL' : 'SIGSTOP');
  if (kill) await Promise.all(running.map(({ ended }) => ended));
  return { killed: kill ? running.length : 0 };
}

async function wake({ streams }: System, { killed }: Asleep): Promise<void> {
  for (const process of streams.wanted) process.kill('SIGCONT');
  await Promise.all(Array.from({ length: killed }, () => streams.start()));
}

/** All streams end, with an exit code that is not 0 and the words that were expected. */
async function stops({ streams }: System): Promise<string> {
  await until('every stream has stopped', () => streams.stopped || streams.unexpected.length > 0, stopMs);
  const [stop] = streams.stops;
  if (stop === undefined || streams.unexpected.length > 0)
    throw new Error(
      `stopped otherwise: ${streams.unexpected.map(({ code, words }) => `${code}: ${words}`).join('; ')}`,
    );
  return `${streams.stops.length} stopped, exit code ${stop.code}: "${stop.words}"`;
}
