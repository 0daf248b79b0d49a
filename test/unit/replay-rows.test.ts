/** Rows become events: ids from the content, keys from the event alone, and no needless change of the text. */
import { definePipeline } from '../../domain/pipeline.ts';
import type { EventInput, Pipeline, PipelineInput } from '../../domain/pipeline.ts';
import { createRowReader, deriveId, eventTimeOf, parseObject } from '../../ingest/row-event.ts';

function pipelineWith(
  event: Partial<EventInput> = {},
  map?: (row: Record<string, unknown>) => unknown,
): Pipeline {
  return definePipeline({
    name: 'sales',
    event: {
      schema: {
        properties: {
          id: { type: 'string' },
          at: { type: 'string' },
          shop: { type: 'string' },
          meta: { properties: { id: { type: 'string' } } },
        },
      },
      id: 'id',
      time: 'at',
      ...event,
    },
    aggregates: { all: { window: { tumbling: '1h' }, measures: { n: 'count' } } },
    ...(map === undefined ? {} : { replay: { map: map as NonNullable<PipelineInput['replay']>['map'] } }),
  } as PipelineInput);
}

describe('derived ids', () => {
  const read = createRowReader(pipelineWith({ key: 'shop' }));

  it('are the same for the same row at the same place, and different otherwise', () => {
    const row = '{"shop":"A","at":"2001-01-01T00:00:00Z"}';
    const idAt = (text: string, n: number): unknown => parseObject(String(read(text, n).value))?.['id'];
    expect(idAt(row, 3)).toBe(idAt(row, 3));
    expect(idAt(row, 3)).not.toBe(idAt(row, 4));
    expect(idAt(row, 3)).not.toBe(idAt(row.replace('A', 'B'), 3));
    expect(idAt(row, 3)).toMatch(/^[\w-]{22}$/);
  });

  it('are fixed for ever: another id would count a replayed file twice', () => {
    expect(deriveId('{"a":1}', 0)).toBe('aqseCoVf6pOSwq6wCZjecu');
    expect(deriveId(Buffer.from('{"a":1}'), 0)).toBe(deriveId('{"a":1}', 0));
  });

  it('are written in front of the untouched text', () => {
    const text = '{ "n": 1.10, "big": 12345678901234567890, "shop":"A" }';
    expect(read(text, 0).value).toBe(
      `{"id":"${deriveId(text, 0)}", "n": 1.10, "big": 12345678901234567890, "shop":"A" }`,
    );
    expect(read('{ }', 1).value).toBe(`{"id":"${deriveId('{ }', 1)}"}`);
  });

  it('replace a null', () => {
    const text = '{"id":null,"shop":"A"}';
    expect(read(text, 0).value).toBe(`{"id":"${deriveId(text, 0)}","shop":"A"}`);
  });

  it('go where the definition says, nested too, and never over what is there', () => {
    const nested = createRowReader(pipelineWith({ id: 'meta.id' }));
    expect(nested('{"a":1}', 0).value).toBe(`{"meta":{"id":"${deriveId('{"a":1}', 0)}"},"a":1}`);
    const partial = '{"meta":{"x":1}}';
    expect(nested(partial, 0).value).toBe(`{"meta":{"x":1,"id":"${deriveId(partial, 0)}"}}`);
    expect(nested('{"meta":5}', 0).value).toBe('{"meta":5}');
    expect(nested('{"meta":{"id":"own"}}', 0).value).toBe('{"meta":{"id":"own"}}');
  });
});

