/**
 * The pipeline of the benchmarks, the same job as the peers': tumbling windows of a minute per product, count and exact sum,
 * with every check that a pipeline has (schema, dedup, fenced commits).
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { definePipeline } from '../domain/pipeline.ts';
import type { Pipeline, PipelineInput } from '../domain/pipeline.ts';

export const windowMs = 60_000;
export const outOfOrderMs = 5_000;
export const allowedLatenessMs = 300_000;
export const partitions = 4;
export const aggregate = 'by_product';

/** What a benchmark may have otherwise. */
export interface Changes {
  readonly windowMs?: number;
  readonly allowedLatenessMs?: number;
}

function definitionOf(name: string, changes: Changes): PipelineInput {
  return {
    name,
    partitions,
    event: {
      schema: {
        type: 'object',
        required: ['eventId', 'type', 'userId', 'sessionId', 'productId', 'amount', 'timestamp'],
        properties: {
          eventId: { type: 'string' },
          type: { type: 'string' },
          userId: { type: 'string' },
          sessionId: { type: 'string' },
          productId: { type: 'string' },
          amount: { type: 'number' },
          timestamp: { type: 'integer' },
        },
      },
      id: 'eventId',
      time: { field: 'timestamp', format: 'epoch-ms' },
      key: 'userId',
      decimals: { amount: 2 },
    },
    aggregates: {
      [aggregate]: {
        window: { tumbling: changes.windowMs ?? windowMs },
        groupBy: 'productId',
        measures: { count: 'count', sum: { sum: 'amount' } },
      },
    },
    outOfOrder: outOfOrderMs,
    allowedLateness: changes.allowedLatenessMs ?? allowedLatenessMs,
  };
}

export interface BenchPipeline {
  readonly pipeline: Pipeline;
  /** Where its definition is written, for the processes that read it. */
  readonly file: string;
}

export function writePipeline(name: string, dir: string, changes: Changes = {}): BenchPipeline {
  const definition = definitionOf(name, changes);
  const file = join(dir, `${name}.mjs`);
  writeFileSync(file, `export default ${JSON.stringify(definition)};\n`);
  return { pipeline: definePipeline(definition), file };
}
