// Purpose: the one door of every command (`npm start`, `npm test`, `npm run stream`, ...). It needs nothing but Node:
// it installs the locked dependencies when they are missing or outdated, then runs `apps/<name>.ts`.
import { existsSync, lstatSync, statSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const [name, ...args] = process.argv.slice(2);

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(`reckon: Node ${process.versions.node} is too old. Install Node 20.19 or newer.`);
  process.exit(1);
}
installDependencies();
process.argv = [process.argv[0], join(root, 'apps', `${name}.ts`), ...args];
const { register } = await import(pathToFileURL(join(root, 'node_modules/tsx/dist/esm/api/index.mjs')).href);
register();
await import(pathToFileURL(process.argv[1]).href);

/** Runs `npm ci` unless npm has installed this lock file already (its own record is younger than the lock file). */
function installDependencies() {
  const modules = join(root, 'node_modules');
  // Of a link, npm ci would empty the folder of the other checkout; whoever made the link looks after it.
  if (lstatSync(modules, { throwIfNoEntry: false })?.isSymbolicLink()) return;
  const record = join(modules, '.package-lock.json');
  const lock = join(root, 'package-lock.json');
  if (existsSync(record) && statSync(record).mtimeMs >= statSync(lock).mtimeMs) return;
  console.error('reckon: installing the locked dependencies with npm (half a minute, once)');
  const done = spawnSync('npm', ['ci', '--no-fund', '--no-audit', '--loglevel=error'], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  if (done.status !== 0) {
    console.error('reckon: npm ci failed. Read its message above, then run the command again.');
    process.exit(1);
  }
}
