/**
 * A definition that gains optional fields: the lake's table gains columns in one version, rows from before have null there, and our reader,
 * delta-rs and DuckDB's extension see the same; Redis's state goes on. Anything else is refused in words, and nothing is changed.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decompress } from 'fzstd';
import { parquetReadObjects } from 'hyparquet';
import { ArchiveTable } from '../../batch/archive-table.ts';
import { compact } from '../../batch/compaction.ts';
import { DeltaTable } from '../../batch/delta-log.ts';
import { eventColumns, eventsSql, RowBuffer } from '../../batch/event-table.ts';
import { propertiesOf } from '../../batch/table-rules.ts';
import { DuckDb } from '../../clients/duckdb.ts';
import { readUtf8 } from '../../clients/kafka.ts';
import { LocalObjectStore } from '../../clients/object-store.ts';
import { createDecoder } from '../../domain/decode.ts';
import type { JsonSchema } from '../../domain/field.ts';
import { definePipeline } from '../../domain/pipeline.ts';
import type { Pipeline } from '../../domain/pipeline.ts';
import { StateStore } from '../../stream/state-store.ts';
import { readByOthers } from '../support/lake-readers.ts';
import { startRedis } from '../support/redis-server.ts';
import type { RedisServer } from '../support/redis-server.ts';

const nowMs = 1_795_385_025_894;

function define(
  first: Record<string, JsonSchema> = {},
  last: Record<string, JsonSchema> = {},
  size: '1m' | '2m' = '1m',
): Pipeline {
  return definePipeline({
    name: 'orders',
    event: {
      schema: {
        type: 'object',
        required: ['id', 'at'],
        properties: {
          ...first,
          id: { type: 'string' },
          at: { type: 'integer' },
          amount: { type: 'integer' },
          note: { type: 'string' },
          ...last,
        },
      },
      id: 'id',
      time: { field: 'at', format: 'epoch-ms' },
      ...('tip' in first ? { decimals: { tip: 2 } } : {}),
    },
    aggregates: {
      all: {
        window: { tumbling: size },
        groupBy: 'id',
        where: { amount: { gte: 0 } },
        measures: { n: 'count', sum: { sum: 'amount' } },
      },
    },
  });
}
const narrow = define();
// Before the others: the indexes of all fields shift.
const wide = define({ coupon: { type: 'string' }, tip: { type: 'number' } });
const changed = define({}, { amount: { type: ['integer', 'null'] } });

let folder: string;
let database: DuckDb;
let redis: RedisServer;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'reckon-fields-'));
  database = await DuckDb.open({ memoryLimit: '256MB', threads: 2, tempDirectory: join(folder, 'spill') });
  redis = await startRedis();
});
afterAll(async () => {
  database.close();
  rmSync(folder, { recursive: true, force: true });
  await redis.stop();
});

let lakes = 0;
const newLake = () => new LocalObjectStore(join(folder, `lake-${++lakes}`));

/** Ten records: every third is broken, every second one has headers. */
function rangeOf(pipeline: Pipeline, from: number) {
  const decode = createDecoder(pipeline, readUtf8);
  const rows = new RowBuffer(eventColumns(pipeline));
  for (let offset = from; offset < from + 10; offset++) {
    const event = {
      id: `e${offset}`,
      at: 1_000_000 - offset,
      amount: offset,
      coupon: `c${offset}`,
      tip: offset / 4,
      note: noteOf(offset),
    };
    const record = {
      partition: 0,
      offset,
      timestampMs: nowMs + offset,
      key: Buffer.from([0xff, offset]),
      value: Buffer.from(offset % 3 === 0 ? '{' : JSON.stringify(event)),
      headers: offset % 2 === 0 ? headersOf(offset) : {},
    };
    rows.add(record, decode(record));
  }
  return { partition: 0, expectedOffset: from, nextOffset: from + 10, rows };
}
/** Cannot be compressed: files have about the same size, whatever columns they have, and compaction takes them together. */
const noteOf = (offset: number) =>
  createHash('shake256', { outputLength: 800 }).update(String(offset)).digest('hex');
/** As kafkajs gives them: bytes, texts, lists where a key is repeated. */
const headersOf = (offset: number) => ({
  'tr\u00e4ce\u0000': Buffer.from([0, 255, offset]),
  many: [Buffer.from('a'), 'b', Buffer.alloc(0)],
  none: null,
});

async function rowsOf(archive: ArchiveTable, pipeline: Pipeline) {
  const files = (await archive.files()).map((file) => archive.locationOf(file));
  return database.query(
    `SELECT * EXCLUDE (_timestamp, _time) FROM (${eventsSql(pipeline, files)}) ORDER BY _offset`,
  );
}
const isBroken = (offset: number) => offset % 3 === 0;
const sumOf = (from: number, to: number, value: (offset: number) => number) => {
  let sum = 0;
  for (let offset = from; offset < to; offset++) sum += value(offset);
  return sum;
};

