/** Our own stream process under measurement. Guarantee: it has counted when Redis says so. */
import type { RedisNode } from '../clients/redis.ts';
import { AppProcess } from './app-process.ts';
import type { BenchPipeline } from './pipeline.ts';
import type { Servers } from './servers.ts';

export class StreamProcess extends AppProcess {
  readonly #pipeline: string;
  readonly #redis: RedisNode;

  constructor({ kafkaBrokers, redisUrl, dir, redis }: Servers, { pipeline, file }: BenchPipeline) {
    super(
      'stream',
      { KAFKA_BROKERS: kafkaBrokers, REDIS_URL: redisUrl, RECKON_PIPELINE: file, RECKON_HOME: dir },
      'partition acquired',
    );
    this.#pipeline = pipeline.name;
    this.#redis = redis;
  }

  /** Waits until Redis has the counts up to these offsets. */
  counted(ends: ReadonlyMap<number, number>, signal: AbortSignal) {
    return this.done(() => this.#holds(ends), signal);
  }

  async #holds(ends: ReadonlyMap<number, number>): Promise<boolean> {
    const batch = this.#redis.pipeline();
    for (const partition of ends.keys()) batch.hget(`reckon:{${this.#pipeline}:${partition}}:meta`, 'offset');
    const replies = (await batch.exec()) ?? [];
    return [...ends.values()].every((end, i) => Number(replies[i]?.[1] ?? 0) >= end);
  }
}
