/**
 * Health checks that ask each server a real question of its protocol: Kafka which API versions it has, Redis PING,
 * Temporal to describe its default namespace and our search attributes. Guarantee: true only after a right answer;
 * no client library is needed, and no connection stays open.
 */
import { connect as connectHttp2, type IncomingHttpHeaders } from 'node:http2';
import { connect } from 'node:net';
import { ReckonError } from '../../domain/errors.ts';
import { settings, type ServerName } from './model.ts';
import { accepts } from './ports.ts';

/** Splits `host:port`, `[v6]:port` or a URL; the port defaults to the given one. */
export function parseEndpoint(endpoint: string, defaultPort: number): { host: string; port: number } {
  const first = endpoint.split(',')[0]?.trim() ?? '';
  const text = first.includes('://') ? first : `tcp://${first}`;
  if (!URL.canParse(text) || new URL(text).hostname === '') {
    throw new ReckonError(
      'invalid-config',
      `"${endpoint}" is not an endpoint.`,
      'Write host:port, or a URL for Redis.',
    );
  }
  const url = new URL(text);
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? defaultPort : Number(url.port),
  };
}

const defaultPorts = { kafka: 9092, redis: 6379, temporal: 7233 } as const;

/** Asks a server that we started whether it is ready for work. */
export async function answers(name: ServerName, endpoint: string, timeoutMs = 2_000): Promise<boolean> {
  const { host, port } = parseEndpoint(endpoint, defaultPorts[name]);
  switch (name) {
    case 'kafka':
      return kafkaAnswers(host, port, timeoutMs);
    case 'redis':
      return redisAnswers(host, port, timeoutMs);
    case 'temporal':
      return temporalAnswers(host, port, timeoutMs);
  }
}

/** Whether any server of a configured endpoint accepts connections; it may want TLS or a password, so no more is asked. */
export async function accepting(name: ServerName, endpoints: string, timeoutMs = 2_000): Promise<boolean> {
  for (const endpoint of endpoints.split(',')) {
    const { host, port } = parseEndpoint(endpoint, defaultPorts[name]);
    if (await accepts(host, port, timeoutMs)) return true;
  }
  return false;
}

/** ApiVersions, version 0 (https://kafka.apache.org/protocol): header of key 18, version, correlation id, client id. */
async function kafkaAnswers(host: string, port: number, timeoutMs: number): Promise<boolean> {
  const correlationId = 0x5eca;
  const request = Buffer.alloc(14);
  request.writeInt32BE(10, 0);
  request.writeInt16BE(18, 4);
  request.writeInt16BE(0, 6);
  request.writeInt32BE(correlationId, 8);
  request.writeInt16BE(-1, 12);
  const reply = await exchange(host, port, request, 10, timeoutMs);
  return reply !== null && reply.readInt32BE(4) === correlationId && reply.readInt16BE(8) === 0;
}

/** Redis answers `-LOADING` to PING while it reads its append-only file, so only `+PONG` counts. */
async function redisAnswers(host: string, port: number, timeoutMs: number): Promise<boolean> {
  const reply = await exchange(host, port, Buffer.from('PING\r\n'), 5, timeoutMs);
  return reply !== null && reply.toString('latin1').startsWith('+PONG');
}

/** Sends one request; the first `bytesMin` or more bytes of the answer, or null. */
function exchange(
  host: string,
  port: number,
  request: Buffer,
  bytesMin: number,
  timeoutMs: number,
): Promise<Buffer | null> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    let reply = Buffer.alloc(0);
    const finish = (result: Buffer | null): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(result);
    };
    const timer = setTimeout(() => finish(null), timeoutMs);
    socket.once('connect', () => socket.write(request));
    socket.on('data', (chunk: Buffer) => {
      reply = Buffer.concat([reply, chunk]);
      if (reply.length >= bytesMin) finish(reply);
    });
    socket.once('error', () => finish(null));
    socket.once('close', () => finish(null));
  });
}

/**
 * The default namespace must be there and our search attributes registered: the development server listens before
 * it has done either. Requests are the protobuf messages `{1: "default"}`, the same for both calls.
 */
async function temporalAnswers(host: string, port: number, timeoutMs: number): Promise<boolean> {
  const request = protobufString(1, 'default');
  const described = await grpc(
    host,
    port,
    'temporal.api.workflowservice.v1.WorkflowService/DescribeNamespace',
    request,
    timeoutMs,
  );
  if (described === null) return false;
  const listed = await grpc(
    host,
    port,
    'temporal.api.operatorservice.v1.OperatorService/ListSearchAttributes',
    request,
    timeoutMs,
  );
  return listed !== null && Object.keys(settings.searchAttributes).every((name) => listed.includes(name));
}

function protobufString(field: number, text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from([(field << 3) | 2, bytes.length]), bytes]);
}

/** One unary gRPC call in plain text: the answer's bytes, or null on any failure. */
function grpc(
  host: string,
  port: number,
  method: string,
  message: Buffer,
  timeoutMs: number,
): Promise<Buffer | null> {
  return new Promise((resolve) => {
    const session = connectHttp2(`http://${host.includes(':') ? `[${host}]` : host}:${port}`);
    const chunks: Buffer[] = [];
    let status: unknown;
    const finish = (): void => {
      clearTimeout(timer);
      session.destroy();
      resolve(status === '0' ? Buffer.concat(chunks) : null);
    };
    const timer = setTimeout(finish, timeoutMs);
    session.once('error', finish);
    const stream = session.request({
      ':method': 'POST',
      ':path': `/${method}`,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.once('trailers', (trailers: IncomingHttpHeaders) => (status = trailers['grpc-status']));
    stream.once('error', finish);
    stream.once('end', finish);
    const frame = Buffer.alloc(5);
    frame.writeUInt32BE(message.length, 1);
    stream.end(Buffer.concat([frame, message]));
  });
}
