/**
 * The way through Docker Compose, with a program in Docker's place that writes down what it is told: this machine need not
 * have an engine, and no container is started.
 */
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { composeProject } from '../../scripts/stack/compose.ts';
import { choosePorts } from '../../scripts/stack/ports.ts';
import { discover } from '../../scripts/stack/discover.ts';
import { readStackState, stackStatus, startStack, stopStack } from '../../scripts/stack/stack.ts';

let dir: string;
let env: NodeJS.ProcessEnv;
const lines: string[] = [];
const progress = (line: string): void => void lines.push(line);

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'reckon-compose-'));
  lines.length = 0;
  env = { ...process.env, KAFKA_BROKERS: '', REDIS_URL: '', TEMPORAL_ADDRESS: '', RECKON_DOCKER: '' };
  env.PATH = [dir, process.env.PATH].join(delimiter);
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** A `docker` that logs its arguments and the ports it was given, then does as the script says. */
function pretendDocker(script: string): void {
  const file = join(dir, 'docker');
  writeFileSync(
    file,
    `#!/bin/sh\necho "$* [$KAFKA_PORT $REDIS_PORT $TEMPORAL_PORT $TEMPORAL_UI_PORT]" >> '${dir}/calls'\n${script}\n`,
  );
  chmodSync(file, 0o755);
}
const answering = 'case "$1 $2" in "info --format") echo 27.3.1;; "compose version") echo 2.29.7;; esac';

function calls(): string[] {
  return readFileSync(join(dir, 'calls'), 'utf8').trim().split('\n');
}

describe('an engine answers', () => {
  test('the services are started and waited for, recorded as ours, and taken down again', async () => {
    pretendDocker(answering);
    const { redis: port } = await choosePorts(['redis'], { mode: 'free', demanded: {} });
    const stack = await startStack({
      dir,
      progress,
      env: { ...env, REDIS_PORT: String(port) },
      only: ['kafka', 'redis'],
    });
    expect(stack.endpoints.redisUrl).toBe(`redis://127.0.0.1:${port}`);
    expect(
      stack.servers.map(({ name, source, process, startedHere }) => [name, source, process, startedHere]),
    ).toEqual([
      ['kafka', 'compose', null, true],
      ['redis', 'compose', null, true],
    ]);
    const up = calls().at(-1) ?? '';
    expect(up).toMatch(
      new RegExp(
        `^compose -p ${composeProject(dir)} -f \\S+docker-compose.yml up -d --wait kafka redis \\[\\d+ ${port} `,
      ),
    );

    expect(await stopStack(dir, progress, env)).toEqual(['kafka', 'redis']);
    expect(calls().at(-1)).toMatch(/ down \[/);
    expect(readStackState(dir)?.servers).toEqual([]);
  });

  test('a signal goes to the one service, with the ports that the stack has', async () => {
    pretendDocker(answering);
    const stack = await startStack({ dir, progress, env, only: ['temporal'] });
    expect(calls().at(-1)).toMatch(/ up -d --wait temporal temporal-ui postgres \[/);
    await stack.kill('temporal', 'SIGKILL');
    expect(calls().at(-1)).toMatch(/ kill -s SIGKILL temporal \[/);
    await stack.start('temporal');
    expect(calls().at(-1)).toMatch(/ up -d --wait temporal temporal-ui postgres \[/);
    const { ports } = readStackState(dir) ?? {};
    expect(calls().at(-1)).toContain(` ${ports?.temporal} ${ports?.temporalUi}]`);
  });

  test('containers that do not answer are not called healthy', async () => {
    pretendDocker(answering);
    await startStack({ dir, progress, env, only: ['redis'] });
    const redis = (await stackStatus(dir, env)).find(({ name }) => name === 'redis');
    expect(redis).toMatchObject({ source: 'compose', health: 'not answering' });
    await stopStack(dir, progress, env);
  });

  test('each folder has a project of its own', () => {
    expect(composeProject('/a/.reckon')).toMatch(/^reckon-[0-9a-f]{8}$/);
    expect(composeProject('/a/.reckon')).not.toBe(composeProject('/b/.reckon'));
  });
});

describe('no engine answers', () => {
  test.each([
    ['the daemon is away', 'echo "Cannot connect to the Docker daemon" >&2; exit 1'],
    ['an old client that exits 0 without a server', '[ "$1" = info ] && echo ""; exit 0'],
    ['there is no Compose', '[ "$1" = info ] && echo 27.3.1 || exit 1'],
  ])('%s', async (_label, script) => {
    pretendDocker(script);
    expect((await discover(env, { askDocker: true })).engineAnswers).toBe(false);
  });

  test('RECKON_DOCKER=no: it is not even asked', async () => {
    pretendDocker(answering);
    const nothingElse = { ...env, RECKON_DOCKER: 'no', PATH: dir, RECKON_CACHE: dir, JAVA_HOME: '' };
    await expect(startStack({ dir, progress, env: nothingElse })).rejects.toMatchObject({
      code: 'missing-program',
    });
    expect(() => calls()).toThrow('ENOENT');
  });
});

test('Compose fails: its last line is told, what it began is taken down, and the next way is taken', async () => {
  pretendDocker(`${answering}; case "$*" in *" up "*) echo "no space left on device" >&2; exit 1;; esac`);
  // The next way cannot be gone either here, so that this test starts no server: only Docker is on PATH, the cache is empty.
  const nothingElse = { ...env, PATH: dir, RECKON_CACHE: join(dir, 'cache') };
  await expect(startStack({ dir, progress, env: nothingElse, only: ['redis'] })).rejects.toMatchObject({
    code: 'missing-program',
  });
  expect(lines).toContain('Docker Compose failed (no space left on device); going on without it');
  expect(calls().some((call) => / down \[/.test(call))).toBe(true);
  expect(readStackState(dir)?.servers).toEqual([]);
});
