/**
 * The batch layer's side of the rules (DESIGN.md section 2) as SQL over the lake: an implementation of its own, which
 * shares nothing with the fold but the definition. Guarantee: the statements are a function of the definition, the pinned
 * files and the offset vector; anyone with a DuckDB shell gets the same numbers from them.
 */
import { quoteIdentifier, quoteLiteral, quotePath } from '../clients/duckdb.ts';
import type { Aggregate, Slot } from '../domain/aggregate.ts';
import { formatScaled } from '../domain/decimal.ts';
import type { Field, Value } from '../domain/field.ts';
import type { Comparison } from '../domain/filter.ts';
import type { Pipeline } from '../domain/pipeline.ts';

/** How far a partition is recomputed: everything below `nextOffset`. */
export interface PartitionRange {
  readonly partition: number;
  readonly nextOffset: number;
}

/**
 * Names that begin with `_` are Reckon's own; a field never has one, so nothing here can be mistaken for a field.
 * Every record up to the vector with what rules 1 to 3 make of it. Columns: _partition, _offset, _rejected, _time_ms,
 * _watermark_ms, _duplicate, and the fields.
 * @param files what DuckDB opens; read as an explicit list, never a glob
 */
export function classifiedSql(
  pipeline: Pipeline,
  files: readonly string[],
  ranges: readonly PartitionRange[],
): string {
  const fields = pipeline.fields.map(({ column }) => `, ${quoteIdentifier(column)}`).join('');
  const wanted = ranges.map(
    ({ partition, nextOffset }) => `(_partition = ${partition} AND _offset < ${nextOffset})`,
  );
  const byOffset = 'PARTITION BY _partition ORDER BY _offset';
  return `WITH log AS (
  SELECT _partition, _offset, _id, _rejected, epoch_ms(_time) AS _time_ms${fields},
    -- Log time: the running maximum of the broker's timestamps.
    max(epoch_ms(_timestamp)) OVER (${byOffset}) AS _log_ms,
    -- Rule 3: the watermark follows the largest event time of the earlier decodable records.
    max(epoch_ms(_time)) OVER (${byOffset} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) - ${pipeline.outOfOrderMs} AS _watermark_ms
  FROM read_parquet([${files.map(quotePath).join(', ')}])
  WHERE ${wanted.length === 0 ? 'false' : wanted.join(' OR ')}
)
SELECT _partition, _offset, _rejected, _time_ms, _watermark_ms${fields},
  -- Rule 2: the same id at an earlier offset of the same partition, within the dedup horizon.
  coalesce(_rejected IS NULL AND _log_ms - lag(_log_ms) OVER (PARTITION BY _partition, _rejected IS NULL, _id ORDER BY _offset) <= ${pipeline.dedupHorizonMs}, false) AS _duplicate
FROM log`;
}

/**
 * Rules 4 and 5 of one aggregate over the relation `classified`: one row for each partition, window and group.
 * Columns: _partition, window_ms (start), grp (list of texts), and one integer column for each slot, named by its key.
 */
export function aggregateSql(pipeline: Pipeline, aggregate: Aggregate): string {
  const slots = aggregate.slots.map(
    (slot) => `${slotSql(slot, pipeline.fields)} AS ${quoteIdentifier(slot.key)}`,
  );
  return `SELECT _partition, ${windowSql(aggregate)} AS window_ms, ${groupSql(aggregate, pipeline.fields)} AS grp,
  ${slots.join(',\n  ')}
FROM classified
WHERE ${acceptedSql(pipeline, aggregate)}
GROUP BY ALL`;
}

/** What became of the records of each partition, for one aggregate. Columns: _partition and the terms of the identity. */
export function accountingSql(pipeline: Pipeline, aggregate: Aggregate): string {
  const live = '_rejected IS NULL AND NOT _duplicate';
  const filtered = `${live} AND NOT (${filterSql(aggregate, pipeline.fields)})`;
  return `SELECT _partition, count(*) AS consumed,
  count(*) FILTER (${acceptedSql(pipeline, aggregate)}) AS counted,
  count(*) FILTER (${filtered}) AS filtered,
  count(*) FILTER (_rejected IS NULL AND _duplicate) AS duplicate,
  count(*) FILTER (${live} AND (${filterSql(aggregate, pipeline.fields)}) AND ${lateSql(aggregate)}) AS late,
  count(*) FILTER (_rejected IS NOT NULL) AS dead
FROM classified GROUP BY _partition ORDER BY _partition`;
}

