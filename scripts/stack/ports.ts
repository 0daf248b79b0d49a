/**
 * The ports of the stack. Guarantee: a port that another server holds is never chosen; a port that was demanded by
 * name and is taken is an error, not a silent move elsewhere.
 */
import { connect, createServer } from 'node:net';
import { ReckonError } from '../../domain/errors.ts';
import { portNames, portTable, type PortName, type Ports } from './model.ts';

/**
 * Own ports are picked below the kernel's range for outgoing connections (32768 and up on Linux), so that no client's
 * connection can sit on a server's port while that server is being restarted.
 */
export const ownPortRange = { first: 20_000, last: 31_999 } as const;

export interface PortWish {
  mode: 'usual' | 'free';
  /** Ports of the last run; kept where possible, so that endpoints survive a restart. */
  previous?: Partial<Ports> | undefined;
  /** Ports that were demanded through the environment (see `demandedPorts`). */
  demanded: Partial<Ports>;
}

/** The numbers to try for one port, best first. A demanded port has no alternative. Pure. */
export function candidatePorts(name: PortName, wish: PortWish, random: () => number): number[] {
  const demanded = wish.demanded[name];
  if (demanded !== undefined) return [demanded];
  const previous = wish.previous?.[name];
  const own = Array.from({ length: 50 }, () => {
    return ownPortRange.first + Math.floor(random() * (ownPortRange.last - ownPortRange.first + 1));
  });
  const { usual } = portTable[name];
  // `free` stays away from the usual ports, also where the last run had them.
  const preferred = wish.mode === 'usual' ? [previous, usual] : [previous === usual ? undefined : previous];
  return [...new Set([...preferred.filter((port) => port !== undefined), ...own])];
}

/** The ports that KAFKA_PORT, REDIS_PORT, TEMPORAL_PORT and TEMPORAL_UI_PORT demand. */
export function demandedPorts(env: NodeJS.ProcessEnv): Partial<Ports> {
  const demanded: Partial<Ports> = {};
  for (const name of portNames) {
    const { variable } = portTable[name];
    const text = env[variable];
    if (text === undefined || text === '') continue;
    const port = Number(text);
    if (!Number.isInteger(port) || port < 1 || port > 65_535) {
      throw new ReckonError(
        'invalid-config',
        `${variable}=${text} is not a port.`,
        'Give a number from 1 to 65535.',
      );
    }
    demanded[name] = port;
  }
  return demanded;
}

/** Chooses a free port for each name; no two of them, nor any of `taken`, are equal. */
export async function choosePorts(
  names: readonly PortName[],
  wish: PortWish,
  isFree: (port: number) => Promise<boolean> = portIsFree,
  random: () => number = Math.random,
): Promise<Partial<Ports>> {
  const chosen: Partial<Ports> = {};
  for (const name of names) {
    const used = new Set(Object.values(chosen));
    const candidates = candidatePorts(name, wish, random).filter((port) => !used.has(port));
    chosen[name] = await firstFree(name, candidates, wish.demanded[name] !== undefined, isFree);
  }
  return chosen;
}

async function firstFree(
  name: PortName,
  candidates: number[],
  demanded: boolean,
  isFree: (port: number) => Promise<boolean>,
): Promise<number> {
  for (const port of candidates) if (await isFree(port)) return port;
  const { variable, server } = portTable[name];
  throw demanded
    ? new ReckonError(
        'port-taken',
        `Port ${candidates.join(', ')} for ${server} is taken by another process.`,
        `Free it, name another with ${variable}, or unset ${variable} to let Reckon pick one.`,
      )
    : new ReckonError('port-taken', `No free port was found for ${server}.`, `Name one with ${variable}.`);
}

/** A free port for a server that nobody looks for on a usual one. */
export async function chooseOwnPort(
  last: number = ownPortRange.last,
  isFree: (port: number) => Promise<boolean> = portIsFree,
): Promise<number> {
  for (let attempt = 0; attempt < 50; attempt++) {
    const port = ownPortRange.first + Math.floor(Math.random() * (last - ownPortRange.first + 1));
    if (await isFree(port)) return port;
  }
  throw new ReckonError('port-taken', `No free port was found from ${ownPortRange.first} to ${last}.`);
}

/**
 * Free means that nobody accepts connections there and that we can listen. Both are asked: on some systems a second
 * listener on 127.0.0.1 is allowed beside one on all addresses.
 */
export async function portIsFree(port: number): Promise<boolean> {
  return !(await accepts('127.0.0.1', port, 500)) && (await canListen(port));
}

/** True when a TCP connection is accepted within the time. */
export function accepts(host: string, port: number, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const finish = (accepted: boolean): void => {
      socket.destroy();
      resolve(accepted);
    };
    socket.setTimeout(timeoutMs, () => finish(false));
    socket.once('connect', () => finish(true));
    socket.once('error', () => finish(false));
  });
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ host: '127.0.0.1', port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}
