/** What the environment may say, and how a wrong variable is named. */
import { resolve } from 'node:path';
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

it('LAKE_COLD_DIR is a folder, or nothing, and processes that are started see the same', () => {
  const read = (env: NodeJS.ProcessEnv) => readConfig({ RECKON_HOME: __dirname, ...env });
  expect(read({}).lakeColdDir).toBeNull();
  expect(toEnvironment(read({}))).not.toHaveProperty('LAKE_COLD_DIR');
  const config = read({ LAKE_COLD_DIR: 'cold-disk' });
  expect(config.lakeColdDir).toBe(resolve('cold-disk'));
  expect(readConfig(toEnvironment(config)).lakeColdDir).toBe(config.lakeColdDir);
});
