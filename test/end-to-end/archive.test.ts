/**
 * The archiver as a process: it writes when somebody waits for its rows, however long it may hold them otherwise; headers are in the
 * lake; a definition that gains a field goes on with its state and its lake, and what others read of the table is right.
 */
import { join } from 'node:path';
import { eventually } from '../support/eventually.ts';
import { consumed } from '../support/flights-check.ts';
import { duck, kafka, lakeFrom, lakeRows } from '../support/independent.ts';
import { readByOthers } from '../support/lake-readers.ts';
import { World, lastJson } from '../support/world.ts';

let world: World;
beforeAll(() => {
  world = new World();
});
afterAll(() => world.close());

/** Rows wait for an hour, unless somebody wants them. */
const patient = { ARCHIVE_ROLL_MS: '3600000' };
const atMs = Date.UTC(2026, 0, 1);

interface Sent {
  readonly id: string;
  readonly [field: string]: unknown;
}

async function send(
  topic: string,
  events: readonly Sent[],
  headers?: Record<string, string | string[]>,
): Promise<void> {
  const producer = kafka(world.endpoints.kafkaBrokers).producer();
  await producer.connect();
  try {
    const messages = events.map((event) => ({
      key: event.id,
      value: JSON.stringify({ at: atMs + Number(event.id.slice(1)) * 1_000, ...event }),
      ...(headers === undefined ? {} : { headers }),
    }));
    await producer.send({ topic, acks: -1, messages });
  } finally {
    await producer.disconnect();
  }
}

const definition = (name: string, more = '', amountType = 'integer', moreAggregates = '') => `{
  name: '${name}',
  event: {
    schema: { type: 'object', required: ['id', 'at'], properties: {
      ${more} id: { type: 'string' }, at: { type: 'integer' }, shop: { type: 'string' }, amount: { type: '${amountType}' },
    } },
    id: 'id', time: { field: 'at', format: 'epoch-ms' },
  },
  aggregates: {
    by_shop: { window: { tumbling: '1m' }, groupBy: 'shop', where: { amount: { gte: 0 } }, measures: { n: 'count', sum: { sum: 'amount' } } },
    ${moreAggregates}
  },
}`;
const eventOf = (i: number): Sent => ({ id: `e${i}`, shop: `s${i % 3}`, amount: i });
const events = (from: number, to: number, more: (i: number) => object = () => ({})) =>
  Array.from({ length: to - from }, (_, i) => ({ ...eventOf(from + i), ...more(from + i) }));
const reconcile = (env: Record<string, string>) => world.run('reconcile', ['--scope', 'all', '--json'], env);

test('rows that would wait for an hour are written when a reconciliation waits for them; headers are in the lake', async () => {
  const name = world.name('wanted');
  const env = { RECKON_PIPELINE: world.define(name, definition(name)), ...patient };
  const table = join(world.lake, name, 'events');
  for (const command of ['stream', 'archive', 'worker']) await world.start(command, env);
  await send(name, events(0, 100));
  await send(name, events(100, 110), { trace: 'a\u00e9', many: ['1', '2'] });
  await consumed(world, name, 110);
  expect(lakeRows(table)).toBe(0);
  expect(lastJson(await reconcile(env))).toMatchObject({
    records: 110,
    counted: 110,
    unexplained: 0,
    lag: 0,
  });
  expect(lakeRows(table)).toBe(110);
  // Once more: what was asked for before is there, and asks for nothing.
  await send(name, events(110, 120));
  await consumed(world, name, 120);
  expect(lakeRows(table)).toBe(110);
  expect(lastJson(await reconcile(env))).toMatchObject({
    records: 120,
    counted: 120,
    unexplained: 0,
    lag: 0,
  });
  expect(lakeRows(table)).toBe(120);
  const rows = await duck(
    `SELECT _id, list_transform(_headers, lambda h: h.key || '=' || decode(h.value)) AS headers FROM ${lakeFrom(table)} ORDER BY id`,
  );
  expect(rows).toHaveLength(120);
  const withHeaders = rows.filter(({ headers }) => headers !== null);
  expect(withHeaders.map(({ _id }) => _id).sort()).toEqual(
    events(100, 110)
      .map(({ id }) => id)
      .sort(),
  );
  for (const { headers } of withHeaders)
    expect((headers as { items: unknown[] }).items).toEqual(['trace=a\u00e9', 'many=1', 'many=2']);
}, 180_000);
