/**
 * Recomputed panes as the windows of a batch view. Guarantee: windows and measures are put together by the same functions as where
 * Redis is read (`domain/window-view.ts`), so that the two views speak of the same things; only one bucket of groups is in memory at
 * a time, whose windows have nothing to do with those of the others.
 */
import type { DuckDb } from '../clients/duckdb.ts';
import { isScalar } from '../domain/aggregate.ts';
import type { Aggregate } from '../domain/aggregate.ts';
import { registers as registerCount } from '../domain/distinct.ts';
import { measureResult, windowsOf } from '../domain/window-view.ts';
import type { GroupSlots, SlotValue } from '../domain/window-view.ts';
import { registerStateSql } from './recompute-sql.ts';
import type { Relations } from './recompute-sql.ts';

export interface WindowRow {
  readonly startMs: number;
  readonly endMs: number;
  /** The group as a JSON array of texts. */
  readonly group: string;
  /** By measure, as texts; null where there is none. */
  readonly measures: readonly (string | null)[];
}

/** Rows of panes and members that one bucket holds, about. */
const rowsPerBucket = 200_000;
/** A sketch takes so many times the memory of a pane. */
const sketchWeight = 40;

/** @returns how many buckets keep each of them small */
export async function bucketsOf(
  database: DuckDb,
  aggregate: Aggregate,
  all: readonly Relations[],
): Promise<number> {
  const sketches = aggregate.slots.filter(({ kind }) => kind === 'distinct').length;
  let rows = 0;
  for (const { panes, members } of all) {
    rows += (1 + sketchWeight * sketches) * (await count(database, panes));
    if (members !== null) rows += await count(database, members);
  }
  return Math.max(1, Math.ceil(rows / rowsPerBucket));
}

async function count(database: DuckDb, relation: string): Promise<number> {
  const [row] = await database.query(`SELECT count(*) AS n FROM ${relation}`);
  return Number(row?.['n']);
}

/** @param bucket 0 to `buckets` − 1 @returns its windows, by start and group */
export async function readWindows(
  database: DuckDb,
  aggregate: Aggregate,
  { panes, members, registers }: Relations,
  bucket: number,
  buckets: number,
): Promise<WindowRow[]> {
  const grouping = aggregate.groupBy.length;
  const groups = new Map<string, { slots: SlotValue[] } & GroupSlots>();
  const own = `list_slice(grp, 1, ${grouping})`;
  const columns = `_partition, start_ms, end_ms, to_json(${own})::VARCHAR AS "group"`;
  const inBucket = buckets === 1 ? '' : `WHERE hash(${own}) % ${buckets} = ${bucket}`;
  const slotOf = (row: Record<string, unknown>): { slots: SlotValue[] } & GroupSlots => {
    const name = [row['_partition'], row['start_ms'], row['end_ms'], row['group']].join(' ');
    let found = groups.get(name);
    if (found === undefined) {
      found = {
        startMs: Number(row['start_ms']),
        endMs: Number(row['end_ms']),
        group: row['group'] as string,
        slots: aggregate.slots.map(() => null),
        revision: 0,
      };
      groups.set(name, found);
    }
    return found;
  };
  const scalars = aggregate.slots.flatMap(({ kind }, i) => (isScalar(kind) ? [i] : []));
  for (const row of await database.query(
    `SELECT * EXCLUDE (_partition, start_ms, end_ms, grp), ${columns} FROM ${panes} ${inBucket}`,
  )) {
    const { slots } = slotOf(row);
    for (const [at, slot] of scalars.entries()) {
      const value = row[`slot_${at}`] ?? null;
      slots[slot] = value === null ? null : BigInt(value as bigint);
    }
  }
  const indexOf = (key: unknown) => aggregate.slots.findIndex((slot) => slot.key === key);
  if (members !== null)
    for (const row of await database.query(
      `SELECT ${columns}, slot, grp[${grouping + 1}] AS member, "value" FROM ${members} ${inBucket}`,
    )) {
      const { slots } = slotOf(row);
      const counts = (slots[indexOf(row['slot'])] ??= new Map<string, bigint>()) as Map<string, bigint>;
      counts.set(row['member'] as string, row['value'] as bigint);
    }
  if (registers !== null)
    for (const row of await database.query(
      `SELECT ${columns}, slot, register, ${registerStateSql}::INTEGER AS state FROM ${registers} ${inBucket}`,
    )) {
      const { slots } = slotOf(row);
      const sketch = (slots[indexOf(row['slot'])] ??= new Uint8Array(registerCount)) as Uint8Array;
      sketch[Number(row['register'])] = Number(row['state']);
    }
  return windowsOf(aggregate, groups.values()).map(({ startMs, endMs, group, slots }) => ({
    startMs,
    endMs,
    group,
    measures: aggregate.measures.map((measure) => {
      const result = measureResult(measure, slots);
      return typeof result === 'string' || result === null ? result : JSON.stringify(result);
    }),
  }));
}
