/** Files of every format become rows without loss: what a cell, a column or a line holds is what the topic gets. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { DuckDb, quoteLiteral } from '../../clients/duckdb.ts';
import { definePipeline } from '../../domain/pipeline.ts';
import type { EventInput } from '../../domain/pipeline.ts';
import { describeFile } from '../../ingest/source-file.ts';
import type { SourceRow } from '../../ingest/source-file.ts';
import { openSource } from '../../ingest/source.ts';

let dir: string;
let db: DuckDb;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'reckon-source-'));
  db = await DuckDb.open({ memoryLimit: '128MB', threads: 1, tempDirectory: join(dir, 'spill') });
});
afterAll(() => {
  db.close();
  rmSync(dir, { recursive: true, force: true });
});

const nullable = (type: string): { type: string[] } => ({ type: [type, 'null'] });

function pipelineWith(event: Partial<EventInput> = {}) {
  return definePipeline({
    name: 'sales',
    event: {
      schema: {
        type: 'object',
        properties: {
          id: { type: 'string' },
          at: { type: 'string' },
          zip: { type: 'string' },
          amount: { type: 'number' },
          note: nullable('string'),
          vip: { type: 'boolean' },
          user: { type: 'object', properties: { name: nullable('string'), age: { type: 'integer' } } },
        },
      },
      id: 'id',
      time: 'at',
      ...event,
    },
    aggregates: { all: { window: { tumbling: '1h' }, measures: { n: 'count' } } },
  });
}

async function rowsOf(name: string, content?: string | Buffer, event?: Partial<EventInput>) {
  const file = join(dir, name);
  if (content !== undefined) writeFileSync(file, content);
  const source = await openSource(describeFile(file), pipelineWith(event), db);
  const rows: SourceRow[] = [];
  for await (const chunk of source.rows) rows.push(...chunk);
  return rows;
}

/** Writes a Parquet file with the result of a query. */
async function parquet(name: string, select: string, event?: Partial<EventInput>): Promise<SourceRow[]> {
  await db.run(`COPY (${select}) TO ${quoteLiteral(join(dir, name))} (FORMAT parquet)`);
  return rowsOf(name, undefined, event);
}

describe('NDJSON', () => {
  it('keeps every line as it is, malformed ones too, and skips blank ones', async () => {
    const lines = ['{"a":1.10,"b":12345678901234567890}', '{"broken', '5', '{"ü":"\\u00fc 😀"}'];
    expect(
      await rowsOf('a.ndjson', `\uFEFF${lines[0]}\r\n\n${lines[1]}\n  \n${lines[2]}\n${lines[3]}`),
    ).toEqual(lines);
  });

  it('keeps the bytes of a line that is not UTF-8', async () => {
    const bad = Buffer.from([0x7b, 0xff, 0xfe, 0x7d]);
    const content = Buffer.concat([Buffer.from('{"a":1}\n'), bad, Buffer.from('\r\n{"a":"ü"}\n')]);
    expect(await rowsOf('bytes.jsonl', content)).toEqual(['{"a":1}', bad, '{"a":"ü"}']);
  });

  it('joins lines across blocks, packed or not', async () => {
    const lines = Array.from({ length: 9_000 }, (_, i) => JSON.stringify({ i, text: 'ü'.repeat(i % 97) }));
    lines.push(JSON.stringify({ long: 'x'.repeat(700_000) }));
    const content = lines.join('\n');
    expect(await rowsOf('long.ndjson', content)).toEqual(lines);
    expect(await rowsOf('long.ndjson.gz', gzipSync(content))).toEqual(lines);
  });

  it('is recognised under the name .json', async () => {
    expect(await rowsOf('lines.json', '{"a":1}\n{"a":\n{"a":3}\n')).toEqual(['{"a":1}', '{"a":', '{"a":3}']);
  });

  it('tells a truncated gzip file', async () => {
    const whole = gzipSync(Array.from({ length: 50_000 }, (_, i) => `{"i":${i * 7919}}`).join('\n'));
    await expect(rowsOf('torn.ndjson.gz', whole.subarray(0, whole.length / 2))).rejects.toMatchObject({
      code: 'invalid-input',
      message: expect.stringMatching(/^torn\.ndjson\.gz cannot be read: unexpected end of file\.$/) as string,
    });
  });
});

