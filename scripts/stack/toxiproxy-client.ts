/**
 * A typed client of Toxiproxy's HTTP API. Guarantee: a call returns when the fault is in force (or gone); what Toxiproxy
 * refuses is an error with its words.
 */
import { randomUUID } from 'node:crypto';
import { ReckonError } from '../../domain/errors.ts';
import { chooseOwnPort } from './ports.ts';

/**
 * A fault of one direction: `downstream` from the server to the client (replies), `upstream` from the client to the server.
 * - `latency`: what passes is late by so much, give or take the jitter
 * - `timeout`: what passes is swallowed, and the connection closed after the time; with 0 it stays open, silent
 * - `reset_peer`: the connection is reset (RST) so long after something wanted to pass, which is lost
 */
export type Toxic = { readonly stream: 'upstream' | 'downstream' } & (
  | { readonly type: 'latency'; readonly latencyMs: number; readonly jitterMs?: number }
  | { readonly type: 'timeout'; readonly timeoutMs: number }
  | { readonly type: 'reset_peer'; readonly timeoutMs: number }
);

/** One proxied server. */
export interface Proxy {
  /** `host:port` where clients connect instead of to the server. */
  readonly address: string;
  /** Puts a fault into force, on open connections as on new ones. @returns how to take it back */
  add(toxic: Toxic): Promise<() => Promise<void>>;
  /** Cuts all connections and refuses new ones, until `enable`. */
  disable(): Promise<void>;
  enable(): Promise<void>;
  /** Ends the proxy and its connections. */
  remove(): Promise<void>;
}

export class ToxiproxyClient {
  readonly #api: string;

  /** @param api URL of a running Toxiproxy */
  constructor(api: string) {
    this.#api = api;
  }

  async answers(): Promise<boolean> {
    try {
      return 'version' in ((await this.#call('GET', '/version')) as object);
    } catch {
      return false;
    }
  }

  /** Creates a proxy on a free port. @param upstream `host:port` of the server */
  async proxy(upstream: string): Promise<Proxy> {
    const name = randomUUID();
    // Of our own range, so that the port is still free when the proxy is enabled again.
    const listen = `127.0.0.1:${await chooseOwnPort()}`;
    const path = `/proxies/${name}`;
    await this.#call('POST', '/proxies', { name, listen, upstream, enabled: true });
    const setEnabled = async (enabled: boolean): Promise<void> => {
      await this.#call('POST', path, { enabled });
    };
    return {
      address: listen,
      add: async (toxic) => {
        const toxicName = randomUUID();
        const { type, stream } = toxic;
        const body = { name: toxicName, type, stream, attributes: attributesOf(toxic) };
        await this.#call('POST', `${path}/toxics`, body);
        return async () => void (await this.#call('DELETE', `${path}/toxics/${toxicName}`));
      },
      disable: () => setEnabled(false),
      enable: () => setEnabled(true),
      remove: async () => void (await this.#call('DELETE', path)),
    };
  }

  /** Ends every fault and enables every proxy. */
  async reset(): Promise<void> {
    await this.#call('POST', '/reset');
  }

  async #call(method: string, path: string, body?: object): Promise<unknown> {
    const response = await fetch(`${this.#api}${path}`, {
      method,
      signal: AbortSignal.timeout(10_000),
      ...(body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    });
    const text = await response.text();
    if (!response.ok)
      throw new ReckonError('unreachable', `Toxiproxy refuses ${method} ${path}: ${text.trim()}`);
    return text === '' ? null : JSON.parse(text);
  }
}

function attributesOf(toxic: Toxic): Record<string, number> {
  switch (toxic.type) {
    case 'latency':
      return { latency: toxic.latencyMs, jitter: toxic.jitterMs ?? 0 };
    case 'timeout':
    case 'reset_peer':
      return { timeout: toxic.timeoutMs };
  }
}
