/**
 * The import table of DESIGN.md section 1 and the rules of the house, read from the tree itself: who may import whom, one
 * file for each driver, short files that say what they are for, and nothing of the machine they were written on.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import ts from 'typescript';

const root = join(__dirname, '..', '..');
const ignored = new Set(['node_modules', '.git', '.reckon', 'coverage', 'dist']);

function walk(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) return ignored.has(entry.name) ? [] : walk(path);
    return entry.isFile() ? [path] : [];
  });
}

const tree = walk('');
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const folderOf = (path: string) => path.split('/')[0] ?? '';
const isCode = (path: string) => /\.(ts|mts|mjs|cjs|js|lua)$/.test(path);

interface Import {
  readonly file: string;
  readonly specifier: string;
  /** Path inside the project, or null for a package. */
  readonly target: string | null;
}

const imports: Import[] = tree
  .filter((path) => /\.(ts|mts|mjs|js)$/.test(path))
  .flatMap((file) =>
    ts.preProcessFile(read(file), true, true).importedFiles.map(({ fileName }) => ({
      file,
      specifier: fileName,
      target: fileName.startsWith('.')
        ? relative(root, join(root, dirname(file), fileName)).replaceAll('\\', '/')
        : null,
    })),
  );

/** What each folder may import besides itself. Folders that are not named here may import anything. */
const table: Record<string, readonly string[]> = {
  domain: [],
  clients: ['domain'],
  ingest: ['domain', 'clients'],
  stream: ['domain', 'clients'],
  batch: ['domain', 'clients'],
  activities: ['domain', 'clients', 'ingest', 'stream', 'batch'],
  workflows: ['domain'],
  serving: ['domain', 'clients', 'stream', 'batch'],
  pipelines: ['domain'],
};
/** What serving may see of the layers: what reads, never what folds, commits, archives or recomputes. */
const readSides = new Set([
  'stream/state-store.ts',
  'stream/keys.ts',
  'stream/progress.ts',
  'stream/snapshot.ts',
  'batch/report-store.ts',
  'batch/report-page.ts',
  'batch/page-frame.ts',
]);
const free = new Set(['apps', 'scripts', 'test', 'bench', 'chaos']);

it('found the project', () => {
  expect(imports.length).toBeGreaterThan(200);
  for (const folder of Object.keys(table))
    expect([folder, tree.some((path) => folderOf(path) === folder)]).toEqual([folder, true]);
});

it('every folder with code is in the import table', () => {
  const folders = new Set(tree.filter((path) => isCode(path) && path.includes('/')).map(folderOf));
  expect(
    [...folders].filter((folder) => !(folder in table) && !free.has(folder) && !folder.startsWith('.')),
  ).toEqual([]);
});

it.each(Object.entries(table))('%s/ imports only itself and [%s]', (folder, allowed) => {
  const wrong = imports.filter(
    ({ file, target }) =>
      folderOf(file) === folder && target !== null && ![folder, ...allowed].includes(folderOf(target)),
  );
  expect(wrong.map(({ file, target }) => `${file} imports ${target}`)).toEqual([]);
});

it('serving/ imports only the read sides of stream/ and batch/', () => {
  const seen = imports.filter(
    ({ file, target }) =>
      folderOf(file) === 'serving' && target !== null && ['stream', 'batch'].includes(folderOf(target)),
  );
  expect(
    seen
      .filter(({ target }) => !readSides.has(target ?? ''))
      .map(({ file, target }) => `${file} imports ${target}`),
  ).toEqual([]);
});

it('apps/ is imported by apps/, scripts/ and test/ only', () => {
  const wrong = imports.filter(
    ({ file, target }) =>
      target !== null && folderOf(target) === 'apps' && !['apps', 'scripts', 'test'].includes(folderOf(file)),
  );
  expect(wrong.map(({ file }) => file)).toEqual([]);
});

it('every relative import names a file that exists, with its ending', () => {
  expect(
    imports
      .filter(({ target }) => target !== null && !existsSync(join(root, target)))
      .map(({ file, specifier }) => `${file}: ${specifier}`),
  ).toEqual([]);
});

