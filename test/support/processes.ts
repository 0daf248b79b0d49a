/**
 * Which processes belong to a run of Reckon. Guarantee: found by what the system says of them (environment, arguments,
 * working directory), not by what Reckon has written down, so that a forgotten process shows.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';

export interface Found {
  readonly pid: number;
  readonly command: string;
}

/** @param home the run's RECKON_HOME: no other process has this path in its environment, arguments or as its folder */
export function processesOf(home: string): Found[] {
  if (!existsSync('/proc/self/environ')) return byPs(home);
  const found: Found[] = [];
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
      const environment = readFileSync(`/proc/${pid}/environ`, 'utf8');
      const folder = readlinkSync(`/proc/${pid}/cwd`);
      if ([command, environment, folder].some((text) => text.includes(home))) found.push({ pid, command });
    } catch {
      // It has ended in the meantime, or belongs to another user.
    }
  }
  return found;
}

/** Where there is no /proc: arguments alone. */
function byPs(home: string): Found[] {
  const lines = execFileSync('ps', ['-axww', '-o', 'pid=,command='], { encoding: 'utf8' }).split('\n');
  return lines
    .filter((line) => line.includes(home))
    .map((line) => ({ pid: Number.parseInt(line, 10), command: line.trim().replace(/^\d+\s+/, '') }))
    .filter(({ pid }) => pid !== process.pid);
}
