/** Where each server comes from: the order of resolution, and the outcomes when something is missing. */
import { planStack, redisBinaryFor, type Found } from '../../scripts/stack/plan.ts';
import { refuseImpossible } from '../../scripts/stack/resolve.ts';
import { serverNames } from '../../scripts/stack/model.ts';
import { ReckonError } from '../../domain/errors.ts';

/** A machine with a JDK, Maven and Go, and nothing else. */
const bare: Found = {
  engineAnswers: false,
  redisServer: null,
  temporal: null,
  kafkaServerStart: null,
  java: { path: '/usr/bin/java', major: 17 },
  maven: '/usr/bin/mvn',
  go: '/usr/bin/go',
  cached: { kafka: false, redis: false, temporal: false },
  platform: { os: 'linux', arch: 'x64' },
};
const kinds = (env: Record<string, string>, found: Found, options = {}) =>
  Object.fromEntries(planStack(env, found, serverNames, options).map((step) => [step.name, step.kind]));

describe('the order of resolution', () => {
  const everything: Found = {
    ...bare,
    engineAnswers: true,
    redisServer: { path: '/usr/bin/redis-server', version: [7, 0] },
    temporal: '/usr/bin/temporal',
    kafkaServerStart: '/opt/kafka/bin/kafka-server-start.sh',
    cached: { kafka: true, redis: true, temporal: true },
  };
  const configured = { KAFKA_BROKERS: 'k:9092', REDIS_URL: 'redis://r', TEMPORAL_ADDRESS: 't:7233' };

  test('1. a configured endpoint comes before everything else', () => {
    expect(planStack(configured, everything, ['redis'])).toEqual([
      { kind: 'configured', name: 'redis', endpoint: 'redis://r', variable: 'REDIS_URL' },
    ]);
  });

  test('2. containers where an engine answers', () => {
    expect(kinds({}, everything)).toEqual({ kafka: 'compose', redis: 'compose', temporal: 'compose' });
  });

  test('3. servers on PATH', () => {
    expect(planStack({}, { ...everything, engineAnswers: false }, serverNames)).toEqual([
      { kind: 'path', name: 'kafka', program: '/opt/kafka/bin/kafka-server-start.sh' },
      { kind: 'path', name: 'redis', program: '/usr/bin/redis-server' },
      { kind: 'path', name: 'temporal', program: '/usr/bin/temporal' },
    ]);
  });

  test('4. the cache, and what is not in it is provisioned', () => {
    const cached = { kafka: true, redis: false, temporal: true };
    expect(kinds({}, { ...bare, cached })).toEqual({
      kafka: 'cached',
      redis: 'provision',
      temporal: 'cached',
    });
  });

  test('each server is resolved for itself', () => {
    const found = { ...bare, temporal: '/usr/bin/temporal' };
    expect(kinds({ KAFKA_BROKERS: 'k:9092', REDIS_URL: '  ' }, found)).toEqual({
      kafka: 'configured',
      redis: 'provision',
      temporal: 'path',
    });
  });

  test('own processes only: neither configured endpoints nor containers, as tests kill what they use', () => {
    expect(kinds(configured, everything, { ownProcessesOnly: true })).toEqual({
      kafka: 'path',
      redis: 'path',
      temporal: 'path',
    });
  });

  test('only the wanted servers are planned', () => {
    expect(planStack({}, bare, ['temporal'])).toEqual([{ kind: 'provision', name: 'temporal' }]);
  });

  test('a Redis that is too old, or whose version is unknown, is passed over', () => {
    for (const version of [[6, 0], [5, 9], null] as const) {
      const found = {
        ...bare,
        redisServer: { path: '/usr/bin/redis-server', version: version && [...version] },
      } as Found;
      expect(kinds({}, found).redis).toBe('provision');
    }
  });
});

describe('what is missing is named, with the way to get it', () => {
  const missing: [string, Partial<Found>, RegExp, RegExp][] = [
    ['no Java', { java: null }, /Kafka needs a JDK 17 or newer; none was found/, /openjdk-17/],
    [
      'an old Java',
      { java: { path: 'java', major: 11 } },
      /JDK 17 or newer; Java 11 was found/,
      /openjdk-17/,
    ],
    ['no Maven', { maven: null }, /provisioning it needs Maven \(mvn\)/, /apt-get install maven/],
    ['no Go', { go: null }, /Temporal needs its CLI on PATH, or Go/, /go install/],
    [
      'no Redis for the platform',
      { platform: { os: 'aix', arch: 'ppc' } },
      /no Redis to provision for aix on ppc/,
      /redis-server/,
    ],
  ];

  test.each(missing)('%s', (_label, lack, message, hint) => {
    const steps = planStack({}, { ...bare, ...lack }, serverNames);
    const told: string[] = [];
    let error: unknown;
    try {
      refuseImpossible(steps, (line) => told.push(line));
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(ReckonError);
    expect(error).toMatchObject({
      code: 'missing-program',
      message: expect.stringMatching(message) as string,
    });
    const { line } = error as ReckonError;
    expect(line).toMatch(hint);
    expect(line).not.toContain('\n');
  });

  test('Maven is not needed for what is in the cache, nor Java for what is configured', () => {
    const found = { ...bare, maven: null, cached: { kafka: true, redis: true, temporal: true } };
    expect(kinds({}, found)).toEqual({ kafka: 'cached', redis: 'cached', temporal: 'cached' });
    expect(kinds({ KAFKA_BROKERS: 'k:9092' }, { ...bare, java: null }).kafka).toBe('configured');
  });

  test('there is a Redis for Linux and macOS on both common architectures', () => {
    for (const os of ['linux', 'darwin']) {
      for (const arch of ['x64', 'arm64']) expect(redisBinaryFor({ os, arch })).toMatch(/^redis-server-6\.2/);
    }
    expect(redisBinaryFor({ os: 'win32', arch: 'x64' })).toBeNull();
  });
});
