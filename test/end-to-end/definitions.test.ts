/**
 * Definitions of several kinds in one process of each sort: made-up orders (epoch milliseconds, nested fields, money, optional
 * measures, several groups) and three files of the real world, as CSV. For each: nothing unexplained, and Redis equals a
 * plain GROUP BY of DuckDB over the source file.
 */
import { join } from 'node:path';
import { consumed, expectSame } from '../support/flights-check.ts';
import { duck, sqlCells } from '../support/independent.ts';
import type { Cells } from '../support/independent.ts';
import { ordersDefinition, writeOrders } from '../support/orders.ts';
import { World, lastJson, sampleFile } from '../support/world.ts';

/** A text, `null` where the value is missing, as the group in Redis writes it. */
const group = (...values: string[]): string =>
  `('[' || ${values.map((value) => `coalesce(to_json((${value})::VARCHAR)::VARCHAR, 'null')`).join(` || ',' || `)} || ']')`;
const windowStart = (ms: string, sizeMs: number): string => `(floor(${ms} / ${sizeMs}) * ${sizeMs})::BIGINT`;
/** The integer at a scale, exactly. */
const scaled = (sql: string, scale: number): string => `((${sql}) * ${10 ** scale})::BIGINT`;
const [minute, hour, day] = [60_000, 3_600_000, 86_400_000];

interface Case {
  readonly file: string;
  readonly definition: (name: string) => string;
  readonly records: number;
  readonly expected: () => Promise<Cells>;
}

let world: World;
let cases: Record<string, Case>;
let names: Record<string, string>;

beforeAll(async () => {
  world = new World();
  const orders = join(world.dir, 'orders.ndjson');
  writeOrders(orders, 20_000, 7);
  cases = {
    orders: {
      file: orders,
      definition: ordersDefinition,
      records: 20_000,
      expected: () => orderCells(orders),
    },
    weather: {
      file: sampleFile('seattle-weather.csv'),
      definition: weatherDefinition,
      records: 1_461,
      expected: weatherCells,
    },
    strikes: {
      file: sampleFile('birdstrikes.csv'),
      definition: strikesDefinition,
      records: 10_000,
      expected: strikeCells,
    },
    stocks: {
      file: sampleFile('stocks.csv'),
      definition: stocksDefinition,
      records: 560,
      expected: stockCells,
    },
  };
  names = Object.fromEntries(Object.keys(cases).map((kind) => [kind, world.name(kind)]));
  const files = Object.entries(cases).map(([kind, { definition }]) => {
    const name = names[kind] ?? '';
    return world.define(name, definition(name));
  });
  const env = { RECKON_PIPELINE: files.join(',') };
  await Promise.all(['stream', 'archive', 'worker'].map((process) => world.start(process, env)));
  for (const [kind, { file, records }] of Object.entries(cases)) {
    const pipeline = names[kind] ?? '';
    const replay = await world.run('replay', ['--file', file, '--pipeline', pipeline, '--json'], env);
    expect(lastJson(replay)).toMatchObject({ records });
    await consumed(world, pipeline, records);
  }
});
afterAll(() => world.close());

test.each(['orders', 'weather', 'strikes', 'stocks'])('%s: nothing is unexplained', async (kind) => {
  const ended = await world.run('reconcile', ['--pipeline', names[kind] ?? '', '--scope', 'all', '--json']);
  const records = cases[kind]?.records;
  expect(lastJson(ended)).toMatchObject({ records, counted: records, unexplained: 0, verdict: 'exact' });
  expect(ended.code).toBe(0);
});

test.each(['orders', 'weather', 'strikes', 'stocks'])(
  '%s: Redis equals a GROUP BY over the file',
  async (kind) => {
    const expected = await cases[kind]?.expected();
    await expectSame(world, names[kind] ?? '', expected ?? new Map<string, bigint>());
  },
);

test('the cases hold what they are meant to show', async () => {
  const file = cases['orders']?.file ?? '';
  const [row = {}] = await duck(`SELECT count(*) FILTER (user.country IS NULL) AS no_country,
    count(*) FILTER (money.discount IS NULL) AS no_discount, count(*) FILTER ("at" < 0) AS before_epoch,
    count(*) FILTER (money.amount::DECIMAL(18,2) < 0) AS refunds FROM ${ordersFrom(file)}`);
  for (const count of Object.values(row)) expect(Number(count)).toBeGreaterThan(1_000);
});

