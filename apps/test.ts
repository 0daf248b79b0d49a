/**
 * `npm test`: provisions the servers, then runs all tests: first those that need no server, then those on real ones.
 * Guarantee: the last line is `N passed, N failed`, where a file that cannot run counts as a failure; exit code 0 only when
 * nothing failed and something passed. Further arguments go to Jest: `npm test -- test/unit/compose.test.ts`.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { provisionAll } from '../scripts/stack/stack.ts';
import { projectRoot } from './config.ts';
import { runMain } from './main.ts';

/**
 * Two runs, as Jest has one number of workers for all of its projects. On two cores, two files on real servers at a time
 * would make each other's deadlines a matter of luck.
 */
const runs = [
  ['--selectProjects', 'unit'],
  ['--selectProjects', 'servers', 'end-to-end', '--maxWorkers=1'],
] as const;

/** Suites that take longer are listed at the end, slowest first. */
const slowSuiteMs = 5_000;

/** The part of Jest's JSON output that is read here. */
interface JestResult {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  /** Files that failed before any of their tests ran. */
  readonly numRuntimeErrorTestSuites: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly startTime: number;
    readonly endTime: number;
  }[];
}

interface Totals {
  readonly passed: number;
  readonly failed: number;
  readonly suites: readonly { readonly name: string; readonly ms: number }[];
}

await runMain(async () => {
  const args = process.argv.slice(2);
  await provisionAll((line) => process.stderr.write(`${line}\n`));
  // After the given arguments: --selectProjects would take a path that follows for one more project.
  const chosen = args.includes('--selectProjects') ? [[]] : runs;
  const totals: Totals[] = [];
  for (const run of chosen) totals.push(await runJest([...args, ...run]));

  const suites = totals.flatMap((total) => total.suites).sort((a, b) => b.ms - a.ms);
  for (const { name, ms } of suites.filter((suite) => suite.ms >= slowSuiteMs))
    process.stdout.write(`${(ms / 1000).toFixed(1).padStart(7)} s  ${name}\n`);
  const sum = (of: (total: Totals) => number): number => totals.reduce((all, total) => all + of(total), 0);
  const [passed, failed] = [sum((total) => total.passed), sum((total) => total.failed)];
  process.stdout.write(`${passed} passed, ${failed} failed\n`);
  return failed === 0 && passed > 0 ? 0 : 1;
});

async function runJest(args: readonly string[]): Promise<Totals> {
  const folder = mkdtempSync(join(tmpdir(), 'reckon-test-'));
  const outputFile = join(folder, 'result.json');
  try {
    const code = await run([
      join(projectRoot, 'node_modules', 'jest', 'bin', 'jest.js'),
      '--passWithNoTests',
      '--json',
      `--outputFile=${outputFile}`,
      ...args,
    ]);
    if (!existsSync(outputFile)) return { passed: 0, failed: code === 0 ? 0 : 1, suites: [] };
    return totalsOf(JSON.parse(readFileSync(outputFile, 'utf8')) as JestResult, code);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function totalsOf(result: JestResult, code: number): Totals {
  const failed = result.numFailedTests + result.numRuntimeErrorTestSuites;
  return {
    passed: result.numPassedTests,
    // Jest also fails for other reasons than a test, such as a broken teardown.
    failed: failed === 0 && code !== 0 ? 1 : failed,
    suites: result.testResults.map(({ name, startTime, endTime }) => ({
      name: relative(projectRoot, name),
      ms: endTime - startTime,
    })),
  };
}

function run(args: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, {
      cwd: projectRoot,
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    // Ctrl-C in a terminal reaches Jest anyway; here we only wait for its end, and pass on what others send.
    const waitOn = (): void => undefined;
    const pass = (): void => void child.kill('SIGTERM');
    process.on('SIGINT', waitOn).on('SIGTERM', pass);
    child.once('error', reject);
    child.once('close', (code, signal) => {
      process.off('SIGINT', waitOn).off('SIGTERM', pass);
      resolve(signal === null ? (code ?? 1) : 1);
    });
  });
}
