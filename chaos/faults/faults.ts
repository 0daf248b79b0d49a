/** Every fault of the schedule by its name. */
import type { FaultName } from '../schedule.ts';
import type { Fault } from '../system.ts';
import { kafkaKilled, kafkaRestarted, kafkaUnreachable } from './kafka.ts';
import { logTrimmed, logTruncated, topicRecreated } from './log.ts';
import { redisReplyLost, redisSlow } from './network.ts';
import { rebalanced, streamKilled, zombieOwner } from './processes.ts';
import {
  redisClusterFailover,
  redisFlushed,
  redisKilled,
  redisLostTail,
  redisStaleReplica,
} from './redis.ts';

export const faults: Readonly<Record<FaultName, Fault>> = {
  'stream-killed': streamKilled,
  rebalanced,
  'zombie-owner': zombieOwner,
  'redis-killed': redisKilled,
  'redis-lost-tail': redisLostTail,
  'redis-stale-replica': redisStaleReplica,
  'redis-cluster-failover': redisClusterFailover,
  'redis-flushed': redisFlushed,
  'redis-slow': redisSlow,
  'redis-reply-lost': redisReplyLost,
  'kafka-restarted': kafkaRestarted,
  'kafka-killed': kafkaKilled,
  'kafka-unreachable': kafkaUnreachable,
  'log-trimmed': logTrimmed,
  'log-truncated': logTruncated,
  'topic-recreated': topicRecreated,
};
