/**
 * Definitions in files of every kind, loaded by the loader of the real processes (one of its own, as Jest has another):
 * TypeScript and JavaScript, with an import of reckon or without, in folders with and without a package.json.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = join(__dirname, '..', '..');
let dir: string;

beforeAll(() => (dir = mkdtempSync(join(tmpdir(), 'reckon-definitions-'))));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

type Outcome = { name: string; fields: number; mapped: boolean } | { code: string; line: string };

function load(files: readonly string[]): Record<string, Outcome> {
  const program = [join(root, 'scripts', 'run.mjs'), '../test/support/load-pipelines', ...files];
  // Another folder as the working directory: whatever is found must not depend on it.
  return JSON.parse(execFileSync(process.execPath, program, { cwd: tmpdir(), encoding: 'utf8' })) as Record<
    string,
    Outcome
  >;
}

const object = (name: string): string => `{
  name: '${name}',
  event: {
    schema: { type: 'object', properties: { id: { type: 'string' }, at: { type: 'integer' } } },
    id: 'id', time: { field: 'at', format: 'epoch-ms' },
  },
  aggregates: { hourly: { window: { tumbling: '1h' }, measures: { events: 'count' } } },
  replay: { map: (row) => ({ ...row }) },
}`;

const sources: Record<string, (name: string) => string> = {
  plain: (name) => `export default ${object(name)};`,
  'by-path': (name) =>
    `import { definePipeline } from ${JSON.stringify(join(root, 'domain', 'pipeline.ts'))};\n` +
    `export default definePipeline(${object(name)});`,
  'by-name': (name) =>
    `import { definePipeline } from 'reckon';\nexport default definePipeline(${object(name)});`,
};

const folders: Record<string, string | null> = {
  bare: null,
  module: '{ "type": "module" }',
  commonjs: '{ "type": "commonjs" }',
  untyped: '{ "name": "mine" }',
};

function folder(name: string): string {
  const path = join(dir, name);
  mkdirSync(path, { recursive: true });
  const manifest = folders[name];
  if (typeof manifest === 'string') writeFileSync(join(path, 'package.json'), manifest);
  return path;
}

function write(folderName: string, fileName: string, text: string): string {
  const file = join(folder(folderName), fileName);
  writeFileSync(file, text);
  return file;
}

test.each(Object.keys(folders))('every kind of file loads in a folder "%s"', (folderName) => {
  const expected: Record<string, unknown> = {};
  for (const extension of ['ts', 'mts', 'js', 'mjs'])
    for (const [kind, source] of Object.entries(sources)) {
      const name = `${kind}-${extension}`;
      const esm = folderName === 'module' || extension.startsWith('m');
      const file = write(folderName, `${name}.${extension}`, source(name));
      expected[file] =
        esm || kind !== 'by-name'
          ? { name, fields: 2, mapped: true }
          : {
              code: 'invalid-definition',
              line: `${file} is read as CommonJS, which cannot import reckon. Rename it to .mts (or .mjs), or export the plain object without definePipeline.`,
            };
    }
  const files = Object.keys(expected);
  expect(files).toHaveLength(12);
  expect(load(files)).toEqual(expected);
});

test('the sample loads', () => {
  const sample = join(root, 'pipelines', 'flights.ts');
  expect(load([sample])[sample]).toMatchObject({ name: 'flights', mapped: true });
});

test('what is wrong is one line that names the file or the field', () => {
  const lines: Record<string, RegExp> = {
    [join(dir, 'absent.ts')]:
      /^RECKON_PIPELINE names .*absent\.ts, which does not exist\. Correct the path\.$/,
    [write('bare', 'torn.ts', 'export default {\n  name: ,\n};')]:
      /^.*torn\.ts cannot be loaded: .*torn\.ts:2:8: ERROR: Unexpected ","\. Correct the file\.$/,
    [write('bare', 'empty.mjs', '')]: /^.*empty\.mjs has no pipeline\. End it with: export default /,
    [write('bare', 'named.ts', `export const pipeline = ${object('named')};`)]:
      /^.*named\.ts has no pipeline\. /,
    [write('bare', 'number.js', 'export default 5;')]: /^.*number\.js has no pipeline\. /,
    [write('bare', 'throws.ts', `throw new Error('no luck\\nat all');`)]:
      /^.*throws\.ts cannot be loaded: no luck\. Correct the file\.$/,
    [write('bare', 'unknown.mts', `import 'nowhere-at-all';`)]:
      /^.*unknown\.mts cannot be loaded: Cannot find package 'nowhere-at-all' imported from .*unknown\.mts\. /,
    [write('bare', 'field.ts', `export default ${object('field').replace(`'1h'`, `'1x'`)};`)]:
      /^[^\n]*aggregates\.hourly\.window\.tumbling must be a duration above zero[^\n]*$/,
    [write('module', 'field.ts', sources['by-name']?.('Wrong Name') ?? '')]:
      /^[^\n]*name must be lower-case letters[^\n]*$/,
  };
  const outcomes = load(Object.keys(lines));
  for (const [file, line] of Object.entries(lines)) {
    const outcome = outcomes[file];
    expect(outcome).toEqual({
      code: expect.stringMatching(/^invalid-/) as string,
      line: expect.any(String) as string,
    });
    expect(outcome !== undefined && 'line' in outcome ? outcome.line : '').toMatch(line);
  }
});
