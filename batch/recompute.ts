/**
 * The batch layer's side of the rules (DESIGN.md section 2) as SQL over the lake: an implementation of its own, which
 * shares nothing with the fold but the definition. Guarantee: the statements are a function of the definition, the pinned
 * files and the offset vector; anyone with a DuckDB shell gets the same numbers from them.
 */
import { quoteIdentifier, quoteLiteral } from '../clients/duckdb.ts';
import { isScalar } from '../domain/aggregate.ts';
import type { Aggregate, Slot } from '../domain/aggregate.ts';
import { formatScaled } from '../domain/decimal.ts';
import type { Field, Value } from '../domain/field.ts';
import type { Comparison } from '../domain/filter.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import { eventsSql } from './event-table.ts';

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
  FROM (${eventsSql(pipeline, files)})
  WHERE ${wanted.length === 0 ? 'false' : wanted.join(' OR ')}
)
SELECT _partition, _offset, _rejected, _time_ms, _watermark_ms${fields},
  -- Rule 2: the same id at an earlier offset of the same partition, within the dedup horizon.
  coalesce(_rejected IS NULL AND _log_ms - lag(_log_ms) OVER (PARTITION BY _partition, _rejected IS NULL, _id ORDER BY _offset) <= ${pipeline.dedupHorizonMs}, false) AS _duplicate
FROM log`;
}

/**
 * Rules 4 and 5 of one aggregate over the relation `classified`: one row for each cell that has a value.
 * Columns: _partition, start_ms and end_ms (of the pane), grp (list of texts), slot (its key), value (an integer).
 */
export function cellsSql(pipeline: Pipeline, aggregate: Aggregate): string {
  const { fields } = pipeline;
  const scalars = aggregate.slots.filter(({ kind }) => isScalar(kind));
  const columns = scalars.map((slot, i) => `${slotSql(slot, fields)} AS slot_${i}`);
  const pairs = scalars.map(({ key }, i) => `{slot: ${quoteLiteral(key)}, "value": slot_${i}}`);
  const others = aggregate.slots
    .filter((slot) => !scalars.includes(slot))
    .map((slot) => (slot.kind === 'distinct' ? sketchSql(slot, fields) : familySql(slot, fields)));
  return `WITH accepted AS (
  SELECT *, ${startSql(aggregate)} AS _start_ms, ${endSql(aggregate)} AS _end_ms, ${groupSql(aggregate, fields)} AS _grp
  FROM classified WHERE ${acceptedSql(pipeline, aggregate)}
), panes AS (
  SELECT _partition, _start_ms AS start_ms, _end_ms AS end_ms, _grp AS grp,
    ${columns.join(',\n    ')}
  FROM accepted GROUP BY ALL
), cells AS (
  SELECT _partition, start_ms, end_ms, grp, unnest([${pairs.join(', ')}], recursive := true) FROM panes
${others.map((sql) => `  UNION ALL\n${sql}\n`).join('')})
SELECT * FROM cells WHERE "value" IS NOT NULL`;
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

/** Start of the pane, rounded towards minus infinity (times before 1970 are negative). */
function startSql({ window }: Aggregate): string {
  const lengthMs =
    window.kind === 'tumbling' ? window.sizeMs : window.kind === 'hopping' ? window.slideMs : window.gapMs;
  return `(_time_ms - ((_time_ms % ${lengthMs}) + ${lengthMs}) % ${lengthMs})`;
}

/** End of the first window that takes the event; for sessions, when the pane takes none any more. */
function endSql(aggregate: Aggregate): string {
  const { window, allowedLatenessMs } = aggregate;
  const start = startSql(aggregate);
  switch (window.kind) {
    case 'tumbling':
      return `${start} + ${window.sizeMs}`;
    case 'session':
      return `${start} + ${2 * window.gapMs - 1}`;
    case 'hopping': {
      // Windows end at start + slide, start + 2 slides, ...: as many of them as the watermark has closed are left out.
      const missed = `greatest(0, (_watermark_ms - ${allowedLatenessMs} - ${start}) // ${window.slideMs})`;
      return `${start} + ${window.slideMs} * (1 + coalesce(${missed}, 0))`;
    }
  }
}

