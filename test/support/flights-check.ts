/** The sample's aggregates by a plain GROUP BY over the source file, and the waits on the way there. */
import { eventually } from './eventually.ts';
import { counter, differences, redisCells, sqlCells, withRedis } from './independent.ts';
import type { Cells } from './independent.ts';
import type { World } from './world.ts';

/** @param flights a FROM clause with `t` (timestamp, UTC), origin, delay and distance */
export async function flightCells(flights: string): Promise<Cells> {
  const daily = await sqlCells(
    'daily_by_origin',
    `SELECT epoch_ms(date_trunc('day', t)) AS start_ms, to_json([origin])::VARCHAR AS grp, count(*) AS "rows",
       sum(distance) AS "sum:distance", min(delay) AS "min:delay", max(delay) AS "max:delay",
       sum(delay) AS "sum:delay", count(delay) AS "count:delay"
     FROM ${flights} GROUP BY ALL`,
  );
  const hourly = await sqlCells(
    'hourly_delayed',
    `SELECT epoch_ms(date_trunc('hour', t)) AS start_ms, '[]' AS grp, count(*) AS "rows", sum(delay) AS "sum:delay"
     FROM ${flights} WHERE delay >= 15 GROUP BY ALL`,
  );
  return new Map([...daily, ...hourly]);
}

/** Waits until the speed layer has taken so many records. */
export async function consumed(
  world: World,
  pipeline: string,
  records: number,
  timeoutMs = 60_000,
): Promise<void> {
  await withRedis(world.endpoints.redisUrl, (redis) =>
    eventually(
      async () => expect(await counter(redis, pipeline, 'consumed')).toBeGreaterThanOrEqual(records),
      timeoutMs,
    ),
  );
}

/** Every cell in Redis is the one of the source file, and there is no other. */
export async function expectSame(world: World, pipeline: string, expected: Cells): Promise<void> {
  expect(expected.size).toBeGreaterThan(0);
  const actual = await redisCells(world.endpoints.redisUrl, pipeline);
  expect(differences(actual, expected)).toEqual([]);
  expect(actual.size).toBe(expected.size);
}
