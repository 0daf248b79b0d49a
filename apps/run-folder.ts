/**
 * Where `npm start` keeps its data. Guarantee: a stack that runs already is used and left running; otherwise the run has a
 * folder of its own, which is deleted at its end; what a killed run left behind is stopped and deleted by the next one.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stackIsHealthy, stopStack } from '../scripts/stack/stack.ts';

export interface RunFolder {
  readonly dir: string;
  /** Whether the folder belongs to this run alone. */
  readonly ephemeral: boolean;
  readonly remove: () => void;
}

const ownerFile = 'owner.pid';

export async function openRunFolder(home: string, report: (line: string) => void): Promise<RunFolder> {
  const runs = join(home, 'runs');
  await clearAbandoned(runs, report);
  if (existsSync(join(home, 'stack.json')) && (await stackIsHealthy(home)))
    return { dir: home, ephemeral: false, remove: () => undefined };
  const dir = join(runs, String(process.pid));
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, ownerFile), String(process.pid));
  return { dir, ephemeral: true, remove: () => rmSync(dir, { recursive: true, force: true }) };
}

async function clearAbandoned(runs: string, report: (line: string) => void): Promise<void> {
  for (const name of existsSync(runs) ? readdirSync(runs) : []) {
    const dir = join(runs, name);
    const owner = existsSync(join(dir, ownerFile)) ? Number(readFileSync(join(dir, ownerFile), 'utf8')) : 0;
    if (owner !== 0 && isAlive(owner)) continue;
    report(`clearing away what an earlier run left behind (${dir})`);
    await stopStack(dir, report);
    rmSync(dir, { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
