/**
 * Rules 1 to 3 (DESIGN.md section 2) as SQL over the lake: what is dead, what is a duplicate, and the watermark at every record.
 * Guarantee: shares nothing with the fold but the definition; a function of the definition, the pinned files and the segments,
 * so that anyone with a DuckDB shell gets the same numbers. Names that begin with `_` are Reckon's own; a field never has one.
 */
import { quoteIdentifier } from '../clients/duckdb.ts';
import type { Field } from '../domain/field.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import { eventsSql } from './event-table.ts';
import type { Segment } from './slice.ts';

/**
 * Every record that counts in a slice, with what rules 1 to 3 make of it. Columns: _partition, _offset, _rejected, _time_ms,
 * _watermark_ms, _duplicate, and the fields that the aggregates use.
 * @param files what DuckDB opens; read as an explicit list, never a glob
 */
export function classifiedSql(
  pipeline: Pipeline,
  files: readonly string[],
  segments: readonly Segment[],
): string {
  const fields = usedFields(pipeline)
    .map(({ column }) => `, ${quoteIdentifier(column)}`)
    .join('');
  const wanted = segments.map(({ partition, firstOffset, nextOffset }) =>
    rangeSql(partition, firstOffset, nextOffset),
  );
  const counts = segments.filter(({ firstOffset, countFrom }) => countFrom > firstOffset);
  const context = counts.map(({ partition, firstOffset, countFrom }) =>
    rangeSql(partition, firstOffset, countFrom),
  );
  const inOrder = 'PARTITION BY _partition, _segment ORDER BY _offset';
  return `WITH log AS (
  SELECT _partition, _offset, _id, _rejected, epoch_ms(_time) AS _time_ms${fields},
    ${segmentSql(segments, (_, i) => String(i))} AS _segment,
    -- Log time: the running maximum of the broker's timestamps.
    greatest(max(epoch_ms(_timestamp)) OVER (${inOrder}), ${segmentSql(segments, ({ before }) => bigint(before.logTimeMs))}) AS _log_ms,
    -- Rule 3: the watermark follows the largest event time of the earlier decodable records.
    greatest(max(epoch_ms(_time)) OVER (${inOrder} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),
      ${segmentSql(segments, ({ before }) => bigint(before.maxTimeMs))}) - ${pipeline.outOfOrderMs} AS _watermark_ms
  FROM (${eventsSql(pipeline, files)})
  WHERE ${wanted.length === 0 ? 'false' : wanted.join(' OR ')}
), repeated AS (
  -- Most ids come once: only the others (and whoever shares a hash with them) are looked at in order.
  SELECT hash(_partition, _id) AS _hash FROM log WHERE _rejected IS NULL GROUP BY ALL HAVING count(*) > 1
), duplicates AS (
  -- Rule 2: the same id at an earlier offset of the same partition, within the dedup horizon.
  SELECT _partition, _offset, true AS _duplicate FROM log
  WHERE _rejected IS NULL AND hash(_partition, _id) IN (SELECT _hash FROM repeated)
  QUALIFY _log_ms - lag(_log_ms) OVER (PARTITION BY _partition, _id ORDER BY _offset) <= ${pipeline.dedupHorizonMs}
)
SELECT _partition, _offset, _rejected, _time_ms, _watermark_ms${fields}, coalesce(_duplicate, false) AS _duplicate
FROM log LEFT JOIN duplicates USING (_partition, _offset)${context.length === 0 ? '' : `\nWHERE NOT (${context.join(' OR ')})`}`;
}

function rangeSql(partition: number, from: number, to: number): string {
  return `(_partition = ${partition} AND _offset >= ${from} AND _offset < ${to})`;
}

/** A value of the segment that a record is in. */
function segmentSql(segments: readonly Segment[], valueOf: (segment: Segment, i: number) => string): string {
  const cases = segments.map((segment, i) => [segment, valueOf(segment, i)] as const);
  const values = new Set(cases.map(([, value]) => value));
  if (values.size <= 1) return [...values][0] ?? 'NULL::BIGINT';
  const whens = cases.map(
    ([{ partition, firstOffset, nextOffset }, value]) =>
      `WHEN ${rangeSql(partition, firstOffset, nextOffset)} THEN ${value}`,
  );
  return `CASE ${whens.join(' ')} END`;
}

function bigint(value: number | null): string {
  return value === null ? 'NULL::BIGINT' : `${value}::BIGINT`;
}

function usedFields({ fields, aggregates }: Pipeline): Field[] {
  const used = new Set(
    aggregates.flatMap(({ groupBy, where, slots }) => [
      ...groupBy,
      ...where.map(({ field }) => field),
      ...slots.map(({ field }) => field),
    ]),
  );
  return fields.filter((_, index) => used.has(index));
}
