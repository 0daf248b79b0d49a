/**
 * Brings one server up as a process of ours and waits until it answers. Guarantee: returns only after a right answer;
 * the process is recorded before that, so that `down` finds it even if we are killed here; a server that dies at its
 * start is one clear error with the last line of its log.
 */
import { existsSync } from 'node:fs';
import { mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ReckonError } from '../../domain/errors.ts';
import { execute } from './execute.ts';
import { answers } from './health.ts';
import {
  portNames,
  portTable,
  type PortName,
  type Ports,
  type RecordedServer,
  type ServerName,
} from './model.ts';
import { lastLineOf, startDetached, terminate } from './process.ts';
import { endpointOf, kafkaFormatCommand, kafkaProperties, layout, log4jConfiguration } from './settings.ts';
import { kafkaClusterId, redisConf, serverCommand, type Program } from './settings.ts';
import { recordServer } from './state.ts';

/** How long a server may take to its first right answer; a broker that recovers a large log takes the longest. */
const readyMs: Record<ServerName, number> = { kafka: 120_000, redis: 60_000, temporal: 60_000 };
/** How long a server may take to stop before it is killed. */
export const stopMs: Record<ServerName, number> = { kafka: 30_000, redis: 15_000, temporal: 15_000 };

export interface Launch {
  program: Program;
  source: 'path' | 'provisioned';
  dir: string;
  ports: Ports;
}

export type Launched = { kind: 'ready'; server: RecordedServer } | { kind: 'port lost'; message: string };

export function portsOf(name: ServerName): PortName[] {
  return portNames.filter((port) => portTable[port].server === name);
}

/** Starts the server. `port lost` when another process took one of its ports between the choice and the start. */
export async function launch({ program, source, dir, ports }: Launch): Promise<Launched> {
  const { name } = program;
  const logFile = layout(dir).logFile(name);
  await mkdir(layout(dir).logs, { recursive: true });
  await mkdir(layout(dir).serverDir(name), { recursive: true });
  await prepare(program, dir, ports);
  const logStart = await sizeOf(logFile);
  const started = await startDetached(serverCommand(program, dir, ports), logFile);
  const endpoint = endpointOf(name, ports);
  const uiUrl = name === 'temporal' ? `http://127.0.0.1:${ports.temporalUi}` : null;
  const server: RecordedServer = { name, source, endpoint, uiUrl, process: started.identity, logFile };
  recordServer(dir, server, Object.fromEntries(portsOf(name).map((port) => [port, ports[port]])));

  const deadlineMs = Date.now() + readyMs[name];
  while (!started.exited()) {
    if (await answers(name, endpoint)) {
      // Somebody else's server might have answered on our port while ours was failing to listen on it.
      await sleep(20);
      if (!started.exited()) return { kind: 'ready', server };
      break;
    }
    if (Date.now() > deadlineMs) {
      await terminate(started.identity, stopMs[name]);
      throw new ReckonError(
        'unreachable',
        `${name} did not answer on ${endpoint} within ${readyMs[name] / 1_000} s: ${await lastLineOf(logFile)}.`,
        `Its log: ${logFile}`,
      );
    }
    await sleep(50);
  }
  const message = await reasonOfDeath(logFile, logStart);
  if (/address already in use|Address in use|bind: /i.test(message)) return { kind: 'port lost', message };
  throw new ReckonError(
    'unreachable',
    `${name} ended while starting: ${message.replace(/\.$/, '')}.`,
    `Its log: ${logFile}`,
  );
}

/** Writes the configuration anew (ports may have changed) and formats a new broker's storage. */
async function prepare(program: Program, dir: string, ports: Ports): Promise<void> {
  const paths = layout(dir);
  switch (program.name) {
    case 'redis':
      await writeFile(
        paths.redisConf,
        redisConf(
          ports.redis,
          paths.serverDir('redis'),
          existsSync(paths.redisClusterConf) ? paths.redisClusterConf : null,
        ),
      );
      return;
    case 'temporal':
      return;
    case 'kafka':
      await writeFile(paths.kafkaProperties, kafkaProperties(ports, paths.kafkaData));
      await writeFile(paths.log4j, log4jConfiguration);
      if (!existsSync(paths.kafkaFormatted)) await formatKafka(program, dir);
  }
}

/** A folder without the mark was never used by a broker: whatever a killed attempt left there is thrown away. */
async function formatKafka(program: Program & { name: 'kafka' }, dir: string): Promise<void> {
  const paths = layout(dir);
  await rm(paths.kafkaData, { recursive: true, force: true });
  const {
    program: executable,
    args,
    cwd,
    env,
  } = kafkaFormatCommand(program, dir, kafkaClusterId(randomBytes(16)));
  const done = await execute(executable, args, { cwd, env: { ...process.env, ...env } });
  if (done.code !== 0) {
    const reason = `${done.stderr}${done.stdout}`.trim().split('\n')[0] ?? '';
    throw new ReckonError(
      'unreachable',
      `Kafka's storage could not be formatted: ${reason}`,
      `Its folder: ${paths.kafkaData}`,
    );
  }
  await writeFile(paths.kafkaFormatted, '');
}

async function reasonOfDeath(logFile: string, logStart: number): Promise<string> {
  return (await sizeOf(logFile)) === logStart ? 'it wrote nothing to its log' : lastLineOf(logFile);
}

async function sizeOf(file: string): Promise<number> {
  return (await stat(file).catch(() => null))?.size ?? 0;
}

/** The storage tool stands beside the start script, with the same ending. */
export function kafkaScripts(start: string): Program {
  const ending = start.endsWith('.sh') ? '.sh' : '';
  return { name: 'kafka', kind: 'scripts', start, storage: join(dirname(start), `kafka-storage${ending}`) };
}
