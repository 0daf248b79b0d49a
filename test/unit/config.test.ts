/** What the environment may say, and how a wrong variable is named. */
import { join, resolve } from 'node:path';
import { readConfig, toEnvironment } from '../../apps/config.ts';

const redisUrlOf = (url: string) => readConfig({ RECKON_HOME: __dirname, REDIS_URL: url }).redisUrl;

it.each([
  'redis://127.0.0.1:6379',
  'rediss://user:p%2Cw@redis.example:6380/0',
  'redis://127.0.0.1:7001,redis://127.0.0.1:7002',
  'rediss://:secret@a:7001, rediss://:secret@b:7002,rediss://:secret@c:7003',
])('REDIS_URL may be %s', (url) => {
  expect(redisUrlOf(url)).toBe(url);
});

it.each([
  ['127.0.0.1:6379', /REDIS_URL: must be redis:\/\/host:port or rediss:/],
  ['redis://a:7001,b:7002', /REDIS_URL: must be redis:/],
  ['redis://a:7001,', /REDIS_URL: must be redis:/],
  ['redis://:p,w@a:7001', /REDIS_URL: must be redis:/],
  ['redis://a:port', /REDIS_URL: must be redis:/],
  ['redis://:secret@a:7001,redis://b:7002', /REDIS_URL: names nodes with different passwords or schemes/],
])('REDIS_URL may not be %s', (url, message) => {
  expect(() => redisUrlOf(url)).toThrow(message);
});

const lakeUrlOf = (url: string) => readConfig({ RECKON_HOME: __dirname, LAKE_URL: url }).lakeUrl;

it.each([
  ['s3://bucket', 's3://bucket'],
  ['s3://bucket/', 's3://bucket'],
  ['s3://my.bucket-1/a/b c/', 's3://my.bucket-1/a/b c'],
  ['file:///srv/a%20lake', '/srv/a lake'],
  ['/srv/lake', '/srv/lake'],
  ['./lake', join(process.cwd(), 'lake')],
  ['', join(__dirname, 'lake')],
])('LAKE_URL may be %s, and other processes are told the same', (url, expected) => {
  expect(lakeUrlOf(url)).toBe(expected);
  const config = readConfig({ RECKON_HOME: __dirname, LAKE_URL: url, LAKE_CACHE_BYTES: '12' });
  const told = readConfig(toEnvironment(config));
  expect([told.lakeUrl, told.lakeCacheBytes]).toEqual([expected, 12]);
});

it.each([
  's3://',
  's3://Bucket',
  's3://b',
  's3://bucket//x',
  's3://key:secret@bucket',
  's3:bucket',
  'gs://bucket',
  'file://lake',
  'https://s3.example/bucket',
])('LAKE_URL may not be %s', (url) => {
  expect(() => lakeUrlOf(url)).toThrow(
    /^The environment is wrong: LAKE_URL: must be s3:\/\/bucket\[\/prefix\], file:\/\/\/folder, or the path of a folder\.$/,
  );
});

it('local copies of a lake may take 10 GiB, or what LAKE_CACHE_BYTES says', () => {
  expect(readConfig({ RECKON_HOME: __dirname }).lakeCacheBytes).toBe(10_737_418_240);
  expect(() => readConfig({ RECKON_HOME: __dirname, LAKE_CACHE_BYTES: '10GB' })).toThrow(
    /LAKE_CACHE_BYTES: /,
  );
});

it('LAKE_COLD_DIR is a folder, or nothing, and processes that are started see the same', () => {
  const read = (env: NodeJS.ProcessEnv) => readConfig({ RECKON_HOME: __dirname, ...env });
  expect(read({}).lakeColdDir).toBeNull();
  expect(toEnvironment(read({}))).not.toHaveProperty('LAKE_COLD_DIR');
  const config = read({ LAKE_COLD_DIR: 'cold-disk' });
  expect(config.lakeColdDir).toBe(resolve('cold-disk'));
  expect(readConfig(toEnvironment(config)).lakeColdDir).toBe(config.lakeColdDir);
});

it.each([
  ['/srv/lake', '/srv/lake/'],
  ['file:///srv/lake', '/srv/cold/../lake'],
  ['/srv/lake', '/srv/lake/..cold'],
  ['/srv/lake', '/srv'],
  ['/srv/lake', '/'],
  ['', join(__dirname, 'lake', 'cold')],
])('of the lake %j LAKE_COLD_DIR may not be %s', (lake, cold) => {
  const read = () => readConfig({ RECKON_HOME: __dirname, LAKE_URL: lake, LAKE_COLD_DIR: cold });
  expect(read).toThrow(
    /^LAKE_COLD_DIR \(\S+\) must be apart from the lake's folder \(LAKE_URL: \S+\), .*\.$/,
  );
});

it.each([
  ['/srv/lake', '/srv/lake-cold'],
  ['/srv/lake', '/srv/cold'],
  ['s3://bucket/srv', '/srv'],
])('of the lake %s LAKE_COLD_DIR may be %s', (lake, cold) => {
  const config = readConfig({ RECKON_HOME: __dirname, LAKE_URL: lake, LAKE_COLD_DIR: cold });
  expect([config.lakeUrl, config.lakeColdDir]).toEqual([lake, cold]);
});
