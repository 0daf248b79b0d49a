/**
 * Bad input among good events: every rejected record is in the dead-letter topic with its reason and its own bytes, late
 * events are in the late topic, the pipeline goes on, and the accounting identity holds in the reconciliation's report.
 */
import { readFileSync } from 'node:fs';
import type { KafkaMessage } from 'kafkajs';
import type { Report } from '../../domain/report.ts';
import { consumed } from '../support/flights-check.ts';
import { differences, duck, kafka, readTopic, redisCells } from '../support/independent.ts';
import { World, lastJson } from '../support/world.ts';

const minute = 60_000;
/** An hour ago, at the beginning of a minute. */
const beginMs = Math.floor((Date.now() - 60 * minute) / minute) * minute;

interface Sent {
  readonly key: string;
  readonly value: Buffer | null;
}

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const event = (id: string, user: string, atMs: number, amount: number): Sent => ({
  key: user,
  value: json({ id, user, at: atMs, amount }),
});
const good = { id: 'x', user: 'ann', at: beginMs, amount: 1 };

/** Each with the reason that it must be rejected for. */
const bad: readonly (readonly [reason: string, value: Buffer | null])[] = [
  ['invalid-json', Buffer.from('{"id":"x","user":')],
  ['invalid-json', Buffer.from('not JSON at all')],
  ['wrong-type', Buffer.from('[1, 2, 3]')],
  ['wrong-type', Buffer.from('null')],
  ['missing-field', json({ id: 'x', user: 'ann', amount: 1 })],
  ['wrong-type', json({ ...good, amount: '12' })],
  ['wrong-type', json({ ...good, at: 'yesterday' })],
  ['schema-violation', json({ ...good, amount: -1 })],
  ['time-in-future', json({ ...good, at: Date.now() + 24 * 60 * minute })],
  ['number-out-of-range', json({ ...good, amount: 2 ** 53 })],
  ['malformed-string', Buffer.from('{"id":"x","user":"\\ud800","at":1,"amount":1}')],
  ['empty-value', Buffer.alloc(0)],
  ['empty-value', null],
  ['too-large', json({ ...good, padding: 'x'.repeat(1 << 20) })],
  ['invalid-utf8', Buffer.concat([Buffer.from('{"id":"'), Buffer.from([0xc3, 0x28]), Buffer.from('"}')])],
];

const users = ['ann', 'bob', 'cleo', 'dave', 'eve'];
/** Half an hour in order, a quarter of a minute apart, for every user. */
const goodEvents = Array.from({ length: 120 * users.length }, (_, i) => {
  const user = users[i % users.length] ?? '';
  return event(`e${i}`, user, beginMs + Math.floor(i / users.length) * 15_000, i);
});
const duplicates = [goodEvents[7], goodEvents[8]] as Sent[];
/** Their minute was closed long before. */
const late = users.map((user, i) => event(`late${i}`, user, beginMs, 1_000_000));
const afterwards = users.map((user, i) => event(`after${i}`, user, beginMs + 31 * minute, 5));

let world: World;
let name: string;
let dead: KafkaMessage[];
let input: (KafkaMessage & { partition: number })[];

beforeAll(async () => {
  world = new World();
  name = world.name('bad-input');
  const env = {
    RECKON_PIPELINE: world.define(
      name,
      `{
  name: '${name}',
  partitions: 2,
  event: {
    schema: {
      type: 'object',
      required: ['id', 'user', 'at', 'amount'],
      properties: {
        id: { type: 'string' },
        user: { type: 'string' },
        at: { type: 'integer' },
        amount: { type: 'integer', minimum: 0 },
      },
    },
    id: 'id', time: { field: 'at', format: 'epoch-ms' }, key: 'user',
  },
  aggregates: {
    per_minute: { window: { tumbling: '1m' }, groupBy: 'user', measures: { events: 'count', total: { sum: 'amount' } } },
  },
  allowedLateness: '1m',
}`,
    ),
  };
  // The worker and the archiver come first only to save time: all of them start side by side.
  await Promise.all(['stream', 'archive', 'worker'].map((process) => world.start(process, env)));
  const producer = kafka(world.endpoints.kafkaBrokers).producer();
  await producer.connect();
  const step = Math.floor(goodEvents.length / bad.length);
  const mixed = goodEvents.flatMap((message, i) => {
    const rejected = i % step === 0 ? bad[i / step] : undefined;
    return rejected === undefined ? [message] : [{ key: message.key, value: rejected[1] }, message];
  });
  for (const messages of [mixed, duplicates, late, afterwards])
    for (const message of messages.length > 100 ? [messages] : messages.map((one) => [one]))
      await producer.send({ topic: name, messages: message });
  await producer.disconnect();
  const records = goodEvents.length + bad.length + duplicates.length + late.length + afterwards.length;
  await consumed(world, name, records);
  dead = await readTopic(world.endpoints.kafkaBrokers, `${name}.dead-letter`);
  input = await readTopic(world.endpoints.kafkaBrokers, name);
  expect(input).toHaveLength(records);
});
afterAll(() => world.close());