function ordersFrom(file: string): string {
  return `read_json('${file}', format = 'newline_delimited', columns = {"order": 'BIGINT', "at": 'BIGINT', status: 'VARCHAR',
    items: 'BIGINT', "user": 'STRUCT(id VARCHAR, country VARCHAR, vip BOOLEAN)',
    money: 'STRUCT(amount VARCHAR, discount VARCHAR)'})`;
}

async function orderCells(file: string): Promise<Cells> {
  const [amount, discount] = ['money.amount::DECIMAL(18,2)', 'money.discount::DECIMAL(18,4)'];
  const from = ordersFrom(file);
  const grouped = await sqlCells(
    'by_country_and_status',
    `SELECT ${windowStart('"at"', 10 * minute)} AS start_ms, ${group('"user".country', 'status', '"user".vip')} AS grp,
       count(*) AS "rows", ${scaled(`sum(${amount})`, 2)} AS "sum:money.amount",
       ${scaled(`min(${amount})`, 2)} AS "min:money.amount", ${scaled(`max(${amount})`, 2)} AS "max:money.amount",
       ${scaled(`sum(${discount})`, 4)} AS "sum:money.discount",
       nullif(count(${discount}), 0) AS "count:money.discount", sum(items)::BIGINT AS "sum:items"
     FROM ${from} GROUP BY ALL`,
  );
  const large = await sqlCells(
    'large_paid',
    `SELECT ${windowStart('"at"', hour)} AS start_ms, ${group('"user".id')} AS grp, count(*) AS "rows",
       ${scaled(`sum(${amount})`, 2)} AS "sum:money.amount"
     FROM ${from} WHERE status IN ('paid', 'sent') AND ${amount} >= 250.10 AND money.discount IS NULL GROUP BY ALL`,
  );
  const everything = await sqlCells(
    'everything',
    `SELECT ${windowStart('"at"', day)} AS start_ms, '[]' AS grp, count(*) AS "rows",
       ${scaled(`min(${amount})`, 2)} AS "min:money.amount" FROM ${from} GROUP BY ALL`,
  );
  return new Map([...grouped, ...large, ...everything]);
}

function weatherDefinition(name: string): string {
  return `{
    name: '${name}',
    event: {
      schema: {
        type: 'object',
        required: ['id', 'date', 'weather'],
        properties: {
          id: { type: 'string' }, date: { type: 'string' }, weather: { type: 'string' },
          precipitation: { type: 'number' }, temp_max: { type: 'number' }, temp_min: { type: 'number' },
          wind: { type: 'number' },
        },
      },
      id: 'id', time: 'date',
      decimals: { precipitation: 1, temp_max: 1, temp_min: 1, wind: 1 },
    },
    aggregates: {
      weekly: {
        window: { tumbling: '7d' },
        groupBy: 'weather',
        measures: { days: 'count', rain: { sum: 'precipitation' }, coldest: { min: 'temp_min' }, hottest: { max: 'temp_max' }, wind: { avg: 'wind' } },
      },
      frost: { window: { tumbling: '30d' }, where: { temp_min: { lt: 0 } }, measures: { days: 'count', sum: { sum: 'temp_min' } } },
    },
    outOfOrder: '3d', allowedLateness: '1d',
  }`;
}

