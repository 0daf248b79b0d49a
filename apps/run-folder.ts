/**
 * Where `npm start` keeps its data. Guarantee: a stack that runs already is used and left running; otherwise the run has a
 * folder of its own, which is deleted at its end; what a killed run left behind is stopped and deleted by the next one.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ProcessIdentity } from '../scripts/stack/model.ts';
import { isAlive, startTimeOf } from '../scripts/stack/process.ts';
import { stackIsHealthy, stopStack } from '../scripts/stack/stack.ts';

export interface RunFolder {
  readonly dir: string;
  /** Whether the folder belongs to this run alone. */
  readonly ephemeral: boolean;
  readonly remove: () => void;
}

/** Who uses the folder: pid and start time, as a pid alone may be used again, or be that of a zombie. */
const ownerFile = 'owner.json';

export async function openRunFolder(home: string, report: (line: string) => void): Promise<RunFolder> {
  const runs = join(home, 'runs');
  await clearAbandoned(runs, report);
  if (existsSync(join(home, 'stack.json')) && (await stackIsHealthy(home)))
    return { dir: home, ephemeral: false, remove: () => undefined };
  const dir = join(runs, String(process.pid));
  const owner: ProcessIdentity = { pid: process.pid, startedAt: (await startTimeOf(process.pid)) ?? '' };
  // Without a pause in between: a folder without an owner counts as left behind.
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, ownerFile), JSON.stringify(owner));
  return { dir, ephemeral: true, remove: () => rmSync(dir, { recursive: true, force: true }) };
}

async function clearAbandoned(runs: string, report: (line: string) => void): Promise<void> {
  for (const name of existsSync(runs) ? readdirSync(runs) : []) {
    const dir = join(runs, name);
    const owner = ownerOf(dir);
    if (owner !== null && (await isAlive(owner))) continue;
    report(`clearing away what an earlier run left behind (${dir})`);
    await stopStack(dir, report);
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Null where none is written down: the run was killed in its first moment. */
function ownerOf(dir: string): ProcessIdentity | null {
  try {
    return JSON.parse(readFileSync(join(dir, ownerFile), 'utf8')) as ProcessIdentity;
  } catch {
    return null;
  }
}
