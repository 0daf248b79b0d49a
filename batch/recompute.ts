/**
 * Recomputes aggregates from the lake, slice by slice. Guarantee: the tables that it leaves are the same however many slices there
 * are; a database holds the records of one slice at a time, and what they add up to.
 */
import type { DuckDb } from '../clients/duckdb.ts';
import { quoteIdentifier } from '../clients/duckdb.ts';
import type { Aggregate } from '../domain/aggregate.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import type { ArchiveTable } from './archive-table.ts';
import { classifiedSql } from './classify-sql.ts';
import {
  accountingSql,
  cellsSql,
  deadByReasonSql,
  frontierSql,
  membersSql,
  mergeMembersSql,
  mergePanesSql,
  mergeRegistersSql,
  panesSql,
  registersSql,
} from './recompute-sql.ts';
import type { Flavour, Relations } from './recompute-sql.ts';
import type { Slice, TimeRange } from './slice.ts';

/** Tables of the database that a recomputation leaves, beside those of each aggregate (`relationsOf`). */
export const recomputed = {
  /** aggregate, _partition, consumed, counted, filtered, duplicate, late, dead. */
  accounting: 'accounting',
  /** reason, records. */
  dead: 'dead_by_reason',
  /** _partition, max_ms: the largest event time, which decides what windows are closed. */
  frontier: 'frontier',
} as const;

export interface RecomputeOptions {
  readonly flavours: readonly Flavour[];
  /** Of the panes' starts; null for all. Accounting, dead letters and frontier are of all records of the slices. */
  readonly range: TimeRange | null;
  readonly signal?: AbortSignal;
}

/** The panes of an aggregate as tables of the database, after `recompute`. */
export function relationsOf(aggregate: Aggregate, flavour: Flavour): Relations {
  const named = (kind: string) => quoteIdentifier(`${kind}_${flavour}_${aggregate.name}`);
  const has = (kinds: readonly string[]) => aggregate.slots.some(({ kind }) => kinds.includes(kind));
  return {
    panes: named('panes'),
    members: has(['quantile', 'top']) ? named('members') : null,
    registers: has(['distinct']) ? named('registers') : null,
  };
}

/** @param database used by this recomputation alone */
export async function recompute(
  database: DuckDb,
  archive: ArchiveTable,
  pipeline: Pipeline,
  slices: readonly Slice[],
  { flavours, range, signal }: RecomputeOptions,
): Promise<void> {
  const tables = new Set<string>();
  /** The first part of a table makes it, the next are added. */
  const add = async (table: string, sql: string) => {
    await database.run(
      tables.has(table) ? `INSERT INTO ${table} ${sql}` : `CREATE OR REPLACE TEMP TABLE ${table} AS ${sql}`,
    );
    tables.add(table);
  };
  // A lake without files still has the relations' shapes.
  for (const slice of slices.length === 0 ? [{ files: [], segments: [] }] : slices) {
    signal?.throwIfAborted();
    const copies = await archive.localCopies(slice.files);
    try {
      await database.run(
        `CREATE OR REPLACE TEMP TABLE classified AS ${classifiedSql(pipeline, copies.files, slice.segments)}`,
      );
    } finally {
      await copies.release();
    }
    await add(recomputed.dead, deadByReasonSql);
    await add(recomputed.frontier, frontierSql);
    for (const aggregate of pipeline.aggregates) {
      await add(recomputed.accounting, accountingSql(pipeline, aggregate));
      for (const flavour of flavours) {
        const { panes, members, registers } = relationsOf(aggregate, flavour);
        await add(panes, panesSql(pipeline, aggregate, flavour, range));
        if (members !== null) await add(members, membersSql(pipeline, aggregate, flavour, range));
        if (registers !== null) await add(registers, registersSql(pipeline, aggregate, flavour, range));
      }
    }
  }
  await database.run('DROP TABLE classified');
  if (slices.length > 1) await mergeParts(database, pipeline, flavours);
}

/** A pane that several slices have a part of becomes one row again. */
async function mergeParts(database: DuckDb, pipeline: Pipeline, flavours: readonly Flavour[]): Promise<void> {
  const merge = async (table: string, sql: string) => {
    await database.run(`CREATE OR REPLACE TEMP TABLE merging AS ${sql}`);
    await database.run(`DROP TABLE ${table}`);
    await database.run(`ALTER TABLE merging RENAME TO ${table}`);
  };
  await merge(
    recomputed.dead,
    `SELECT reason, sum(records)::BIGINT AS records FROM ${recomputed.dead} GROUP BY ALL`,
  );
  await merge(
    recomputed.frontier,
    `SELECT _partition, max(max_ms) AS max_ms FROM ${recomputed.frontier} GROUP BY ALL`,
  );
  const terms = ['consumed', 'counted', 'filtered', 'duplicate', 'late', 'dead'];
  const sums = terms.map((term) => `sum(${term})::BIGINT AS ${term}`).join(', ');
  await merge(
    recomputed.accounting,
    `SELECT aggregate, _partition, ${sums} FROM ${recomputed.accounting} GROUP BY ALL`,
  );
  for (const aggregate of pipeline.aggregates)
    for (const flavour of flavours) {
      const { panes, members, registers } = relationsOf(aggregate, flavour);
      await merge(panes, mergePanesSql(aggregate, panes));
      if (members !== null) await merge(members, mergeMembersSql(members));
      if (registers !== null) await merge(registers, mergeRegistersSql(registers));
    }
}

/**
 * The recomputation as text for people: the same rules over all records at once, to be repeated in any DuckDB shell.
 * @param slice that holds everything
 */
export function describeRecomputation(
  pipeline: Pipeline,
  archive: ArchiveTable,
  slice: Slice | null,
): { readonly aggregate: string; readonly sql: string }[] {
  const files = slice?.files.map((file) => archive.locationOf(file)) ?? [];
  const relation = (sql: string) => `(\n${sql}\n)`;
  return [
    {
      aggregate: '(every record)',
      sql: `CREATE TABLE classified AS\n${slice === null ? '-- the lake is empty' : classifiedSql(pipeline, files, slice.segments)}`,
    },
    ...pipeline.aggregates.map((aggregate) => {
      const { members, registers } = relationsOf(aggregate, 'strict');
      return {
        aggregate: aggregate.name,
        sql: cellsSql(aggregate, {
          panes: relation(panesSql(pipeline, aggregate, 'strict', null)),
          members: members && relation(membersSql(pipeline, aggregate, 'strict', null)),
          registers: registers && relation(registersSql(pipeline, aggregate, 'strict', null)),
        }),
      };
    }),
  ];
}
