/** A run of chaos: its servers, its rounds, its verdict. Guarantee: nothing of it runs on, whether it ends or is interrupted. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beginning, roundLines, totalsOf, unexplainedOf } from './report.ts';
import type { Totals } from './report.ts';
import { runRound } from './round.ts';
import type { RoundResult } from './round.ts';
import { planRounds } from './schedule.ts';
import { startServers } from './servers.ts';
import type { Servers } from './servers.ts';

export interface ChaosOptions {
  readonly seed: string;
  readonly rounds: number;
  /** This round alone. */
  readonly only: number | null;
  readonly say: (line: string) => void;
}

export interface ChaosRun {
  readonly totals: Promise<Totals>;
  /** Ends everything now. */
  stop(): Promise<void>;
}

export function startChaos({ seed, rounds, only, say }: ChaosOptions): ChaosRun {
  const folder = mkdtempSync(join(tmpdir(), 'reckon-chaos-'));
  const plans = planRounds(seed, Math.max(rounds, only ?? 0)).filter(
    ({ number }) => only === null || number === only,
  );
  let servers: Servers | null = null;
  let kept = false;
  const stop = async (): Promise<void> => {
    await servers?.stop();
    if (!kept) rmSync(folder, { recursive: true, force: true });
  };

  const totals = async (): Promise<Totals> => {
    say(`chaos with seed ${seed}: every round can be repeated by its number`);
    servers = await startServers(folder, (line) => say(`  ${line}`));
    const results: RoundResult[] = [];
    for (const plan of plans) {
      const roundFolder = join(folder, `round-${plan.number}`);
      say(beginning(plan, rounds));
      const result = await runRound(plan, servers, roundFolder, say);
      results.push(result);
      const isExact = unexplainedOf(result) === 0 && result.faults.every(({ fired }) => fired);
      const repeat = `npm run chaos -- --seed ${seed} --round ${plan.number}`;
      for (const line of roundLines(result, repeat, roundFolder)) say(line);
      if (isExact) rmSync(roundFolder, { recursive: true, force: true });
      else {
        kept = true;
        writeFileSync(join(roundFolder, 'result.json'), `${JSON.stringify({ plan, ...result }, null, 1)}\n`);
      }
    }
    return totalsOf(seed, results);
  };
  return { totals: totals(), stop };
}
