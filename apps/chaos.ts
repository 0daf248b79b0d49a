/**
 * `npm run chaos -- --rounds N --seed S`: faults on real servers while events flow, then every window against an independent
 * recomputation of the topic. Guarantee: exit code 0 only when every fault happened and nothing is unexplained; Ctrl-C ends
 * everything that it started.
 */
import { randomInt } from 'node:crypto';
import { startChaos } from '../chaos/run.ts';
import { ReckonError } from '../domain/errors.ts';
import { printJson, readOptions, runMain, shutdownRequested } from './main.ts';
import type { Options } from './main.ts';

const usage = 'npm run chaos -- [--rounds N] [--seed S] [--round K] [--json]';
const roundsDefault = '20';
const lingerMs = 1_000;

await runMain(async () => {
  const { values } = readOptions(usage, {
    rounds: { type: 'string' },
    seed: { type: 'string' },
    round: { type: 'string' },
    json: { type: 'boolean' },
  });
  const only = values['round'] === undefined ? null : readCount('round', values['round']);
  const rounds = readCount('rounds', values['rounds'] ?? roundsDefault);
  const seed = typeof values['seed'] === 'string' ? values['seed'] : String(randomInt(1_000_000));
  const interrupted = shutdownRequested();
  const run = startChaos({ seed, rounds, only, say: (line) => process.stderr.write(`${line}\n`) });
  try {
    const totals = await Promise.race([run.totals, interrupted]);
    if (typeof totals === 'string') {
      run.totals.catch(() => undefined);
      await run.stop();
      process.exit(130);
    }
    const { faultsFired, faultsNotFired, windowsCompared, unexplained, records } = totals;
    const isExact = unexplained === 0 && faultsNotFired === 0;
    process.stdout.write(
      `verdict: ${isExact ? 'exact' : 'NOT EXACT'}. ${totals.rounds} rounds, ${faultsFired} faults (${faultsNotFired} did not happen), ` +
        `${records} records, ${windowsCompared} windows compared, ${unexplained} unexplained\n`,
    );
    if (values['json'] === true) printJson({ ...totals });
    return isExact ? 0 : 1;
  } finally {
    await run.stop();
    // kafkajs may leave a connection open after a broker's restart.
    setTimeout(() => process.exit(), lingerMs).unref();
  }
});

function readCount(name: string, text: Options[string]): number {
  if (typeof text === 'string' && /^[1-9]\d{0,4}$/.test(text)) return Number(text);
  throw new ReckonError('invalid-input', `--${name} is ${text}.`, 'It must be a whole number above 0.');
}
