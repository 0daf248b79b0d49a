/**
 * What stands between a client and an S3 server, and does to single requests what a test wants. Guarantee: listens on 127.0.0.1;
 * every other request reaches the server as it is, with the host that it was signed for.
 */
import { createServer, request as send } from 'node:http';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';

export interface Asked {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** @returns the reply; null where the connection is to break instead */
export type Meddle = (asked: Asked, forward: () => Promise<Reply>) => Promise<Reply | null>;

export interface S3Proxy {
  readonly endpoint: string;
  close(): Promise<void>;
}

export async function startProxy(target: string, meddle: Meddle): Promise<S3Proxy> {
  const { hostname, port } = new URL(target);
  const forward = async ({ method, url, headers, body }: Asked): Promise<Reply> => {
    const reply = await new Promise<IncomingMessage>((resolve, reject) => {
      send({ hostname, port, method, path: url, headers, agent: false }, resolve)
        .on('error', reject)
        .end(body);
    });
    return { status: reply.statusCode ?? 0, headers: reply.headers, body: await buffer(reply) };
  };
  const server = createServer((incoming, outgoing) => {
    void (async () => {
      const { method = '', url = '', headers } = incoming;
      const asked = { method, url, headers, body: await buffer(incoming) };
      const reply = await meddle(asked, () => forward(asked));
      if (reply === null) incoming.socket.destroy();
      else outgoing.writeHead(reply.status, reply.headers).end(reply.body);
    })().catch(() => incoming.socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
