/** Imported first, it makes a test file's `startRedis` start a cluster of three nodes: the same cases, there. */
import { redisKindVariable } from './redis-server.ts';

process.env[redisKindVariable] = 'cluster';