const source = imports.filter(
  ({ file }) => file.includes('/') && !['test', 'bench'].includes(folderOf(file)),
);
const importersOf = (name: string) => [
  ...new Set(
    source
      .filter(({ specifier }) => specifier === name || specifier.startsWith(`${name}/`))
      .map(({ file }) => file),
  ),
];

it.each([
  ['kafkajs', 'clients/kafka.ts'],
  ['ioredis', 'clients/redis.ts'],
  ['@duckdb/node-api', 'clients/duckdb.ts'],
  ['@aws-sdk/client-s3', 'clients/s3-store.ts'],
  ['@temporalio/client', 'clients/temporal.ts'],
  ['@temporalio/worker', 'apps/worker.ts'],
])('%s is imported by %s alone', (name, file) => {
  expect(importersOf(name)).toEqual([file]);
});

it.each([
  ['@temporalio/workflow', 'workflows'],
  ['@temporalio/activity', 'activities'],
])('%s is imported in %s/ only', (name, folder) => {
  const files = importersOf(name);
  expect(files.length).toBeGreaterThan(0);
  expect(files.filter((file) => folderOf(file) !== folder)).toEqual([]);
});

it.each(['domain', 'workflows'])(
  '%s/ knows no platform: no Node module, no global of Node, no clock, no randomness',
  (folder) => {
    const files = tree.filter((path) => folderOf(path) === folder && path.endsWith('.ts'));
    expect(
      imports.filter(({ file, specifier }) => folderOf(file) === folder && specifier.startsWith('node:')),
    ).toEqual([]);
    const impure =
      /\b(process\.|Buffer\.|require\(|Math\.random|Date\.now|new Date\(\)|performance\.|setTimeout|setInterval|fetch\()/;
    expect(files.filter((path) => impure.test(withoutComments(read(path))))).toEqual([]);
  },
);

it('the packages that are imported are those of package.json', () => {
  const manifest = JSON.parse(read('package.json')) as Record<
    'dependencies' | 'devDependencies',
    Record<string, string>
  >;
  const nameOf = (specifier: string) =>
    specifier
      .split('/')
      .slice(0, specifier.startsWith('@') ? 2 : 1)
      .join('/');
  const packages = new Set(
    source
      .filter(
        ({ target, specifier }) =>
          target === null && !specifier.startsWith('node:') && specifier !== 'reckon',
      )
      .map(({ specifier }) => nameOf(specifier)),
  );
  expect([...packages].filter((name) => !(name in manifest.dependencies))).toEqual([]);
  const versions = Object.values({ ...manifest.dependencies, ...manifest.devDependencies });
  expect(versions.filter((version) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))).toEqual([]);
});

function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/(^|\s)\/\/.*$/gm, '');
}

describe('every file', () => {
  const code = tree.filter((path) => isCode(path) && !path.endsWith('.d.ts'));
  const ours = code.filter((path) => folderOf(path) !== 'test');

  it('of the source has at most 300 lines', () => {
    const lengths = ours.map((path) => [path, read(path).split('\n').length - 1] as const);
    expect(lengths.filter(([, lines]) => lines > 300)).toEqual([]);
  });

  it('opens with a comment that says what it is for', () => {
    const opening = /^(#!.*\n)?(\/\*\*|\/\/|--) ?\s*\S/;
    expect(code.filter((path) => path.includes('/') && !opening.test(read(path)))).toEqual([]);
  });

  it('has a name that says something', () => {
    expect(tree.filter((path) => /(^|\/)(utils?|helpers?|misc|common)(\.[a-z]+)+$/.test(path))).toEqual([]);
  });

  it('holds no path of a machine and no host of a package registry', () => {
    const texts = tree.filter(
      (path) => statSync(join(root, path)).size < 1_000_000 && !/\.(parquet|png|ico|gz)$/.test(path),
    );
    // Written so that this file does not find itself.
    const machine = /(^|[\s'"`(=:])\/(work|home|Users|root|private)\//m;
    const registry =
      /\b(registry\.npmjs|registry\.yarnpkg|repo1?\.maven|proxy\.golang|pypi|pythonhosted)\.\w/;
    const found = texts.filter(
      (path) => machine.test(read(path)) || registry.test(read(path)) || read(path).includes(`${homedir()}/`),
    );
    expect(found).toEqual([]);
  });
});
