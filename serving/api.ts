/**
 * The query API and its pages, as a fastify instance that does not listen yet. Guarantee: read only; every error is JSON
 * with one clear message and never a stack; a status that cannot be read leaves the reports readable.
 */
import Fastify from 'fastify';
import type { FastifyInstance, FastifyReply } from 'fastify';
import type { ReportStore } from '../batch/report-store.ts';
import { ReckonError } from '../domain/errors.ts';
import type { PipelineStatus, Reachable, ReadStatus } from '../domain/status.ts';
import { renderHomePage } from './home-page.ts';
import type { StatusResult } from './home-page.ts';
import { linksOf } from './links.ts';
import { metricsContentType, renderMetrics } from './metrics.ts';

export interface ApiDeps {
  readonly pipelines: readonly string[];
  readonly reports: ReportStore;
  readonly readStatus: ReadStatus;
  /** Never fails: what does not answer in time is away. */
  readonly readReachable: () => Promise<Reachable>;
  /** Linked from the page; null where it is unknown. */
  readonly temporalUiUrl: string | null;
  /** Told of errors that are bugs; the client gets a plain 500. */
  readonly onError?: (error: unknown) => void;
}

const reportsOnPage = 20;
const reportsMax = 500;

/** Pages load nothing from anywhere; only the first page runs a script, its own. */
const policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
const policyWithScript = `${policy}; script-src 'unsafe-inline'; connect-src 'self'`;
const securityHeaders = {
  'content-security-policy': policy,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
} as const;

export function createApi(deps: ApiDeps): FastifyInstance {
  const { reports } = deps;
  const readStatus = shareInFlight(deps.readStatus);
  const app = Fastify({ logger: false, forceCloseConnections: true });

  app.addHook('onRequest', async (_request, reply) => {
    // Without a return value: a hook that returns the reply says that it has answered.
    void reply.headers(securityHeaders);
  });
  app.setNotFoundHandler((request, reply) =>
    fail(
      reply,
      404,
      'not-found',
      `There is nothing at ${request.method} ${request.url.split('?')[0] ?? ''}.`,
    ),
  );
  app.setErrorHandler((error, _request, reply) => {
    if (error instanceof ReckonError && error.code === 'unreachable')
      return fail(reply, 503, error.code, error.line);
    const { statusCode, message } = error as { statusCode?: number; message?: string };
    if (statusCode !== undefined && statusCode < 500)
      return fail(reply, statusCode, 'invalid-input', message ?? 'The request is wrong.');
    deps.onError?.(error);
    return fail(reply, 500, 'internal', 'The server failed; its log says why.');
  });

  app.get('/', async (_request, reply) => {
    const [status, entries] = await Promise.all([
      statusOrProblem(readStatus),
      reports.list({ limit: reportsOnPage }),
    ]);
    const { pipelines, temporalUiUrl } = deps;
    void reply.header('content-security-policy', policyWithScript);
    return sendHtml(reply, renderHomePage({ pipelines, status, reports: entries, temporalUiUrl }));
  });

  app.get('/healthz', () => ({ status: 'ok' }));
  app.get('/metrics', async (_request, reply) => {
    const [status, reachable] = await Promise.all([statusOrProblem(readStatus), deps.readReachable()]);
    const text = await renderMetrics(status.ok ? status.pipelines : null, reachable, Date.now());
    return reply.type(metricsContentType).send(text);
  });
  app.get('/v1/status', async () => ({ pipelines: await readStatus() }));

  app.get<{ Querystring: { pipeline?: string; limit?: number } }>(
    '/v1/reports',
    { schema: { querystring: reportsQuery } },
    async ({ query }) => {
      const entries = await reports.list({ ...query });
      return { reports: entries.map((entry) => ({ ...entry, ...linksOf(entry) })) };
    },
  );

  app.get<{ Params: { pipeline: string; id: string } }>(
    '/v1/reports/:pipeline/:id',
    async (request, reply) => {
      const { pipeline, id } = request.params;
      const asPage = id.endsWith('.html');
      const name = id.replace(/\.(html|json)$/, '');
      const text = await (asPage ? reports.readPage(pipeline, name) : reports.readJson(pipeline, name));
      if (text === null)
        return fail(reply, 404, 'not-found', 'There is no such report; GET /v1/reports lists them.');
      return asPage ? sendHtml(reply, text) : reply.type('application/json; charset=utf-8').send(text);
    },
  );
  return app;
}

const reportsQuery = {
  type: 'object',
  additionalProperties: false,
  properties: {
    pipeline: { type: 'string' },
    limit: { type: 'integer', minimum: 1, maximum: reportsMax, default: 100 },
  },
} as const;

function fail(reply: FastifyReply, status: number, code: string, message: string): FastifyReply {
  return reply.code(status).send({ error: { code, message } });
}

function sendHtml(reply: FastifyReply, text: string): FastifyReply {
  return reply.type('text/html; charset=utf-8').send(text);
}

async function statusOrProblem(readStatus: ReadStatus): Promise<StatusResult> {
  try {
    return { ok: true, pipelines: await readStatus() };
  } catch (error) {
    if (error instanceof ReckonError) return { ok: false, problem: error.line };
    throw error;
  }
}

/** However many browsers watch, the servers behind are asked once at a time. */
function shareInFlight(read: ReadStatus): ReadStatus {
  let inFlight: Promise<readonly PipelineStatus[]> | null = null;
  return () => {
    inFlight ??= read().finally(() => {
      inFlight = null;
    });
    return inFlight;
  };
}
