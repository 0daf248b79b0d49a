/**
 * `npm run stack -- up|down|status [--redis-cluster] [--json]`: starts, stops and shows the local servers. Guarantee: exit
 * code 0 only when what was asked is so; an expected failure is one line on standard error; with `--json` the last line of
 * standard output is one JSON object.
 */
import { join, resolve } from 'node:path';
import { ReckonError } from '../domain/errors.ts';
import { serverNames, type ServerState } from '../scripts/stack/model.ts';
import { startRedisCluster, stopRedisCluster } from '../scripts/stack/redis-cluster.ts';
import { startStack, stackStatus, stopStack } from '../scripts/stack/stack.ts';

const usage = 'Use: npm run stack -- up|down|status [--redis-cluster] [--json]';
const progress = (line: string): void => console.error(line);

async function main(args: string[]): Promise<number> {
  const json = args.includes('--json');
  const withCluster = args.includes('--redis-cluster');
  const [verb, ...rest] = args.filter((arg) => arg !== '--json' && arg !== '--redis-cluster');
  if (verb === undefined || rest.length > 0)
    throw new ReckonError('invalid-input', 'One verb is needed.', usage);
  const { RECKON_HOME: home } = process.env;
  const dir = home === undefined || home === '' ? join(import.meta.dirname, '..', '.reckon') : resolve(home);
  switch (verb) {
    case 'up':
      return withCluster ? upWithCluster(dir, json) : up(dir, json);
    case 'down':
      return down(dir, json);
    case 'status':
      return status(dir, json);
    default:
      throw new ReckonError('invalid-input', `"${verb}" is not a verb of stack.`, usage);
  }
}

async function up(dir: string, json: boolean): Promise<number> {
  const { servers } = await startStack({ dir, progress });
  show(servers, json);
  return 0;
}

/** Three Redis nodes instead of one server; who uses them has to be told, as of every cluster. */
async function upWithCluster(dir: string, json: boolean): Promise<number> {
  const { servers } = await startStack({ dir, only: ['kafka', 'temporal'], progress });
  const { url } = await startRedisCluster({ dir, progress });
  if (json) console.log(JSON.stringify({ ...byName(servers), redisUrl: url }));
  else {
    show(servers, json);
    console.log(`redis     healthy        a cluster of its own: export REDIS_URL=${url}`);
  }
  return 0;
}

async function down(dir: string, json: boolean): Promise<number> {
  const servers = await stopStack(dir, progress);
  const nodes = await stopRedisCluster(dir, progress);
  const stopped = [...servers, ...(nodes > 0 ? [`${nodes} nodes of the Redis Cluster`] : [])];
  const nothing = 'nothing to stop: no server of this folder is recorded as started by Reckon';
  if (json) console.log(JSON.stringify({ stopped }));
  else console.log(stopped.length === 0 ? nothing : `stopped: ${stopped.join(', ')}`);
  return 0;
}

async function status(dir: string, json: boolean): Promise<number> {
  const servers = await stackStatus(dir);
  show(servers, json);
  return servers.every(({ health }) => health === 'healthy') ? 0 : 1;
}

function byName(servers: ServerState[]): Record<string, ServerState | undefined> {
  return Object.fromEntries(
    serverNames.map((name) => [name, servers.find((server) => server.name === name)]),
  );
}

function show(servers: ServerState[], json: boolean): void {
  if (json) {
    console.log(JSON.stringify(byName(servers)));
    return;
  }
  for (const { name, health, source, endpoint, uiUrl, process: identity, logFile } of servers) {
    const facts = [
      health === 'stopped' ? '' : `${endpoint} (${source})`,
      uiUrl === null ? '' : `UI ${uiUrl}`,
      identity === null ? '' : `pid ${identity.pid}`,
      logFile === null ? '' : `log ${logFile}`,
    ].filter((fact) => fact !== '');
    console.log(`${name.padEnd(9)} ${health.padEnd(14)} ${facts.join('  ')}`.trimEnd());
  }
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof ReckonError)) throw error;
  console.error(`reckon: ${error.line}`);
  process.exitCode = 1;
}
