/**
 * Rules 4 and 5 (DESIGN.md section 2) as SQL over the classified records: which windows a record is in, and what they add up to.
 * Guarantee: shares nothing with the fold but the definition; parts of panes that were computed apart merge in any order.
 */
import { quoteIdentifier, quoteLiteral } from '../clients/duckdb.ts';
import { isFamily, isScalar } from '../domain/aggregate.ts';
import type { Aggregate, Slot, SlotKind } from '../domain/aggregate.ts';
import { formatScaled } from '../domain/decimal.ts';
import type { Field, Value } from '../domain/field.ts';
import type { Comparison } from '../domain/filter.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import type { TimeRange } from './slice.ts';

/** `strict`: without late records, as the speed layer counts. `complete`: with them. */
export type Flavour = 'strict' | 'complete';

/**
 * Rules 4 and 5 of one aggregate over the relation `classified`: its panes with the slots that are one integer.
 * Columns: _partition, start_ms and end_ms (of the pane), grp (list of texts), slot_0, slot_1, ...
 * @param range of the panes' starts
 */
export function panesSql(
  pipeline: Pipeline,
  aggregate: Aggregate,
  flavour: Flavour,
  range: TimeRange | null,
): string {
  const columns = scalarsOf(aggregate).map((slot, i) => `${slotSql(slot, pipeline.fields)} AS slot_${i}`);
  return `SELECT _partition, _start_ms AS start_ms, _end_ms AS end_ms, _grp AS grp, ${columns.join(', ')}
FROM (${acceptedSql(pipeline, aggregate, flavour, range)}) GROUP BY ALL`;
}

/**
 * The counts of its families, by member. Columns: _partition, start_ms, end_ms, grp (the member is one more element), slot, value.
 *
 */
export function membersSql(
  pipeline: Pipeline,
  aggregate: Aggregate,
  flavour: Flavour,
  range: TimeRange | null,
): string {
  const families = aggregate.slots.filter(({ kind }) => isFamily(kind));
  const accepted = acceptedSql(pipeline, aggregate, flavour, range);
  return families.map((slot) => familySql(slot, pipeline.fields, accepted)).join('\nUNION ALL\n');
}

/**
 * The registers of its sketches. Columns: _partition, start_ms, end_ms, grp, slot, register, ranks (a bit for each rank seen).
 *
 */
export function registersSql(
  pipeline: Pipeline,
  aggregate: Aggregate,
  flavour: Flavour,
  range: TimeRange | null,
): string {
  const sketches = aggregate.slots.filter(({ kind }) => kind === 'distinct');
  const accepted = acceptedSql(pipeline, aggregate, flavour, range);
  return sketches.map((slot) => rankSql(slot, pipeline.fields, accepted)).join('\nUNION ALL\n');
}

/** Parts of panes of several slices as one; columns stay. */
export function mergePanesSql(aggregate: Aggregate, panes: string): string {
  const columns = scalarsOf(aggregate).map(({ kind }, i) => `${mergeSql[kind]}(slot_${i}) AS slot_${i}`);
  return `SELECT _partition, start_ms, end_ms, grp, ${columns.join(', ')} FROM ${panes} GROUP BY ALL`;
}

export function mergeMembersSql(members: string): string {
  return `SELECT _partition, start_ms, end_ms, grp, slot, sum("value")::HUGEINT AS "value" FROM ${members} GROUP BY ALL`;
}

export function mergeRegistersSql(registers: string): string {
  return `SELECT _partition, start_ms, end_ms, grp, slot, register, bit_or(ranks) AS ranks FROM ${registers} GROUP BY ALL`;
}

const mergeSql: Readonly<Partial<Record<SlotKind, string>>> = {
  rows: 'sum',
  count: 'sum',
  sum: 'sum',
  min: 'min',
  first: 'min',
  max: 'max',
  last: 'max',
};

export interface Relations {
  readonly panes: string;
  readonly members: string | null;
  readonly registers: string | null;
}

/**
 * One row for each cell that has a value. Columns: _partition, start_ms, end_ms, grp, slot (its key), value (an integer; of a
 * sketch, the first 63 bits of the MD5 of its registers' text, `register:state` by register).
 */
export function cellsSql(aggregate: Aggregate, { panes, members, registers }: Relations): string {
  const pairs = scalarsOf(aggregate).map(
    ({ key }, i) => `{slot: ${quoteLiteral(key)}, "value": slot_${i}::HUGEINT}`,
  );
  const parts = [
    `SELECT _partition, start_ms, end_ms, grp, unnest([${pairs.join(', ')}], recursive := true) FROM ${panes}`,
  ];
  if (members !== null) parts.push(`SELECT _partition, start_ms, end_ms, grp, slot, "value" FROM ${members}`);
  if (registers !== null)
    parts.push(`SELECT _partition, start_ms, end_ms, grp, slot,
    (md5_number_lower(string_agg(register || ':' || state, ',' ORDER BY register)) >> 1)::HUGEINT AS "value"
  FROM (SELECT * EXCLUDE (ranks), ${registerStateSql} AS state FROM ${registers}) GROUP BY ALL`);
  return `SELECT * FROM (\n  ${parts.join('\n  UNION ALL\n  ')}\n) WHERE "value" IS NOT NULL`;
}

