/**
 * The real stack on its own ports in a folder of its own: it comes up healthy, `up` again changes nothing, a killed
 * server comes back with its data, and after `down` no process is left.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseEndpoint } from '../../scripts/stack/health.ts';
import { isAlive } from '../../scripts/stack/process.ts';
import type { ProcessIdentity, ServerName, ServerState } from '../../scripts/stack/model.ts';
import {
  readStackState,
  stackIsHealthy,
  stackStatus,
  startStack,
  stopStack,
  type Stack,
} from '../../scripts/stack/stack.ts';

let dir: string;
let stack: Stack;
/** Every process that any step of this test has started. */
const seen: ProcessIdentity[] = [];
const lines: string[] = [];
const progress = (line: string): void => void lines.push(line);
/** The environment without what would lead away from our own servers. */
const env: NodeJS.ProcessEnv = { ...process.env, KAFKA_BROKERS: '', REDIS_URL: '', TEMPORAL_ADDRESS: '' };

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'reckon-stack-'));
  stack = await startStack({ dir, progress, ports: 'free', env });
  note();
}, 900_000);

afterAll(async () => {
  await stopStack(dir, progress);
  rmSync(dir, { recursive: true, force: true });
});

function note(): void {
  for (const { process } of readStackState(dir)?.servers ?? []) if (process !== null) seen.push(process);
}

function pids(servers: ServerState[]): Record<string, number | undefined> {
  return Object.fromEntries(servers.map(({ name, process }) => [name, process?.pid]));
}

/** One command, one line of answer. */
function redis(command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(parseEndpoint(stack.endpoints.redisUrl, 6379), () =>
      socket.write(`${command}\r\n`),
    );
    socket.setEncoding('utf8').once('data', (text: string) => {
      socket.destroy();
      resolve(text);
    });
    socket.once('error', reject);
  });
}

async function pidOf(name: ServerName): Promise<number | undefined> {
  return pids(await stackStatus(dir, env))[name];
}

test('all three servers are up, on loopback ports of their own, and healthy', async () => {
  const status = await stackStatus(dir, env);
  expect(status.map(({ name, health }) => [name, health])).toEqual([
    ['kafka', 'healthy'],
    ['redis', 'healthy'],
    ['temporal', 'healthy'],
  ]);
  expect(await stackIsHealthy(dir, env)).toBe(true);
  const { kafkaBrokers, redisUrl, temporalAddress, temporalUiUrl } = stack.endpoints;
  for (const endpoint of [kafkaBrokers, redisUrl, temporalAddress]) {
    expect(endpoint).toMatch(/^(redis:\/\/)?127\.0\.0\.1:\d+$/);
    expect([9092, 6379, 7233]).not.toContain(parseEndpoint(endpoint, 0).port);
  }
  const page = await fetch(temporalUiUrl ?? '');
  expect(page.status).toBe(200);
});

test('Redis is durable and does not evict', async () => {
  expect(await redis('CONFIG GET appendonly')).toContain('yes');
  expect(await redis('CONFIG GET maxmemory-policy')).toContain('noeviction');
});

test('each server logs to a file of its own', () => {
  for (const { name, logFile } of stack.servers) {
    expect(logFile).toBe(join(dir, 'logs', `${name}.log`));
    expect(readFileSync(logFile ?? '', 'utf8')).not.toBe('');
  }
});

test('`up` again finds the same processes and starts nothing; its `stop` leaves them running', async () => {
  const again = await startStack({ dir, progress, ports: 'free', env });
  expect(again.endpoints).toEqual(stack.endpoints);
  expect(pids(again.servers)).toEqual(pids(stack.servers));
  expect(again.servers.filter(({ startedHere }) => startedHere)).toEqual([]);
  await again.stop();
  expect(await stackIsHealthy(dir, env)).toBe(true);
});

test('two `up` at the same moment start one stack', async () => {
  await stack.kill('redis', 'SIGKILL');
  const both = await Promise.all([1, 2].map(() => startStack({ dir, progress, ports: 'free', env })));
  note();
  expect(pids(both[0]?.servers ?? [])).toEqual(pids(both[1]?.servers ?? []));
  expect(both.flatMap(({ servers }) => servers).filter(({ startedHere }) => startedHere)).toHaveLength(1);
});

test('a Redis that was killed is dead in the status, and `up` brings it back with its data on its port', async () => {
  expect(await redis('SET kept yes')).toContain('OK');
  // The append-only file is written at once and flushed every second; a killed process loses only what was not written.
  const before = await pidOf('redis');
  await stack.kill('redis', 'SIGKILL');
  expect((await stackStatus(dir, env)).find(({ name }) => name === 'redis')?.health).toBe('dead');
  const again = await startStack({ dir, progress, ports: 'free', env });
  note();
  expect(again.endpoints).toEqual(stack.endpoints);
  expect(await pidOf('redis')).not.toBe(before);
  expect(await redis('GET kept')).toBe('$3\r\nyes\r\n');
});

test.each(['kafka', 'temporal'] as const)('%s survives a restart on the same endpoint', async (name) => {
  const before = await pidOf(name);
  await stack.restart(name, 'SIGKILL');
  note();
  expect(await pidOf(name)).not.toBe(before);
  expect(await stackIsHealthy(dir, env)).toBe(true);
});

test('a server of somebody else on a demanded port is left alone, and the error names the port', async () => {
  const theirs = createServer((_request, response) => response.end('theirs'));
  await new Promise<void>((resolve) => theirs.listen(0, '127.0.0.1', resolve));
  const { port } = theirs.address() as { port: number };
  const other = mkdtempSync(join(tmpdir(), 'reckon-stack-'));
  const demanding = { ...env, REDIS_PORT: String(port), RECKON_DOCKER: 'no' };
  await expect(startStack({ dir: other, only: ['redis'], progress, env: demanding })).rejects.toMatchObject({
    code: 'port-taken',
    message: `Port ${port} for redis is taken by another process.`,
  });
  expect(await (await fetch(`http://127.0.0.1:${port}`)).text()).toBe('theirs');
  expect(readStackState(other)?.servers ?? []).toEqual([]);
  await new Promise((resolve) => theirs.close(resolve));
  rmSync(other, { recursive: true });
});

test('`down` leaves no process', async () => {
  expect((await stopStack(dir, progress)).sort()).toEqual(['kafka', 'redis', 'temporal']);
  expect(seen.length).toBeGreaterThanOrEqual(7);
  const alive: ProcessIdentity[] = [];
  for (const identity of seen) if (await isAlive(identity)) alive.push(identity);
  expect(alive).toEqual([]);
  expect((await stackStatus(dir, env)).map(({ health }) => health)).toEqual([
    'stopped',
    'stopped',
    'stopped',
  ]);
  expect(await stopStack(dir, progress)).toEqual([]);
});