async function weatherCells(): Promise<Cells> {
  const from = `read_csv('${sampleFile('seattle-weather.csv')}', columns = {date: 'DATE', precipitation: 'DECIMAL(9,1)',
    temp_max: 'DECIMAL(9,1)', temp_min: 'DECIMAL(9,1)', wind: 'DECIMAL(9,1)', weather: 'VARCHAR'}, header = true)`;
  const weekly = await sqlCells(
    'weekly',
    `SELECT ${windowStart('epoch_ms(date)', 7 * day)} AS start_ms, ${group('weather')} AS grp, count(*) AS "rows",
       ${scaled('sum(precipitation)', 1)} AS "sum:precipitation", ${scaled('min(temp_min)', 1)} AS "min:temp_min",
       ${scaled('max(temp_max)', 1)} AS "max:temp_max", ${scaled('sum(wind)', 1)} AS "sum:wind", count(wind) AS "count:wind"
     FROM ${from} GROUP BY ALL`,
  );
  const frost = await sqlCells(
    'frost',
    `SELECT ${windowStart('epoch_ms(date)', 30 * day)} AS start_ms, '[]' AS grp, count(*) AS "rows",
       ${scaled('sum(temp_min)', 1)} AS "sum:temp_min" FROM ${from} WHERE temp_min < 0 GROUP BY ALL`,
  );
  return new Map([...weekly, ...frost]);
}

/** The columns' names hold spaces and a dollar sign; the file is not in the order of time. */
function strikesDefinition(name: string): string {
  return `{
    name: '${name}',
    event: {
      schema: {
        type: 'object',
        required: ['id', 'Flight Date'],
        properties: {
          id: { type: 'string' }, 'Flight Date': { type: 'string' }, 'Origin State': { type: 'string' },
          'Wildlife Size': { type: 'string' }, 'Cost Total $': { type: 'integer' }, 'Speed IAS in knots': { type: 'integer' },
        },
      },
      id: 'id', time: 'Flight Date', key: 'Origin State',
    },
    aggregates: {
      by_state: {
        window: { tumbling: '365d' },
        groupBy: ['Origin State', 'Wildlife Size'],
        measures: { strikes: 'count', cost: { sum: 'Cost Total $' }, slowest: { min: 'Speed IAS in knots' }, mean: { avg: 'Speed IAS in knots' } },
      },
    },
    outOfOrder: '20000d',
  }`;
}

async function strikeCells(): Promise<Cells> {
  const knots = '"Speed IAS in knots"';
  return sqlCells(
    'by_state',
    `SELECT ${windowStart('epoch_ms("Flight Date")', 365 * day)} AS start_ms, ${group('"Origin State"', '"Wildlife Size"')} AS grp,
       count(*) AS "rows", sum("Cost Total $")::BIGINT AS "sum:Cost Total $", min(${knots}) AS "min:Speed IAS in knots",
       sum(${knots})::BIGINT AS "sum:Speed IAS in knots", nullif(count(${knots}), 0) AS "count:Speed IAS in knots"
     FROM read_csv('${sampleFile('birdstrikes.csv')}', header = true) GROUP BY ALL`,
  );
}

function stocksDefinition(name: string): string {
  return `{
    name: '${name}',
    event: {
      schema: {
        type: 'object',
        required: ['id', 'symbol', 'date', 'price'],
        properties: { id: { type: 'string' }, symbol: { type: 'string' }, date: { type: 'string' }, price: { type: 'number' } },
      },
      id: 'id', time: 'date', key: 'symbol',
      decimals: { price: 2 },
    },
    aggregates: {
      by_quarter: {
        window: { tumbling: '90d' },
        groupBy: 'symbol',
        measures: { months: 'count', low: { min: 'price' }, high: { max: 'price' }, mean: { avg: 'price' } },
      },
    },
    outOfOrder: '20000d',
    // 'Jan 1 2000'
    replay: { map: (row) => ({ ...row, date: new Date(row.date.endsWith('Z') ? row.date : row.date + ' UTC').toISOString() }) },
  }`;
}

async function stockCells(): Promise<Cells> {
  return sqlCells(
    'by_quarter',
    `SELECT ${windowStart(`epoch_ms(strptime(date, '%b %-d %Y'))`, 90 * day)} AS start_ms, ${group('symbol')} AS grp,
       count(*) AS "rows", ${scaled('min(price)', 2)} AS "min:price", ${scaled('max(price)', 2)} AS "max:price",
       ${scaled('sum(price)', 2)} AS "sum:price", count(price) AS "count:price"
     FROM read_csv('${sampleFile('stocks.csv')}', header = true,
       columns = {symbol: 'VARCHAR', date: 'VARCHAR', price: 'DECIMAL(18,2)'}) GROUP BY ALL`,
  );
}