/** The state of a register (`domain/distinct.ts`) from its column `ranks`: the largest rank, and whether the two below it were seen. */
export const registerStateSql =
  '(4 * _top + 2 * ((ranks >> (_top - 1)) & 1) + ((ranks >> greatest(_top - 2, 0)) & 1))'.replaceAll(
    '_top',
    '(length(bin(ranks)) - 1)',
  );

/** What became of the records of each partition, for one aggregate. Columns: aggregate, _partition and the terms of the identity. */
export function accountingSql(pipeline: Pipeline, aggregate: Aggregate): string {
  const live = '_rejected IS NULL AND NOT _duplicate';
  const where = filterSql(aggregate, pipeline.fields);
  const late = lateSql(aggregate);
  return `SELECT ${quoteLiteral(aggregate.name)} AS aggregate, _partition, count(*) AS consumed,
  count(*) FILTER (${live} AND (${where}) AND NOT ${late}) AS counted,
  count(*) FILTER (${live} AND NOT (${where})) AS filtered,
  count(*) FILTER (_rejected IS NULL AND _duplicate) AS duplicate,
  count(*) FILTER (${live} AND (${where}) AND ${late}) AS late,
  count(*) FILTER (_rejected IS NOT NULL) AS dead
FROM classified GROUP BY ALL`;
}

/** By partition, the largest event time: what decides which windows are closed. */
export const frontierSql =
  'SELECT _partition, max(_time_ms) AS max_ms FROM classified WHERE _rejected IS NULL GROUP BY ALL';

export const deadByReasonSql =
  'SELECT _rejected AS reason, count(*) AS records FROM classified WHERE _rejected IS NOT NULL GROUP BY ALL';

function scalarsOf({ slots }: Aggregate): Slot[] {
  return slots.filter(({ kind }) => isScalar(kind));
}

function acceptedSql(
  pipeline: Pipeline,
  aggregate: Aggregate,
  flavour: Flavour,
  range: TimeRange | null,
): string {
  const late = flavour === 'strict' ? ` AND NOT ${lateSql(aggregate)}` : '';
  const inRange = range === null ? '' : ` AND _start_ms >= ${range.fromMs} AND _start_ms < ${range.toMs}`;
  return `SELECT *, ${startSql(aggregate)} AS _start_ms, ${endSql(aggregate, flavour)} AS _end_ms, ${groupSql(aggregate, pipeline.fields)} AS _grp
  FROM classified WHERE _rejected IS NULL AND NOT _duplicate AND (${filterSql(aggregate, pipeline.fields)})${late}${inRange}`;
}

/** Start of the pane, rounded towards minus infinity (times before 1970 are negative). */
function startSql({ window }: Aggregate): string {
  const lengthMs =
    window.kind === 'tumbling' ? window.sizeMs : window.kind === 'hopping' ? window.slideMs : window.gapMs;
  return `(_time_ms - ((_time_ms % ${lengthMs}) + ${lengthMs}) % ${lengthMs})`;
}

/** End of the first window that takes the event; for sessions, when the pane takes none any more. */
function endSql(aggregate: Aggregate, flavour: Flavour): string {
  const { window, allowedLatenessMs } = aggregate;
  const start = startSql(aggregate);
  switch (window.kind) {
    case 'tumbling':
      return `${start} + ${window.sizeMs}`;
    case 'session':
      return `${start} + ${2 * window.gapMs - 1}`;
    case 'hopping': {
      if (flavour === 'complete') return `${start} + ${window.slideMs}`;
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
function familySql(slot: Slot, fields: readonly Field[], accepted: string): string {
  const column = columnOf(fields, slot.field);
  const member = slot.kind === 'quantile' ? bucketSql(`${scaledSql(slot, fields)}::BIGINT`) : column;
  return `SELECT _partition, _start_ms AS start_ms, _end_ms AS end_ms, list_append(_grp, (${member})::VARCHAR) AS grp, ${quoteLiteral(slot.key)} AS slot, count(*)::HUGEINT AS "value"
FROM (${accepted}) WHERE ${column} IS NOT NULL GROUP BY ALL`;
}

/** 64 buckets for each doubling: the leading seven bits, and how many follow them. */
function bucketSql(value: string): string {
  const shift = `greatest(0, length(bin(abs(${value}))) - 7)`;
  return `sign(${value})::BIGINT * (64 * ${shift} + (abs(${value}) >> ${shift}))`;
}

/**
 * The registers of a sketch (`domain/distinct.ts`): the MD5 of a value's text names the register by its low 14 bits and the rank by the
 * trailing zeros of the others.
 */
function rankSql(slot: Slot, fields: readonly Field[], accepted: string): string {
  const column = columnOf(fields, slot.field);
  return `SELECT _partition, _start_ms AS start_ms, _end_ms AS end_ms, _grp AS grp, ${quoteLiteral(slot.key)} AS slot,
  (_hash & 16383)::INTEGER AS register,
  bit_or(1::BIGINT << CASE _rest WHEN 0 THEN 51 ELSE length(bin(_rest)) - length(rtrim(bin(_rest), '0')) + 1 END::INTEGER) AS ranks
FROM (
  SELECT *, (_hash >> 14)::BIGINT AS _rest
  FROM (SELECT *, md5_number_lower(${column}::VARCHAR) AS _hash FROM (${accepted}) WHERE ${column} IS NOT NULL)
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