/** By partition, the largest event time: what decides which windows are closed. */
export const maxEventTimeSql =
  'SELECT _partition, max(_time_ms) AS max_ms FROM classified WHERE _rejected IS NULL GROUP BY _partition';

export const deadByReasonSql =
  'SELECT _rejected AS reason, count(*) AS records FROM classified WHERE _rejected IS NOT NULL GROUP BY ALL ORDER BY ALL';

function acceptedSql(pipeline: Pipeline, aggregate: Aggregate): string {
  return `_rejected IS NULL AND NOT _duplicate AND (${filterSql(aggregate, pipeline.fields)}) AND NOT ${lateSql(aggregate)}`;
}

/** Start of the tumbling window, rounded towards minus infinity (times before 1970 are negative). */
function windowSql({ window }: Aggregate): string {
  return `(_time_ms - ((_time_ms % ${window.sizeMs}) + ${window.sizeMs}) % ${window.sizeMs})`;
}

function lateSql(aggregate: Aggregate): string {
  const end = `${windowSql(aggregate)} + ${aggregate.window.sizeMs}`;
  return `coalesce(${end} + ${aggregate.allowedLatenessMs} <= _watermark_ms, false)`;
}

function groupSql(aggregate: Aggregate, fields: readonly Field[]): string {
  const texts = aggregate.groupBy.map((index) => `${columnOf(fields, index)}::VARCHAR`);
  return `[${texts.join(', ')}]::VARCHAR[]`;
}

function slotSql(slot: Slot, fields: readonly Field[]): string {
  if (slot.kind === 'rows') return 'count(*)::HUGEINT';
  const field = fields[slot.field];
  if (field === undefined) throw new Error(`slot ${slot.key} has no field`);
  const column = quoteIdentifier(field.column);
  if (slot.kind === 'count') return `nullif(count(${column}), 0)::HUGEINT`;
  // Decimals become integers at their scale; the product of decimals is exact.
  const scaled =
    field.scale === 0 ? `${slot.kind}(${column})` : `${slot.kind}(${column}) * ${10 ** field.scale}`;
  return `(${scaled})::HUGEINT`;
}

function filterSql({ where }: Aggregate, fields: readonly Field[]): string {
  if (where.length === 0) return 'true';
  return where.map((comparison) => `coalesce(${comparisonSql(comparison, fields)}, false)`).join(' AND ');
}

function comparisonSql({ field: index, operator, operand }: Comparison, fields: readonly Field[]): string {
  const field = fields[index];
  const column = columnOf(fields, index);
  if (field === undefined) throw new Error('a comparison without a field');
  if (operator === 'exists') return operand === true ? `${column} IS NOT NULL` : `${column} IS NULL`;
  if (operator === 'in') {
    const list = operand as readonly Value[];
    return list.length === 0
      ? 'false'
      : `${column} IN (${list.map((item) => literal(item, field)).join(', ')})`;
  }
  const symbols = { eq: '=', ne: '<>', lt: '<', lte: '<=', gt: '>', gte: '>=' } as const;
  return `${column} ${symbols[operator]} ${literal(operand as Value, field)}`;
}

function literal(value: Value, field: Field): string {
  if (value === null) return 'NULL';
  if (typeof value === 'string') return quoteLiteral(value);
  if (field.type === 'decimal') return formatScaled(BigInt(value), field.scale);
  // A literal with a point is a decimal in DuckDB, and one of 16 digits or more becomes another double than JavaScript's.
  if (typeof value === 'number' && (field.type === 'number' || !Number.isSafeInteger(value)))
    return `'${value}'::DOUBLE`;
  return String(value);
}

function columnOf(fields: readonly Field[], index: number): string {
  const field = fields[index];
  if (field === undefined) throw new Error(`no field ${index}`);
  return quoteIdentifier(field.column);
}
