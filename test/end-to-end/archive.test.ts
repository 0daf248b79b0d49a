/**
 * The archiver as a process: it writes when somebody waits for its rows, however long it may hold them otherwise; headers are in the
 * lake; a definition that gains a field goes on with its state and its lake, and what others read of the table is right.
 */
import { join } from 'node:path';
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
  const processes = [];
  for (const command of ['stream', 'archive', 'worker']) processes.push(await world.start(command, env));
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
  for (const process of processes) expect((await process.end('SIGTERM')).code).toBe(0);
}, 180_000);

test('a definition gains a field: counts and lake go on, the field is in the lake, and all read the same', async () => {
  const name = world.name('gains');
  const table = join(world.lake, name, 'events');
  const envOf = (more?: string, amountType?: string, moreAggregates?: string) => ({
    RECKON_PIPELINE: world.define(
      `${name}-${++definitions}`,
      definition(name, more, amountType, moreAggregates),
    ),
    ...patient,
  });
  let definitions = 0;
  const env = envOf();
  const worker = await world.start('worker', env);
  let processes = [await world.start('stream', env), await world.start('archive', env)];
  await send(name, events(0, 50));
  await consumed(world, name, 50);
  expect(lastJson(await reconcile(env))).toMatchObject({ records: 50, counted: 50, unexplained: 0 });
  // 1. Waits in the archiver and in open windows while the definition changes; the new field comes first, so that all indexes shift.
  await send(name, events(50, 60));
  await consumed(world, name, 60);
  for (const process of [...processes, worker]) expect((await process.end('SIGTERM')).code).toBe(0);
  const wide = envOf(`coupon: { type: 'string' }, points: { type: 'integer' },`);
  processes = [];
  for (const command of ['archive', 'stream', 'worker']) processes.push(await world.start(command, wide));
  // 2. Duplicates of what was counted before are known; the groups and sums of the open windows go on.
  await send(
    name,
    events(40, 100, (i) => ({ coupon: `c${i}`, points: i })),
  );
  await consumed(world, name, 120);
  expect(lastJson(await reconcile(wide))).toMatchObject({
    records: 120,
    counted: 100,
    duplicate: 20,
    unexplained: 0,
    lag: 0,
  });
  // 3. What others read, from files with and without the columns.
  const sum = (from: number, to: number) => String(((from + to - 1) * (to - from)) / 2);
  const amount = String(Number(sum(0, 60)) + Number(sum(40, 100)));
  const expected = { rows: 120, sums: { amount, points: sum(40, 100) } };
  const { deltaRs, duckDb } = await readByOthers(table, ['amount', 'points']);
  expect([deltaRs, duckDb]).toEqual([expected, expected]);
  for (const process of processes) expect((await process.end('SIGTERM')).code).toBe(0);
  // 4. The old definition, another type, and another aggregate are refused by name.
  const refusals: [string, Record<string, string>, string][] = [
    ['archive', env, 'event.schema.properties.coupon: removed'],
    ['stream', env, 'event.schema.properties.coupon: removed'],
    [
      'archive',
      envOf(`coupon: { type: 'integer' }, points: { type: 'integer' },`),
      'event.schema.properties.coupon: type changed from string to integer',
    ],
    [
      'stream',
      envOf(`coupon: { type: 'integer' }, points: { type: 'integer' },`),
      'event.schema.properties.coupon: type changed from string to integer',
    ],
    [
      'stream',
      envOf(
        `coupon: { type: 'string' }, points: { type: 'integer' },`,
        'integer',
        `more: { window: { tumbling: '1m' }, measures: { n: 'count' } },`,
      ),
      'aggregates.more: added',
    ],
  ];
  for (const [command, other, named] of refusals) {
    const { code, stderr } = await world.run(command, [], other);
    expect([command, code]).toEqual([command, 1]);
    const line = stderr.split('\n').find((text) => text.startsWith('reckon: ')) ?? '';
    expect(line).toMatch(/^reckon: The (state|lake) of pipeline .*give the pipeline a new name\.$/);
    expect(line).toContain(named);
    expect(stderr).not.toMatch(/^\s+at /m);
  }
}, 240_000);
