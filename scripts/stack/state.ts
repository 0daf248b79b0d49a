/**
 * `stack.json`, the memory of what this stack has started. Guarantee: a reader sees the last complete version (atomic
 * rename); only servers that we started are in it, so whatever is not in it is never stopped.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import { portTable, type Ports, type RecordedServer, type StackState } from './model.ts';
import { layout } from './settings.ts';

const port = z.number().int().min(1).max(65_535);

const schema = z.object({
  version: z.literal(1),
  ports: z.object({ kafka: port, kafkaController: port, redis: port, temporal: port, temporalUi: port }),
  servers: z.array(
    z.object({
      name: z.enum(['kafka', 'redis', 'temporal']),
      source: z.enum(['compose', 'path', 'provisioned']),
      endpoint: z.string(),
      uiUrl: z.string().nullable(),
      process: z.object({ pid: z.number().int().positive(), startedAt: z.string() }).nullable(),
      logFile: z.string().nullable(),
    }),
  ),
});

/** The recorded stack of a folder; null when there is none, or when the file is not one of ours. */
export function readStackState(dir: string): StackState | null {
  let text: string;
  try {
    text = readFileSync(layout(dir).stateFile, 'utf8');
  } catch {
    return null;
  }
  try {
    return schema.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

/**
 * Reads, changes and writes the state without yielding, so that servers started side by side in one process do not
 * overwrite each other's entries; other processes are kept out by the stack's lock.
 */
export function updateStackState(dir: string, change: (state: StackState) => StackState): StackState {
  const next = change(readStackState(dir) ?? { version: 1, ports: usualPorts(), servers: [] });
  const { stateFile } = layout(dir);
  mkdirSync(dirname(stateFile), { recursive: true });
  const draft = `${stateFile}.${process.pid}.draft`;
  writeFileSync(draft, `${JSON.stringify(next, null, 2)}\n`);
  renameSync(draft, stateFile);
  return next;
}

export function recordServer(dir: string, server: RecordedServer, ports: Partial<Ports>): void {
  updateStackState(dir, (state) => ({
    ...state,
    ports: { ...state.ports, ...ports },
    servers: [...state.servers.filter(({ name }) => name !== server.name), server],
  }));
}

export function forgetServer(dir: string, name: RecordedServer['name']): void {
  updateStackState(dir, (state) => ({
    ...state,
    servers: state.servers.filter((server) => server.name !== name),
  }));
}

function usualPorts(): Ports {
  const usual = {} as Record<keyof Ports, number>;
  for (const [name, entry] of Object.entries(portTable)) usual[name as keyof Ports] = entry.usual;
  return usual;
}