it('rows before and after are the same for us, delta-rs and DuckDB, after compaction and from a checkpoint, too', async () => {
  const store = newLake();
  const before = new ArchiveTable(store, narrow);
  await before.create('topic-id', nowMs);
  for (const from of [0, 10, 20])
    expect(await before.append(database, [rangeOf(narrow, from)], nowMs)).toBe(true);
  // 1. Three archivers start with the new definition at once: one version, whoever makes it.
  const archives = Array.from({ length: 3 }, () => new ArchiveTable(store, wide));
  const { version } = await before.table.refresh();
  expect(await Promise.all(archives.map((archive) => archive.create('topic-id', nowMs)))).toEqual(
    Array(3).fill('topic-id'),
  );
  const archive = archives[0] as ArchiveTable;
  expect((await archive.table.refresh()).version).toBe(version + 1);
  for (const from of [30, 40])
    expect(await archive.append(database, [rangeOf(wide, from)], nowMs)).toBe(true);
  // 2. Everybody sees all rows, and null where there was no column.
  const expected = Array.from({ length: 50 }, (_, offset) => ({
    _partition: 0,
    _offset: BigInt(offset),
    _id: isBroken(offset) ? null : `e${offset}`,
    _rejected: isBroken(offset) ? 'invalid-json' : null,
    amount: isBroken(offset) ? null : BigInt(offset),
    coupon: isBroken(offset) || offset < 30 ? null : `c${offset}`,
  }));
  const headers = 4 * 25;
  const sums = {
    rows: 50,
    sums: {
      _offset: String(sumOf(0, 50, (offset) => offset)),
      amount: String(sumOf(0, 50, (offset) => (isBroken(offset) ? 0 : offset))),
      // Two digits after the point: a fourth of an odd number has two.
      tip: sumOf(30, 50, (offset) =>
        isBroken(offset) || (offset / 4) % 0.25 !== 0 ? 0 : offset / 4,
      ).toFixed(2),
      '[]_headers': String(headers * (1 + 2 / 4) - headers / 4),
    },
  };
  const path = store.location('orders/events');
  const seenByAll = async () => {
    expect(await rowsOf(archive, wide)).toMatchObject(expected);
    const { deltaRs, duckDb } = await readByOthers(path, Object.keys(sums.sums));
    expect([deltaRs, duckDb]).toEqual([sums, sums]);
  };
  await seenByAll();
  // 3. Files with and without the columns become one, by a compactor that knows nothing of either definition.
  const { removed, added, rows } = await compact(new DeltaTable(store, 'orders/events'), store, database, {
    now: () => nowMs,
  });
  expect({ removed, added, rows }).toEqual({ removed: 5, added: 1, rows: 50 });
  await seenByAll();
  // 4. From a checkpoint.
  await archive.table.checkpoint(database, 0);
  expect((await new ArchiveTable(store, wide).table.refresh()).metaData).toEqual(
    (await archive.table.refresh()).metaData,
  );
  await seenByAll();
}, 120_000);

it('headers are read back by DuckDB and by hyparquet as kafkajs gave them, in their order', async () => {
  const store = newLake();
  const archive = new ArchiveTable(store, narrow);
  await archive.create(null, nowMs);
  await archive.append(database, [rangeOf(narrow, 0)], nowMs);
  const given = (offset: number) => [
    ['tr\u00e4ce\u0000', Buffer.from([0, 255, offset]).toString('hex')],
    ...['61', '62', ''].map((value) => ['many', value]),
    ['none', null],
  ];
  const expected = Array.from({ length: 10 }, (_, offset) => (offset % 2 === 0 ? given(offset) : null));
  const [file] = await archive.files();
  const location = file ? archive.locationOf(file) : '';
  const rows = await database.query(
    `SELECT to_json(list_transform(_headers, lambda h: [h.key, lower(hex(h.value))]))::VARCHAR AS headers FROM (${eventsSql(narrow, [location])}) ORDER BY _offset`,
  );
  expect(rows.map(({ headers }) => JSON.parse(String(headers)) as unknown)).toEqual(expected);
  const { buffer } = new Uint8Array(readFileSync(location));
  const compressors = { ZSTD: (input: Uint8Array) => decompress(input) };
  const read = await parquetReadObjects({ file: buffer, compressors, utf8: false, columns: ['_headers'] });
  const pairs = read.map(({ _headers }) =>
    (_headers as { key: string; value: Uint8Array | null }[] | null)?.map(({ key, value }) => [
      key,
      value === null || value === undefined ? null : Buffer.from(value).toString('hex'),
    ]),
  );
  expect(pairs).toEqual(expected.map((list) => list ?? undefined));
});

