/** CPU time of processes. Guarantee: user and system time of the process and of all its descendants, living or ended. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';

/** Linux counts in ticks of which every build for the usual platforms has 100 a second (`getconf CLK_TCK`). */
const ticksPerSecond = 100;

export function cpuSecondsOf(pid: number): number {
  return existsSync('/proc/self/stat') ? secondsByProc(pid) : secondsByPs(pid);
}

interface ProcessTicks {
  readonly parent: number;
  readonly ticks: number;
}

function secondsByProc(pid: number): number {
  const processes = new Map<number, ProcessTicks>();
  for (const name of readdirSync('/proc'))
    if (/^\d+$/.test(name)) {
      const ticks = ticksOf(Number(name));
      if (ticks !== null) processes.set(Number(name), ticks);
    }
  const sum = (root: number): number => {
    const children = [...processes].filter(([, { parent }]) => parent === root);
    return children.reduce((ticks, [child]) => ticks + sum(child), processes.get(root)?.ticks ?? 0);
  };
  return sum(pid) / ticksPerSecond;
}

/** Null for a process that has just ended. */
function ticksOf(pid: number): ProcessTicks | null {
  try {
    // The name, in parentheses, may hold anything; after it come: state, parent, ... utime, stime, cutime, cstime.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
    const times = fields.slice(11, 15).map(Number);
    return { parent: Number(fields[1]), ticks: times.reduce((sum, time) => sum + time, 0) };
  } catch {
    return null;
  }
}

/** `ps` prints [[dd-]hh:]mm:ss[.cc]. */
function secondsByPs(pid: number): number {
  const text = execFileSync('ps', ['-o', 'time=', '-p', String(pid)], { encoding: 'utf8' }).trim();
  const [days, clock] = text.includes('-') ? text.split('-') : ['0', text];
  const seconds = (clock ?? '').split(':').reduce((sum, part) => sum * 60 + Number(part), 0);
  return Number(days) * 86_400 + seconds;
}
