/**
 * Reports of reconciliations as files: `<dir>/<pipeline>/<id>.json` and, beside it, the page `<id>.html`.
 * Guarantee: the same report is the same bytes (sorted keys, one trailing newline) and writing it again changes nothing;
 * a reader sees a whole file or none (temporary file, then rename; the page first, so a listed report has its page); an
 * id or a pipeline's name from outside never leads out of the folder.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Report } from '../domain/report.ts';
import { renderReportPage } from './report-page.ts';

/** A report as lists show it. */
export interface ReportEntry {
  readonly pipeline: string;
  readonly id: string;
  /** ISO 8601, UTC: when the file was written. */
  readonly writtenAt: string;
  readonly scope: Report['scope'];
  readonly verdict: Report['verdict'];
  readonly records: string;
  readonly windowsCompared: number;
  readonly unexplained: number;
}

export interface ReportStore {
  /** @returns the absolute paths of the JSON file and of the page. */
  write(report: Report): Promise<{ readonly reportPath: string; readonly pagePath: string }>;
  /** Newest first, at most `limit`. */
  list(options?: { readonly pipeline?: string; readonly limit?: number }): Promise<readonly ReportEntry[]>;
  /** The JSON text exactly as written; null when there is no such report. */
  readJson(pipeline: string, id: string): Promise<string | null>;
  /** The HTML page; null when there is no such report. */
  readPage(pipeline: string, id: string): Promise<string | null>;
}

const defaultListLimit = 100;

export function createReportStore(reportsDir: string): ReportStore {
  const dir = resolve(reportsDir);
  const pathOf = (pipeline: string, id: string, ending: 'json' | 'html'): string | null =>
    isName(pipeline) && isName(id) ? join(dir, pipeline, `${id}.${ending}`) : null;
  const read = (path: string | null): Promise<string | null> =>
    path === null ? Promise.resolve(null) : readIfThere(path);

  return {
    async write(report) {
      const reportPath = pathOf(report.pipeline, report.id, 'json');
      const pagePath = pathOf(report.pipeline, report.id, 'html');
      if (reportPath === null || pagePath === null)
        throw new Error(`"${report.pipeline}/${report.id}" cannot name a report`);
      await mkdir(dirname(reportPath), { recursive: true });
      await writeWhole(pagePath, renderReportPage(report));
      await writeWhole(reportPath, canonicalJson(report));
      return { reportPath, pagePath };
    },

    async list({ pipeline, limit = defaultListLimit } = {}) {
      const pipelines = (await namesIn(dir)).filter((name) => pipeline === undefined || name === pipeline);
      const files = (await Promise.all(pipelines.map((name) => filesOf(dir, name)))).flat();
      files.sort(
        (a, b) => b.writtenMs - a.writtenMs || a.path.localeCompare(b.path, 'en', { numeric: true }),
      );
      return Promise.all(files.slice(0, limit).map(readEntry));
    },

    readJson: (pipeline, id) => read(pathOf(pipeline, id, 'json')),
    readPage: (pipeline, id) => read(pathOf(pipeline, id, 'html')),
  };
}

/** JSON with sorted keys at every depth, indented, with one trailing newline: equal values are equal bytes. */
export function canonicalJson(value: unknown): string {
  return `${JSON.stringify(value, sortKeys, 2)}\n`;
}

function sortKeys(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const entries = Object.entries(value);
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
}

interface ReportFile {
  readonly path: string;
  readonly pipeline: string;
  readonly id: string;
  readonly writtenMs: number;
}

/** One path segment of harmless characters that does not begin with a dot. */
function isName(text: string): boolean {
  return /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}$/.test(text);
}

async function namesIn(dir: string): Promise<string[]> {
  try {
    return (await readdir(dir)).filter(isName);
  } catch (error) {
    if (isMissing(error) || (error as NodeJS.ErrnoException).code === 'ENOTDIR') return [];
    throw error;
  }
}

async function filesOf(dir: string, pipeline: string): Promise<ReportFile[]> {
  const names = (await namesIn(join(dir, pipeline))).filter((name) => name.endsWith('.json'));
  return Promise.all(
    names.map(async (name) => {
      const path = join(dir, pipeline, name);
      const { mtimeMs } = await stat(path);
      return { path, pipeline, id: name.slice(0, -'.json'.length), writtenMs: mtimeMs };
    }),
  );
}

async function readEntry({ path, pipeline, id, writtenMs }: ReportFile): Promise<ReportEntry> {
  const report = JSON.parse(await readFile(path, 'utf8')) as Report;
  const { scope, verdict, records, windowsCompared, unexplained } = report;
  const writtenAt = new Date(writtenMs).toISOString();
  return { pipeline, id, writtenAt, scope, verdict, records, windowsCompared, unexplained };
}

async function readIfThere(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

/** Writes a file by (1) a synced temporary file in the same folder and (2) one rename. Equal content is left alone. */
async function writeWhole(path: string, content: string): Promise<void> {
  if ((await readIfThere(path)) === content) return;
  const draft = join(dirname(path), `.${randomUUID()}.draft`);
  try {
    const file = await open(draft, 'wx');
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}
