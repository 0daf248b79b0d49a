/** Loads the definitions that RECKON_PIPELINE names. Guarantee: one clear line for a missing, broken or doubled one. */
import { existsSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { ReckonError } from '../domain/errors.ts';
import type { Pipeline } from '../domain/pipeline.ts';

export async function loadPipelines(files: readonly string[]): Promise<Pipeline[]> {
  const pipelines: Pipeline[] = [];
  for (const file of files) {
    const pipeline = await loadPipeline(file);
    for (const other of pipelines) {
      if (other.name === pipeline.name)
        throw new ReckonError(
          'invalid-definition',
          `Two pipelines have the name ${pipeline.name}.`,
          'Rename one of them.',
        );
    }
    pipelines.push(pipeline);
  }
  return pipelines;
}

async function loadPipeline(file: string): Promise<Pipeline> {
  if (!existsSync(file))
    throw new ReckonError(
      'invalid-config',
      `RECKON_PIPELINE names ${file}, which does not exist.`,
      'Correct the path.',
    );
  let module: { default?: unknown };
  try {
    module = (await import(pathToFileURL(file).href)) as { default?: unknown };
  } catch (cause) {
    if (cause instanceof ReckonError) throw cause;
    const message = cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : String(cause);
    throw new ReckonError(
      'invalid-definition',
      `${file} cannot be loaded: ${message}.`,
      'Correct the file.',
      { cause },
    );
  }
  const pipeline = module.default;
  if (typeof pipeline !== 'object' || pipeline === null || !('aggregates' in pipeline))
    throw new ReckonError(
      'invalid-definition',
      `${file} has no pipeline.`,
      'End it with: export default definePipeline({ ... })',
    );
  return pipeline as Pipeline;
}