/** Late: the last window that would hold the event is closed; that of a session's event is the event's own. */
function lateSql(aggregate: Aggregate): string {
  const { window, allowedLatenessMs } = aggregate;
  const end =
    window.kind === 'session' ? `_time_ms + ${window.gapMs}` : `${startSql(aggregate)} + ${window.sizeMs}`;
  return `coalesce(${end} + ${allowedLatenessMs} <= _watermark_ms, false)`;
}

function groupSql(aggregate: Aggregate, fields: readonly Field[]): string {
  const texts = aggregate.groupBy.map((index) => `${columnOf(fields, index)}::VARCHAR`);
  return `[${texts.join(', ')}]::VARCHAR[]`;
}

function slotSql(slot: Slot, fields: readonly Field[]): string {
  if (slot.kind === 'rows') return 'count(*)::HUGEINT';
  if (slot.kind === 'first') return 'min(_time_ms)::HUGEINT';
  if (slot.kind === 'last') return 'max(_time_ms)::HUGEINT';
  if (slot.kind === 'count') return `nullif(count(${columnOf(fields, slot.field)}), 0)::HUGEINT`;
  return `${slot.kind}(${scaledSql(slot, fields)})::HUGEINT`;
}

/** The field as an integer: decimals at their scale; the product of decimals is exact. */
function scaledSql(slot: Slot, fields: readonly Field[]): string {
  const scale = fields[slot.field]?.scale ?? 0;
  const column = columnOf(fields, slot.field);
  return scale === 0 ? column : `(${column} * ${10 ** scale})`;
}

/** A count for each log-bucket (`domain/quantile.ts`) or value; its name is one more element of the group. */
function familySql(slot: Slot, fields: readonly Field[]): string {
  const column = columnOf(fields, slot.field);
  const member = slot.kind === 'quantile' ? bucketSql(`${scaledSql(slot, fields)}::BIGINT`) : column;
  return `  SELECT _partition, _start_ms, _end_ms, list_append(_grp, (${member})::VARCHAR), ${quoteLiteral(slot.key)}, count(*)::HUGEINT
  FROM accepted WHERE ${column} IS NOT NULL GROUP BY ALL`;
}

/** 64 buckets for each doubling: the leading seven bits, and how many follow them. */
function bucketSql(value: string): string {
  const shift = `greatest(0, length(bin(abs(${value}))) - 7)`;
  return `sign(${value})::BIGINT * (64 * ${shift} + (abs(${value}) >> ${shift}))`;
}

/**
 * A sketch (`domain/distinct.ts`) as the first 63 bits of the MD5 of its registers' text, `register:state` by register. The MD5 of a
 * value's text names the register by its low 14 bits and the rank by the trailing zeros of the others.
 */
function sketchSql(slot: Slot, fields: readonly Field[]): string {
  const column = columnOf(fields, slot.field);
  return `  SELECT _partition, _start_ms, _end_ms, _grp, ${quoteLiteral(slot.key)},
    (md5_number_lower(string_agg(register || ':' || (4 * top + 2 * ((ranks >> (top - 1)) & 1) + ((ranks >> greatest(top - 2, 0)) & 1)), ',' ORDER BY register)) >> 1)::HUGEINT
  FROM (
    SELECT _partition, _start_ms, _end_ms, _grp, register, bit_or(1::BIGINT << rank) AS ranks, max(rank) AS top
    FROM (
      SELECT _partition, _start_ms, _end_ms, _grp, (_hash & 16383)::INTEGER AS register,
        CASE _rest WHEN 0 THEN 51 ELSE length(bin(_rest)) - length(rtrim(bin(_rest), '0')) + 1 END::INTEGER AS rank
      FROM (
        SELECT _partition, _start_ms, _end_ms, _grp, md5_number_lower(${column}::VARCHAR) AS _hash, (_hash >> 14)::BIGINT AS _rest
        FROM accepted WHERE ${column} IS NOT NULL
      )
    ) GROUP BY ALL
  ) GROUP BY ALL`;
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
