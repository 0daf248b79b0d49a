/** Before the end-to-end tests: one Kafka, one Redis and one Temporal for all of them, on ports of their own. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Endpoints } from '../../scripts/stack/stack.ts';

/** Shared with the teardown, which Jest runs in the same process. */
export interface Kept {
  stackKeeper?: ChildProcess;
}

export const stackVariable = 'RECKON_TEST_STACK';

export default async function setUp(): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'reckon-end-to-end-'));
  const root = join(__dirname, '..', '..');
  const keeper = spawn(
    process.execPath,
    [join(root, 'scripts', 'run.mjs'), '../test/support/stack-keeper', dir],
    // A session of its own: Ctrl-C ends the tests first, and then, by the end of its input, the keeper.
    { stdio: ['pipe', 'pipe', 'inherit'], detached: true },
  );
  (globalThis as Kept).stackKeeper = keeper;
  const line = await new Promise<string>((resolve, reject) => {
    createInterface({ input: keeper.stdout }).once('line', resolve);
    keeper.once('error', reject);
    keeper.once('close', (code) => reject(new Error(`the servers did not start (exit code ${code})`)));
  });
  const endpoints = JSON.parse(line) as Endpoints;
  // Jest's workers inherit the environment that the setup leaves.
  process.env[stackVariable] = JSON.stringify({ ...endpoints, dir });
}