describe('JSON arrays', () => {
  const elements = [
    '{"a":1.10, "b":12345678901234567890123,"c":{"d":[1, null]}}',
    '{"ü":"\\u00fc"}',
    '5',
    'null',
  ];

  it('gives the exact text of each element', async () => {
    const content = ` [\n${elements.join(' ,\n')}\n]\n`;
    expect(await rowsOf('a.json', content)).toEqual(elements);
    expect(await rowsOf('a.json.gz', gzipSync(content))).toEqual(elements);
    expect(await rowsOf('none.json', '[]')).toEqual([]);
  });

  it('reads objects that stand over several lines without an array', async () => {
    expect(await rowsOf('pretty.json', '{\n "a": 1\n}\n{\n "a": 2\n}\n')).toEqual([
      '{\n "a": 1\n}',
      '{\n "a": 2\n}',
    ]);
  });

  it('tells a truncated array in one line', async () => {
    await expect(rowsOf('torn.json', '[{"a":1},{"a":')).rejects.toMatchObject({
      code: 'invalid-input',
      message: expect.stringMatching(
        /^torn\.json cannot be read: Malformed JSON .* end of data\.$/,
      ) as string,
    });
  });

  it('takes no character of the name for a wildcard', async () => {
    writeFileSync(join(dir, 'b1.json'), '[{"wrong":1}]');
    expect(await rowsOf("b[1]*?'.json", '[{"right":1}]')).toEqual(['{"right":1}']);
  });
});

describe('CSV', () => {
  it('follows the schema: digits, zeros, quotes, line breaks and empty cells', async () => {
    const csv = [
      'id,at,zip,amount,note,vip,other',
      'a,2001-01-31T10:00:00+02:00,00501,12.30,"He said ""hi"", ok",true,7',
      'b,2001/01/31 10:00,10001,0.1,"two\nlines",FALSE,8',
      'c,2001-01-31,,9007199254740993,ünï 😀,,9',
      'd,never,7,N/A,"",maybe,"10"',
      ',,,,,,',
      '',
    ].join('\n');
    expect(await rowsOf('a.csv', csv)).toEqual([
      '{"id":"a","at":"2001-01-31T10:00:00+02:00","zip":"00501","amount":12.30,"note":"He said \\"hi\\", ok","vip":true,"other":7}',
      '{"id":"b","at":"2001-01-31T10:00:00Z","zip":"10001","amount":0.1,"note":"two\\nlines","vip":false,"other":8}',
      '{"id":"c","at":"2001-01-31T00:00:00Z","amount":9007199254740993,"note":"ünï 😀","other":9}',
      '{"id":"d","at":"never","zip":"7","amount":"N/A","note":"","vip":"maybe","other":10}',
      '{"note":null}',
    ]);
  });

  it('guesses the type of columns that the schema does not have, without rounding', async () => {
    const csv = 'when;price;flag;code\n31.01.2001;0.10;true;x\n01.02.2001;12345678901234567.89;false;\n';
    expect(await rowsOf('b.csv', csv)).toEqual([
      '{"when":"2001-01-31T00:00:00Z","price":0.10,"flag":true,"code":"x"}',
      '{"when":"2001-02-01T00:00:00Z","price":12345678901234567.89,"flag":false}',
    ]);
  });

  it('turns a timestamp into the number that the event time is declared as', async () => {
    const at = { type: 'integer' };
    for (const [format, wanted] of [
      ['epoch-s', '980935200'],
      ['epoch-ms', '980935200000'],
      ['epoch-us', '980935200000000'],
    ] as const) {
      const event = { schema: { properties: { id: { type: 'string' }, at } }, time: { field: 'at', format } };
      expect(await rowsOf('t.csv', `id,at\na,2001-01-31 10:00:00\nb,5\n`, event)).toEqual([
        `{"id":"a","at":${wanted}}`,
        '{"id":"b","at":5}',
      ]);
    }
  });

  it('reads packed files, tabs, Windows line ends, a lone column and a byte order mark', async () => {
    expect(await rowsOf('c.csv.gz', gzipSync('id,amount\na,.5\nb,007\n'))).toEqual([
      '{"id":"a","amount":0.5}',
      '{"id":"b","amount":7.0}',
    ]);
    expect(await rowsOf('c.tsv', '\uFEFFid\tamount\r\na,b\t1\r\n')).toEqual(['{"id":"a,b","amount":1}']);
    expect(await rowsOf('one.csv', 'id\n1\n')).toEqual(['{"id":"1"}']);
    expect(await rowsOf('header.csv', 'id,amount\n')).toEqual([]);
    expect(await rowsOf('empty.csv', '')).toEqual([]);
    expect(await rowsOf('empty.csv.gz', gzipSync(''))).toEqual([]);
  });

  it('names the line of a row that does not fit the header', async () => {
    await expect(rowsOf('short.csv', 'id,amount\na,1\nb\nc,3\n')).rejects.toMatchObject({
      message: 'short.csv cannot be read: line 3: 1 columns where the header has 2.',
    });
  });

  it('keeps a cell that breaks the type of the 50,000 before it', async () => {
    const csv = `amount,x\n${'1,1\n'.repeat(50_000)}N/A,oops\n`;
    const rows = await rowsOf('late.csv', csv);
    expect(rows).toHaveLength(50_001);
    expect(rows.at(-1)).toBe('{"amount":"N/A","x":"oops"}');
  });
});