describe('keys', () => {
  it('come from keyPath, else from the id, else from the row', () => {
    const read = createRowReader(pipelineWith({ key: 'shop' }));
    expect(read('{"id":"x","shop":"A"}', 0).key).toBe('A');
    expect(read('{"id":"x","shop":null}', 0).key).toBe('x');
    expect(read('{"id":"x","shop":{}}', 0).key).toBe('x');
    expect(read('{"n":1}', 5).key).toBe(deriveId('{"n":1}', 5));
    expect(read('{broken', 6)).toEqual({ key: deriveId('{broken', 6), value: '{broken', event: undefined });
  });

  it('are salted by the id where they are hot, in every bucket, and equally for equal ids', () => {
    const read = createRowReader(pipelineWith({ key: 'shop', salting: { buckets: 4, keys: ['A'] } }));
    const keyOf = (id: string, shop: string) => read(JSON.stringify({ id, shop }), 0).key;
    const keys = Array.from({ length: 200 }, (_, i) => keyOf(`id ${i}`, 'A'));
    expect([...new Set(keys)].sort()).toEqual(['A#0', 'A#1', 'A#2', 'A#3']);
    expect(Array.from({ length: 200 }, (_, i) => keyOf(`id ${i}`, 'A'))).toEqual(keys);
    expect(keyOf('id 1', 'B')).toBe('B');
    // The bucket is part of the definition: producers in other languages work it out themselves.
    expect([keyOf('a', 'A'), keyOf('é', 'A'), keyOf('', 'A')]).toEqual(['A#0', 'A#0', 'A#1']);
  });

  it('keep all digits of a 64-bit integer', () => {
    const read = createRowReader(pipelineWith());
    const [a, b] = ['{"id":9007199254740993}', '{"id":9007199254740992}'];
    expect(read(a, 0)).toMatchObject({ key: '9007199254740993', value: a });
    expect(read(b, 0)).toMatchObject({ key: '9007199254740992', value: b });
  });
});

describe('replay.map', () => {
  it('makes the event; the id stays a hash of the row in the file', () => {
    const read = createRowReader(
      pipelineWith({}, ({ when, ...rest }) => ({ ...rest, at: `${String(when)}Z` })),
    );
    const row = '{"when":"2001-01-01T00:00:00","shop":"A"}';
    const { value, event } = read(row, 7);
    expect(value).toBe(`{"id":"${deriveId(row, 7)}","shop":"A","at":"2001-01-01T00:00:00Z"}`);
    expect(eventTimeOf(pipelineWith(), event)).toBe(Date.UTC(2001, 0, 1));
  });

  it('sees integers beyond 2^53 as texts with all of their digits', () => {
    const read = createRowReader(pipelineWith({}, ({ tweet, ...rest }) => ({ id: String(tweet), ...rest })));
    expect(
      read('{"tweet":9223372036854775807,"s":"9223372036854775806\\"1","n":9007199254740991}', 0).value,
    ).toBe('{"id":"9223372036854775807","s":"9223372036854775806\\"1","n":9007199254740991}');
  });

  it('is not asked for rows that are no objects', () => {
    const read = createRowReader(pipelineWith({}, () => ({ id: 'never' })));
    for (const row of ['{"broken', '[1]', 'null', '"x"']) expect(read(row, 0).value).toBe(row);
  });

  it('fails in one line that names the row', () => {
    const throwing = createRowReader(pipelineWith({}, (row) => ({ x: (row['a'] as { b: string }).b })));
    expect(() => throwing('{}', 41)).toThrow(
      /^replay\.map of pipeline sales failed at row 42: Cannot read prop[^\n]*\.$/,
    );
    const empty = createRowReader(pipelineWith({}, () => undefined));
    expect(() => empty('{}', 0)).toThrow(
      'replay.map of pipeline sales failed at row 1: it must return an object.',
    );
  });
});

it('parses texts of megabytes and refuses what JSON refuses', () => {
  const long = 'x\\"'.repeat(2_000_000);
  expect(parseObject(`{"s":"${long}","n":12345678901234567890}`)).toEqual({
    s: 'x"'.repeat(2_000_000),
    n: '12345678901234567890',
  });
  expect(parseObject('{"n":012345678901234567890}')).toBeUndefined();
});
