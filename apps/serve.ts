/**
 * `npm run serve`: the API and its pages. Guarantee: listens on the configured host only (127.0.0.1 unless told
 * otherwise); a taken port is one clear line; on SIGTERM it stops taking requests and ends.
 */
import { fileURLToPath } from 'node:url';
import type { FastifyInstance } from 'fastify';
import { createReportStore } from '../batch/report-store.ts';
import { ReckonError } from '../domain/errors.ts';
import { createApi } from '../serving/api.ts';
import { readConfig } from './config.ts';
import { createLogger, printJson, readOptions, runMain, runUntilShutdown } from './main.ts';
import { loadPipelines } from './pipelines.ts';
import { createServeDeps } from './serve-deps.ts';

const usage = 'npm run serve -- [--json]';

/** @returns the URL. @throws ReckonError `port-taken`. */
export async function listen(api: FastifyInstance, host: string, port: number): Promise<string> {
  try {
    return await api.listen({ host, port });
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const hint = 'Set API_PORT to another one, or to 0 for any free one.';
    if (code === 'EADDRINUSE')
      throw new ReckonError('port-taken', `Port ${port} of ${host} is taken by another process.`, hint, {
        cause,
      });
    if (code === 'EACCES')
      throw new ReckonError('port-taken', `Port ${port} of ${host} may not be used by this user.`, hint, {
        cause,
      });
    if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND')
      throw new ReckonError('invalid-config', `API_HOST: ${host} is no address of this machine.`, '', {
        cause,
      });
    throw cause;
  }
}

async function main(): Promise<void> {
  const { values } = readOptions(usage, { json: { type: 'boolean' } });
  const config = readConfig();
  const pipelines = await loadPipelines(config.pipelineFiles);
  const logger = createLogger('serve', config.logLevel);
  await runUntilShutdown(logger, 'serve', async () => {
    const deps = await createServeDeps(config, pipelines);
    const api = createApi({
      pipelines: pipelines.map(({ name }) => name),
      reports: createReportStore(config.reportsDir),
      readStatus: deps.readStatus,
      readReachable: deps.readReachable,
      temporalUiUrl: config.temporalUiUrl,
      onError: (error) => logger.error({ err: error }, 'request failed'),
    });
    const url = await listen(api, config.apiHost, config.apiPort);
    if (values['json'] === true) printJson({ url });
    else process.stdout.write(`Reckon's page and API: ${url}\n`);
    return {
      ready: { url },
      drain: async () => {
        await api.close();
        await deps.close();
      },
    };
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) void runMain(main);
