/**
 * Loads the definitions that RECKON_PIPELINE names. Guarantee: one clear line for a missing, broken or doubled one; a file
 * may be TypeScript or JavaScript, ESM or CommonJS, inside or outside this project.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { tsImport } from 'tsx/esm/api';
import { ReckonError, failureCodes } from '../domain/errors.ts';
import { definePipeline } from '../domain/pipeline.ts';
import type { Pipeline, PipelineInput } from '../domain/pipeline.ts';
import { projectRoot } from './config.ts';

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
  const exported = await defaultExport(file);
  if (typeof exported !== 'object' || exported === null || !('aggregates' in exported))
    throw new ReckonError(
      'invalid-definition',
      `${file} has no pipeline.`,
      'End it with: export default definePipeline({ ... })',
    );
  // A file outside the project needs no import: the plain object is enough.
  return isDefined(exported) ? exported : definePipeline(exported as PipelineInput);
}

/** What the file exports as its default; as ESM that was read by way of CommonJS wraps it once more, unwrapped. */
async function defaultExport(file: string): Promise<unknown> {
  let value: unknown;
  try {
    // Not `import()`: it refuses TypeScript outside of a folder with `"type": "module"`.
    value = await tsImport(pathToFileURL(file).href, {
      parentURL: import.meta.url,
      // Where the name 'reckon' is written down, for files that lie outside the project.
      tsconfig: join(projectRoot, 'pipelines', 'tsconfig.json'),
    });
  } catch (cause) {
    throw asReckonError(file, cause);
  }
  for (let depth = 0; depth < 2; depth++)
    if (typeof value === 'object' && value !== null && 'default' in value) value = value.default;
  return value;
}

function isDefined(exported: object): exported is Pipeline {
  return 'fields' in exported && 'deadLetterTopic' in exported;
}

/** The definition's own modules are loaded apart from ours, so their errors are of another class of the same name. */
function asReckonError(file: string, cause: unknown): ReckonError {
  const { name, code, message, hint } = cause as Partial<ReckonError>;
  if (name === 'ReckonError' && code !== undefined && Object.hasOwn(failureCodes, code))
    return new ReckonError(code, message ?? '', hint, { cause });
  if (/Cannot find (module|package) 'reckon'/.test(message ?? ''))
    return new ReckonError(
      'invalid-definition',
      `${file} is read as CommonJS, which cannot import reckon.`,
      'Rename it to .mts (or .mjs), or export the plain object without definePipeline.',
      { cause },
    );
  // esbuild says in the second line what is wrong, and where.
  const lines = (message ?? String(cause)).split('\n').filter((line) => line.trim() !== '');
  const telling = lines[0]?.startsWith('Transform failed') === true ? lines[1] : lines[0];
  const words = (telling ?? '').replace(/\.$/, '');
  return new ReckonError('invalid-definition', `${file} cannot be loaded: ${words}.`, 'Correct the file.', {
    cause,
  });
}
