/**
 * The topics of a pipeline: created where they are missing, checked where they are there. Guarantee: idempotent, also for
 * processes that do it at the same moment; when it returns, every partition has a leader.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { formatDuration } from '../domain/duration.ts';
import { ReckonError } from '../domain/errors.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import { connectAdmin, leadersMs, leadersPollMs } from './kafka.ts';
import type { Admin } from './kafka.ts';

/**
 * Creates a pipeline's topics where they are missing, and checks the one that is there. The broker stamps the records of a
 * topic made here (LogAppendTime), so that log time does not depend on producers' clocks.
 * @throws ReckonError `unsafe-server` when an existing topic forgets records within the dedup horizon
 */
export async function ensureTopics(admin: Admin, pipeline: Pipeline): Promise<void> {
  const topic = (name: string, numPartitions: number, retentionMs: number) => ({
    topic: name,
    numPartitions,
    configEntries: [
      { name: 'message.timestamp.type', value: 'LogAppendTime' },
      { name: 'max.message.bytes', value: '8388608' },
      { name: 'retention.ms', value: String(retentionMs) },
    ],
  });
  const existing = new Set(await admin.listTopics());
  const missing = [
    topic(pipeline.topic, pipeline.partitions, Math.max(7 * 86_400_000, 2 * pipeline.dedupHorizonMs)),
    topic(pipeline.deadLetterTopic, 1, pipeline.retentionMs.deadLetters),
    topic(pipeline.lateTopic, 1, pipeline.retentionMs.deadLetters),
  ].filter(({ topic: name }) => !existing.has(name));
  if (missing.length > 0) {
    // Another process may create them at the same moment: that they exist already is no failure.
    await admin.createTopics({ topics: missing, waitForLeaders: false });
    await awaitLeaders(admin, [pipeline.topic, pipeline.deadLetterTopic, pipeline.lateTopic]);
  }
  if (existing.has(pipeline.topic)) await checkRetention(admin, pipeline);
}

/** `ensureTopics` for several pipelines, by a connection of its own. @throws ReckonError as there, or `unreachable` */
export async function prepareTopics(
  brokers: string,
  clientId: string,
  pipelines: readonly Pipeline[],
): Promise<void> {
  const admin = await connectAdmin(brokers, clientId);
  try {
    for (const pipeline of pipelines) await ensureTopics(admin, pipeline);
  } finally {
    await admin.disconnect();
  }
}

/**
 * Waits until every partition has a leader. kafkajs' own wait fails at the first look when the broker has not heard yet of
 * a topic that its controller has just created.
 */
async function awaitLeaders(admin: Admin, topics: readonly string[]): Promise<void> {
  const deadlineMs = performance.now() + leadersMs;
  while (!(await haveLeaders(admin, topics))) {
    if (performance.now() > deadlineMs)
      throw new ReckonError(
        'unreachable',
        `Kafka has no leader for ${topics.join(', ')} after ${leadersMs / 1000} s.`,
        'See whether all of its brokers run.',
      );
    await sleep(leadersPollMs);
  }
}

async function haveLeaders(admin: Admin, topics: readonly string[]): Promise<boolean> {
  try {
    const metadata = await admin.fetchTopicMetadata({ topics: [...topics] });
    return metadata.topics.every(
      ({ partitions }) => partitions.length > 0 && partitions.every(({ leader }) => leader >= 0),
    );
  } catch (error) {
    const { type } = error as { type?: string };
    if (type === 'UNKNOWN_TOPIC_OR_PARTITION' || type === 'LEADER_NOT_AVAILABLE') return false;
    throw error;
  }
}

/** The protocol's number of the resource type "topic" (kafkajs' own name for it cannot be imported from ESM). */
const topicResource = 2;

/** The dedup index is rebuilt from the log, so the log must reach back over the horizon. */
async function checkRetention(admin: Admin, { topic, dedupHorizonMs }: Pipeline): Promise<void> {
  const { resources } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: [{ type: topicResource, name: topic, configNames: ['retention.ms'] }],
  });
  const retentionMs = Number(resources[0]?.configEntries[0]?.configValue ?? -1);
  if (retentionMs < 0 || retentionMs >= dedupHorizonMs) return;
  throw new ReckonError(
    'unsafe-server',
    `Topic ${topic} keeps records for ${formatDuration(retentionMs)}, less than the dedupHorizon of ${formatDuration(dedupHorizonMs)}.`,
    'Raise its retention.ms or lower dedupHorizon.',
  );
}