const header = (message: KafkaMessage, key: string): string => String(message.headers?.[key]);

test('each rejected record is in the dead-letter topic once, with its reason, its origin and its own bytes', () => {
  const shown = (reason: string, value: Buffer | null): string =>
    `${reason} ${value === null ? 'null' : value.toString('base64').slice(0, 2_000)}#${value?.length ?? -1}`;
  expect(dead.map((message) => shown(header(message, 'reckon.reason'), message.value)).sort()).toEqual(
    bad.map(([reason, value]) => shown(reason, value)).sort(),
  );
  for (const message of dead) {
    const [partition, offset] = ['partition', 'offset'].map((part) =>
      header(message, `__streams.errors.${part}`),
    );
    const origin = input.find((one) => String(one.partition) === partition && one.offset === offset);
    expect(origin).toBeDefined();
    expect(message.value).toEqual(origin?.value);
    expect(message.key).toEqual(origin?.key);
    expect(header(message, '__streams.errors.topic')).toBe(name);
    expect(header(message, 'reckon.timestamp')).toBe(origin?.timestamp);
    expect(header(message, '__streams.errors.message')).not.toBe('');
  }
});

test('late events are in the late topic with their bytes; nothing else is', async () => {
  const messages = await readTopic(world.endpoints.kafkaBrokers, `${name}.late`);
  expect(messages.map(({ value }) => String(value)).sort()).toEqual(
    late.map(({ value }) => String(value)).sort(),
  );
  for (const message of messages) expect(header(message, 'reckon.late.aggregates')).toBe('["per_minute"]');
});

test('the good events are counted, those after the bad ones, too', async () => {
  const counted = [...goodEvents, ...afterwards].map(({ value }) => String(value));
  const rows = await duck(`SELECT (e.at // ${minute} * ${minute})::BIGINT AS start_ms, e."user" AS u,
      count(*) AS n, sum(e.amount)::BIGINT AS total
    FROM (SELECT from_json(unnest([${counted.map((text) => `'${text}'`).join(', ')}]),
      '{"user":"VARCHAR","at":"BIGINT","amount":"BIGINT"}') AS e) GROUP BY ALL`);
  const expected = new Map(
    rows.flatMap(({ start_ms: startMs, u, n, total }) => {
      const cell = `per_minute · ${String(startMs)} · ["${String(u)}"]`;
      return [
        [`${cell} · rows`, n as bigint],
        [`${cell} · sum:amount`, total as bigint],
      ] as const;
    }),
  );
  expect(expected.size).toBe(2 * users.length * 31);
  expect(differences(await redisCells(world.endpoints.redisUrl, name), expected)).toEqual([]);
});

test('the accounting identity holds in the report: consumed = counted + filtered + duplicate + late + dead', async () => {
  const ended = await world.run('reconcile', ['--scope', 'all', '--json']);
  expect(ended.code).toBe(0);
  const verdict = lastJson(ended);
  expect(verdict).toMatchObject({ records: input.length, unexplained: 0 });
  const report = JSON.parse(readFileSync(String(verdict['reportPath']), 'utf8')) as Report;
  expect(report.verdict).toBe('exact');
  const totals = { consumed: 0, counted: 0, filtered: 0, duplicate: 0, late: 0, dead: 0 };
  expect(report.accounting).toHaveLength(2);
  for (const row of report.accounting) {
    expect(row.holds).toBe(true);
    expect(row.speed).toEqual(row.batch);
    for (const term of Object.keys(totals) as (keyof typeof totals)[])
      totals[term] += Number(row.speed[term]);
  }
  expect(totals).toEqual({
    consumed: input.length,
    counted: goodEvents.length + afterwards.length,
    filtered: 0,
    duplicate: duplicates.length,
    late: late.length,
    dead: bad.length,
  });
  const byReason: Record<string, string> = {};
  for (const [reason] of bad) byReason[reason] = String(Number(byReason[reason] ?? 0) + 1);
  expect(report.deadByReason).toEqual(byReason);
});
