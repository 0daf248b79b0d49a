/**
 * `npm run bench -- speed|catch-up|read|dedup|recompute|history|archive`: measures, and proves that what was measured was right. Guarantee: exit code 1 and one
 * clear line where counts differ; whatever ends it, no process and no data of its own stay behind.
 */
import { benchArchive } from '../bench/archive.ts';
import { benchCatchUp } from '../bench/catch-up.ts';
import { benchDedup } from '../bench/dedup.ts';
import { benchHistory } from '../bench/history.ts';
import { benchRead } from '../bench/read.ts';
import { benchRecompute } from '../bench/recompute.ts';
import { benchSpeed } from '../bench/speed.ts';
import type { BenchOptions } from '../bench/speed.ts';
import { ReckonError } from '../domain/errors.ts';
import { printJson, readOptions, runMain, shutdownRequested } from './main.ts';

const usage =
  'npm run bench -- speed|catch-up|read|dedup|recompute|history|archive [--records N] [--seed S] [--json]';

interface Outcome {
  readonly equal: boolean;
  readonly difference: string | null;
}

const benchmarks: Readonly<Record<string, (options: BenchOptions) => Promise<Outcome>>> = {
  speed: benchSpeed,
  'catch-up': benchCatchUp,
  read: benchRead,
  dedup: benchDedup,
  recompute: benchRecompute,
  history: benchHistory,
  archive: benchArchive,
};
const recordsDefault = 3_000_000;

await runMain(async () => {
  const { values, positionals } = readOptions(usage, {
    records: { type: 'string' },
    seed: { type: 'string' },
    json: { type: 'boolean' },
  });
  const [name = '', ...others] = positionals;
  const bench = Object.hasOwn(benchmarks, name) ? benchmarks[name] : undefined;
  if (bench === undefined || others.length > 0)
    throw new ReckonError('invalid-input', 'Name one benchmark.', `Usage: ${usage}`);
  const options = {
    records: readCount('--records', values['records'], 1) ?? recordsDefault,
    seed: readCount('--seed', values['seed'], 0) ?? 1,
    say: (line: string) => void process.stderr.write(`${line}\n`),
  };
  const stop = new AbortController();
  void shutdownRequested().then(() => stop.abort());
  let outcome: Outcome;
  try {
    outcome = await bench({ ...options, signal: stop.signal });
  } catch (error) {
    if (stop.signal.aborted) return 130;
    throw error;
  }
  if (values['json'] === true) printJson({ ...outcome });
  else process.stdout.write(`${JSON.stringify(outcome, null, 2)}\n`);
  if (outcome.equal) return 0;
  options.say(`reckon: the counts are wrong: ${outcome.difference}`);
  return 1;
});

function readCount(name: string, value: string | boolean | undefined, least: number): number | null {
  if (value === undefined) return null;
  const count = Number(value);
  if (Number.isSafeInteger(count) && count >= least && value !== '') return count;
  throw new ReckonError(
    'invalid-input',
    `${name} must be an integer of at least ${least}.`,
    `Usage: ${usage}`,
  );
}
