/**
 * The lake in a bucket: archived there, read back there by workers that share no disk, and exact; others read the same rows; on the
 * local disk there is nothing but copies.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { startS3Server } from '../../scripts/stack/versitygw.ts';
import type { S3Server } from '../../scripts/stack/versitygw.ts';
import { consumed } from '../support/flights-check.ts';
import { readByOthers } from '../support/lake-readers.ts';
import { World, lastJson, sampleFile } from '../support/world.ts';

const records = 4_000;
let world: World;
let server: S3Server;
let env: Record<string, string>;
let name: string;

beforeAll(async () => {
  world = new World();
  server = await startS3Server(world.dir, (line) => process.stderr.write(`${line}\n`));
  name = world.name('bucket');
  const lake = await server.createBucket('lake');
  env = { RECKON_PIPELINE: world.flights(name), ...server.env, LAKE_URL: `${lake}/deep/down` };
});
afterAll(async () => {
  await server.stop();
  await world.close();
});

test('a topic is archived into a bucket, and two workers without a common disk find it exact', async () => {
  const homes = ['one', 'two'].map((machine) => join(world.dir, machine));
  await Promise.all([
    world.start('stream', env),
    world.start('archive', env),
    ...homes.map((home) => world.start('worker', { ...env, RECKON_HOME: home })),
  ]);
  const file = sampleFile('flights-20k.json');
  const replayed = await world.run('replay', ['--file', file, '--limit', String(records), '--json'], env);
  expect(lastJson(replayed)).toMatchObject({ records });
  await consumed(world, name, records);
  // Activities go to whichever worker asks first: of some runs, most read a snapshot that the other one took.
  for (let run = 0; run < 3; run++) {
    const verdict = await world.run('reconcile', ['--scope', 'all', '--json'], env);
    expect(verdict).toMatchObject({ code: 0 });
    expect(lastJson(verdict)).toMatchObject({ records, unexplained: 0, lag: 0 });
  }
  expect(existsSync(world.lake)).toBe(false);
  const others = await readByOthers(`s3://lake/deep/down/${name}/events`, ['_partition'], server);
  expect(others.deltaRs.rows).toBe(records);
  expect(others.duckDb).toEqual(others.deltaRs);
});

test('a lake that cannot be written to ends each process with one line', async () => {
  const wrong = { ...env, LAKE_URL: 's3://nowhere' };
  for (const command of ['stream', 'archive', 'worker']) {
    const { code, stderr } = await world.run(command, [], wrong);
    expect([command, code]).toEqual([command, 1]);
    expect(stderr).toContain(`reckon: LAKE_URL: there is no bucket nowhere on ${server.endpoint}.`);
    expect(stderr).not.toMatch(/^\s+at /m);
  }
});