it('an archiver with the old definition writes nothing into a wider table, and does not narrow it', async () => {
  const store = newLake();
  const [old, next] = [new ArchiveTable(store, narrow), new ArchiveTable(store, wide)];
  await old.create(null, nowMs);
  await old.append(database, [rangeOf(narrow, 0)], nowMs);
  await next.create(null, nowMs);
  const before = await next.table.refresh();
  const error = {
    code: 'invalid-definition',
    message:
      'The lake of pipeline orders was written by other rules: event.schema.properties.coupon: removed; event.schema.properties.tip: removed.',
  };
  await expect(old.append(database, [rangeOf(narrow, 10)], nowMs)).rejects.toMatchObject(error);
  await expect(new ArchiveTable(store, narrow).create(null, nowMs)).rejects.toMatchObject(error);
  expect(await next.table.refresh()).toEqual(before);
  // What it had read is read again by the other.
  expect(await next.append(database, [rangeOf(wide, 10)], nowMs)).toBe(true);
});

it('any other change is refused by name, and the table stays as it is', async () => {
  const store = newLake();
  const archive = new ArchiveTable(store, narrow);
  await archive.create(null, nowMs);
  const before = await archive.table.refresh();
  await expect(new ArchiveTable(store, changed).create(null, nowMs)).rejects.toMatchObject({
    code: 'invalid-definition',
    message:
      'The lake of pipeline orders was written by other rules: event.schema.properties.amount: type changed from integer to ["integer","null"].',
  });
  expect(await archive.table.refresh()).toEqual(before);
});

describe('a table that was made before fields could be added', () => {
  /** It has no headers, and says its rules as a hash only. */
  const oldTable = async () => {
    const store = newLake();
    const { 'reckon.rules': _rules, ...properties } = propertiesOf(narrow, 'topic-id');
    const columns = eventColumns(narrow).filter(({ name }) => name !== '_headers');
    await new DeltaTable(store, 'orders/events').create(columns, properties, nowMs);
    return store;
  };

  it('gains the column of headers and its rules, once', async () => {
    const store = await oldTable();
    for (let i = 0; i < 2; i++)
      expect(await new ArchiveTable(store, narrow).create(null, nowMs)).toBe('topic-id');
    const { version, metaData } = await new DeltaTable(store, 'orders/events').refresh();
    expect(version).toBe(1);
    expect(metaData?.schemaString).toContain('_headers');
    await new ArchiveTable(store, wide).create(null, nowMs);
  });

  it('refuses another definition', async () => {
    const store = await oldTable();
    await expect(new ArchiveTable(store, wide).create(null, nowMs)).rejects.toMatchObject({
      code: 'invalid-definition',
    });
  });
});

describe("Redis's state", () => {
  let partition = 0;
  const state = (pipeline: Pipeline) => new StateStore(redis.redis, pipeline);
  beforeEach(async () => {
    partition++;
    await state(narrow).acquire(partition, 'a', 7, 'topic-id');
  });
  const refused = (named: string) => ({
    code: 'invalid-definition',
    message: expect.stringContaining(named) as string,
  });

  it('goes on under a definition with more fields; then the old one is refused', async () => {
    const acquired = await state(wide).acquire(partition, 'b', 0, 'topic-id');
    expect(acquired).toMatchObject({ baseOffset: 7, epoch: 2, position: { nextOffset: 7 } });
    await expect(state(narrow).acquire(partition, 'c', 0, 'topic-id')).rejects.toMatchObject(
      refused('event.schema.properties.coupon: removed; event.schema.properties.tip: removed'),
    );
    expect(await state(wide).acquire(partition, 'd', 0, 'topic-id')).toMatchObject({ epoch: 3 });
  });

  it('refuses any other change by name, and keeps its owner', async () => {
    await expect(state(changed).acquire(partition, 'b', 0, 'topic-id')).rejects.toMatchObject(
      refused('event.schema.properties.amount: type changed from integer to ["integer","null"]'),
    );
    const otherWindow = define({ coupon: { type: 'string' } }, {}, '2m');
    await expect(state(otherWindow).acquire(partition, 'b', 0, 'topic-id')).rejects.toMatchObject(
      refused('aggregates.all: changed.'),
    );
    expect(await redis.redis.hget(`reckon:{orders:${partition}}:meta`, 'owner')).toBe('a');
  });

  it('that does not say its rules goes on under its own definition only', async () => {
    await redis.redis.del(`reckon:{orders:${partition}}:rules`);
    await expect(state(wide).acquire(partition, 'b', 0, 'topic-id')).rejects.toMatchObject(
      refused('by another definition.'),
    );
    expect(await state(narrow).acquire(partition, 'c', 0, 'topic-id')).toMatchObject({ epoch: 2 });
    expect(await state(wide).acquire(partition, 'd', 0, 'topic-id')).toMatchObject({ epoch: 3 });
  });
});
