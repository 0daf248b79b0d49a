/**
 * The first page: pipelines with their live status, and the reports. Guarantee: complete without scripts; the one script
 * only renews the page's content every two seconds.
 */
import { counted, grouped, Html, html, nothing, page, table } from '../batch/page-frame.ts';
import type { ReportEntry } from '../batch/report-store.ts';
import type { PartitionStatus, PipelineStatus } from '../domain/status.ts';
import { linksOf } from './links.ts';

export type StatusResult =
  | { readonly ok: true; readonly pipelines: readonly PipelineStatus[] }
  | { readonly ok: false; readonly problem: string };

export interface HomePage {
  readonly pipelines: readonly string[];
  readonly status: StatusResult;
  readonly reports: readonly ReportEntry[];
  readonly temporalUiUrl: string | null;
}

const renewScript = new Html(`<script>
setInterval(async () => {
  if (document.hidden) return;
  try {
    const text = await (await fetch('/')).text();
    const next = new DOMParser().parseFromString(text, 'text/html').getElementById('live');
    const live = document.getElementById('live');
    if (next === null) return;
    const opened = [...live.querySelectorAll('details')].map((details) => details.open);
    next.querySelectorAll('details').forEach((details, i) => { details.open = opened[i] ?? false; });
    live.replaceWith(next);
    document.getElementById('away').hidden = true;
  } catch { document.getElementById('away').hidden = false; }
}, 2000);
</script>
`);

export function renderHomePage(home: HomePage): string {
  const { temporalUiUrl } = home;
  const temporal =
    temporalUiUrl === null
      ? nothing
      : html` · <a href="${temporalUiUrl}">Temporal UI</a> (schedules, workflows)`;
  const body = html`<h1>Reckon</h1>
    <p class="dim">
      Streaming counts you can prove. <a href="/v1/status">Status</a> and <a href="/v1/reports">reports</a> as
      JSON${temporal}
    </p>
    <p id="away" hidden><b class="bad">The server does not answer; what follows is old.</b></p>
    <main id="live">${statusOf(home)} ${reportsOf(home.reports)}</main>`;
  return page('Reckon', body, renewScript);
}

function statusOf({ pipelines, status }: HomePage): Html {
  if (!status.ok)
    return html`<h2>Pipelines</h2>
      <p>${pipelines.join(', ')}</p>
      <p><b class="bad">The live status cannot be read:</b> ${status.problem}</p>`;
  return html`${status.pipelines.map(pipelineOf)}`;
}

function pipelineOf(pipeline: PipelineStatus): Html {
  const numeric = ['partition', 'consumed up to', 'end of log', 'lag'].map((name) => ({
    name,
    numeric: true,
  }));
  return html`<h2>${pipeline.pipeline}</h2>
    <p>
      <b>${counted(pipeline.records, 'record')}</b> consumed, <b>${grouped(pipeline.counted)}</b> counted, lag
      <b>${grouped(pipeline.lag)}</b>, <b>${counted(pipeline.openWindows, 'open window')}</b>, watermark
      ${pipeline.watermark ?? 'none yet'}${stoppedOf(pipeline)}
    </p>
    <details>
      <summary>${counted(pipeline.partitions.length, 'partition')} of topic ${pipeline.topic}</summary>
      ${table(
        [...numeric, { name: 'watermark' }, { name: 'state' }],
        pipeline.partitions.map((partition) => [
          partition.partition,
          grouped(partition.nextOffset),
          grouped(partition.endOffset),
          grouped(partition.lag),
          partition.watermark ?? 'none yet',
          stateOf(partition),
        ]),
      )}
    </details>`;
}

/** Told without opening anything. */
function stoppedOf({ partitions }: PipelineStatus): Html {
  const stopped = partitions.filter((partition) => partition.stopped !== null);
  return stopped.length === 0
    ? nothing
    : html`, <b class="bad">${counted(stopped.length, 'partition')} stopped</b>`;
}

function stateOf({ stopped, idle, epoch }: PartitionStatus): Html | string {
  if (stopped !== null) return html`<b class="bad">stopped: ${stopped}</b>`;
  if (epoch === 0) return 'not begun';
  return idle ? 'idle' : 'active';
}

function reportsOf(reports: readonly ReportEntry[]): Html {
  if (reports.length === 0)
    return html`<h2>Reports</h2>
      <p class="dim">None yet. A schedule writes them, and so does <code>npm run reconcile</code>.</p>`;
  return html`<h2>Reports</h2>
    ${table(
      [
        { name: 'written' },
        { name: 'pipeline' },
        { name: 'verdict' },
        { name: 'scope' },
        { name: 'records', numeric: true },
        { name: 'windows', numeric: true },
        { name: 'report' },
      ],
      reports.map((report) => {
        const links = linksOf(report);
        const verdict =
          report.unexplained === 0
            ? html`<b class="good">0 unexplained</b>`
            : html`<b class="bad">${grouped(report.unexplained)} unexplained</b>`;
        return [
          report.writtenAt.replace('T', ' ').replace(/\.\d+Z$/, ' UTC'),
          report.pipeline,
          verdict,
          report.scope,
          grouped(report.records),
          grouped(report.windowsCompared),
          html`<a href="${links.page}">page</a> <a href="${links.json}">JSON</a>`,
        ];
      }),
    )}`;
}
