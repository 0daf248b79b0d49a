// Purpose: `npm run check`, what a person runs before every commit: format, lint, types and the tests that need no server,
// side by side. Guarantee: each step's output is printed whole, when it ends; exit code 1 when any of them failed.
import { spawn } from 'node:child_process';

const steps = ['test:unit', 'lint', 'types', 'format:check'];

const codes = await Promise.all(steps.map(run));
process.exitCode = codes.every((code) => code === 0) ? 0 : 1;

function run(step) {
  const began = performance.now();
  const child = spawn('npm', ['run', '--silent', step], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.on('data', (chunk) => (output += chunk));
  child.stderr.on('data', (chunk) => (output += chunk));
  return new Promise((resolve) => {
    child.once('close', (code) => {
      const seconds = ((performance.now() - began) / 1000).toFixed(0);
      process.stdout.write(
        `${code === 0 ? 'ok    ' : 'FAILED'} ${step} (${seconds} s)\n${code === 0 ? '' : output}`,
      );
      resolve(code);
    });
  });
}
