/** A program for tests: loads the given definition files as every process does, and prints what came of each. */
import { loadPipelines } from '../../apps/pipelines.ts';
import { ReckonError } from '../../domain/errors.ts';

const outcomes: Record<string, unknown> = {};
for (const file of process.argv.slice(2)) {
  try {
    const [pipeline] = await loadPipelines([file]);
    outcomes[file] = {
      name: pipeline?.name,
      fields: pipeline?.fields.length,
      mapped: pipeline?.replayMap !== null,
    };
  } catch (error) {
    outcomes[file] =
      error instanceof ReckonError ? { code: error.code, line: error.line } : { bug: String(error) };
  }
}
process.stdout.write(`${JSON.stringify(outcomes)}\n`);