describe('Parquet', () => {
  it('keeps every digit and writes times as ISO 8601 in UTC', async () => {
    const [row] = await parquet(
      'a.parquet',
      `SELECT 12.30::DECIMAL(10,2) AS money, -0.5::DECIMAL(3,3) AS part, 0.1::DOUBLE AS d, 0.1::FLOAT AS f,
        9007199254740991 AS safe, 9223372036854775807 AS big, 12345678901234567890.12345::DECIMAL(38,5) AS huge,
        true AS yes, 'a"\\ü😀' AS text, '\\xAA'::BLOB AS bytes, 'nan'::DOUBLE AS nan,
        TIMESTAMP '2001-01-31 10:00:00.5' AS ts, TIMESTAMPTZ '2001-01-31 10:00:00+02' AS tz,
        DATE '2001-01-31' AS day, TIME '10:00' AS clock, NULL::INTEGER AS missing, NULL::VARCHAR AS note`,
    );
    expect(row).toBe(
      '{"money":12.30,"part":-0.500,"d":0.1,"f":0.1,"safe":9007199254740991,"big":9223372036854775807,' +
        '"huge":12345678901234567890.12345,"yes":true,"text":"a\\"\\\\ü😀","bytes":"qg==",' +
        '"ts":"2001-01-31T10:00:00.5Z","tz":"2001-01-31T08:00:00Z","day":"2001-01-31T00:00:00Z","clock":"10:00:00",' +
        '"note":null}',
    );
  });

  it('keeps nested values', async () => {
    const [row] = await parquet(
      'nested.parquet',
      `SELECT {'name': NULL::VARCHAR, 'age': NULL::INTEGER, 'tags': ['a"', NULL]} AS user, [1.10::DECIMAL(4,2), NULL] AS list,
        [[1], []::INTEGER[], [2, 3]] AS lists, MAP {'k"': 1.5::DECIMAL(4,1)} AS map, NULL::STRUCT(a INTEGER) AS none,
        [{'at': TIMESTAMP '2001-01-31 00:00:00'}] AS structs`,
    );
    expect(row).toBe(
      '{"user":{"name":null,"tags":["a\\"",null]},"list":[1.10,null],"lists":[[1],[],[2,3]],"map":{"k\\"":1.5},' +
        '"structs":[{"at":"2001-01-31T00:00:00Z"}]}',
    );
    expect(() => JSON.parse(String(row)) as unknown).not.toThrow();
  });

  it('turns the event time into the declared number, nested too', async () => {
    const select = `SELECT {'at': TIMESTAMP '2001-01-31 10:00:00.25', 'other': DATE '2001-01-31'} AS meta`;
    const schema = {
      properties: { id: { type: 'string' }, meta: { properties: { at: { type: 'number' } } } },
    };
    for (const [format, wanted] of [
      ['epoch-s', '980935200.25'],
      ['epoch-ms', '980935200250'],
      ['epoch-us', '980935200250000'],
    ] as const) {
      const event = { schema, time: { field: 'meta.at', format } };
      expect(await parquet('time.parquet', select, event)).toEqual([
        `{"meta":{"at":${wanted},"other":"2001-01-31T00:00:00Z"}}`,
      ]);
    }
  });

  it('comes in the order of the file, whatever the number of threads', async () => {
    const parallel = await DuckDb.open({
      memoryLimit: '256MB',
      threads: 2,
      tempDirectory: join(dir, 'spill2'),
    });
    await db.run(`COPY (SELECT range AS n FROM range(400000)) TO ${quoteLiteral(join(dir, 'order.parquet'))}
      (FORMAT parquet, ROW_GROUP_SIZE 20000)`);
    const source = await openSource(describeFile(join(dir, 'order.parquet')), pipelineWith(), parallel);
    let next = 0;
    let misplaced = 0;
    for await (const rows of source.rows)
      for (const row of rows) if (row !== `{"n":${next++}}`) misplaced += 1;
    expect({ next, misplaced }).toEqual({ next: 400_000, misplaced: 0 });
    expect(source.fraction(100_000)).toBe(0.25);
    parallel.close();
  });

  it('refuses a file that is no Parquet in one line', async () => {
    await expect(rowsOf('fake.parquet', 'not parquet, but long enough to look')).rejects.toMatchObject({
      code: 'invalid-input',
      message: expect.stringMatching(/^fake\.parquet cannot be read: [^\n]+\.$/) as string,
    });
  });
});

describe('names', () => {
  it('tells an unknown ending and an absent file', () => {
    writeFileSync(join(dir, 'a.txt'), 'x');
    writeFileSync(join(dir, 'a.parquet.gz'), 'x');
    expect(() => describeFile(join(dir, 'a.txt'))).toThrow(/^The format of .*a\.txt is unknown\.$/);
    expect(() => describeFile(join(dir, 'a.parquet.gz'))).toThrow(/^The format of .* is unknown\.$/);
    expect(() => describeFile(join(dir, 'nope.csv'))).toThrow(/^There is no file .*nope\.csv\.$/);
  });
});
