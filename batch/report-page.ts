/**
 * A report as a page for people: the verdict in words, then everything that it rests on. Guarantee: a pure function of the
 * report (the same report is the same bytes), self-contained, without scripts; all text is escaped.
 */
import { rejectionReasons } from '../domain/event.ts';
import { expiredOf } from '../domain/report.ts';
import type { Accounting, AccountingRow, Report } from '../domain/report.ts';
import { counted, grouped, html, nothing, page, table } from './page-frame.ts';
import type { Html } from './page-frame.ts';

export function renderReportPage(report: Report): string {
  const body = html`${verdict(report)} ${about(report)} ${differences(report)} ${aggregates(report)}
  ${accounting(report)} ${rejected(report)} ${evidence(report)}`;
  return page(`${report.pipeline}: ${verdictInWords(report).headline}`, body);
}

/** What the report says, in one headline and one sentence; the page and the API's list use the same words. */
export function verdictInWords(report: Report): {
  readonly tone: 'good' | 'bad' | 'open';
  readonly headline: string;
  readonly sentence: string;
} {
  const { unexplained, windowsCompared, groupsCompared, records, accounting: rows } = report;
  const gone = expiredOf(report);
  const expired = gone === 0 ? '' : ` (${counted(gone, 'record')} expired; their windows are left out)`;
  const compared = `${counted(windowsCompared, 'window')} (${counted(groupsCompared, 'group')}) of ${counted(records, 'record')}${expired}`;
  if (unexplained > 0) {
    const broken = rows.filter((row) => !row.holds).length;
    const parts = [
      counted(report.differencesTotal, 'difference') + ' between the layers',
      `${counted(broken, 'accounting row')} that ${broken === 1 ? 'does' : 'do'} not hold`,
    ];
    return {
      tone: 'bad',
      headline: `${grouped(unexplained)} unexplained`,
      sentence: `${parts.join(' and ')}, in ${compared}.`,
    };
  }
  if (windowsCompared === 0)
    return {
      tone: 'open',
      headline: 'Nothing to compare yet: 0 unexplained',
      sentence: `No ${report.scope === 'closed' ? 'closed ' : ''}window exists at this offset vector (${counted(records, 'record')}).`,
    };
  return {
    tone: 'good',
    headline: 'Exact: 0 unexplained',
    sentence: `The speed layer and the recomputation of the lake agree to the last digit on ${compared}.`,
  };
}

function verdict(report: Report): Html {
  const { tone, headline, sentence } = verdictInWords(report);
  return html`<section class="verdict ${tone}">
    <h1>${headline}</h1>
    <p>${sentence}</p>
  </section>`;
}

function about(report: Report): Html {
  const scope =
    report.scope === 'closed'
      ? 'the closed windows, which no record can change any more'
      : 'all windows, the open ones too';
  const partitions = Object.entries(report.vector);
  return html`<p>Pipeline <b>${report.pipeline}</b>, ${scope}. Report <code>${report.id}</code>.</p>
    <p class="dim">
      Both layers are functions of the log up to this offset vector (partition: next offset):
      <code>${partitions.map(([partition, offset]) => `${partition}: ${offset}`).join(', ') || 'empty'}</code>
    </p>`;
}

function differences(report: Report): Html {
  if (report.differencesTotal === 0) return nothing;
  const shown = report.differences.length;
  const note =
    shown < report.differencesTotal
      ? html`<p class="dim">The first ${grouped(shown)} of ${grouped(report.differencesTotal)}.</p>`
      : nothing;
  return html`<h2>Differences</h2>
    ${note}${table(
      [
        { name: 'class' },
        { name: 'aggregate' },
        { name: 'partition', numeric: true },
        { name: 'window' },
        { name: 'group' },
        { name: 'slot' },
        { name: 'speed', numeric: true },
        { name: 'batch', numeric: true },
      ],
      report.differences.map((difference) => [
        html`<b class="bad">${difference.class}</b>`,
        difference.aggregate,
        difference.partition,
        difference.windowStart,
        html`<code>${difference.group}</code>`,
        html`<code>${difference.slot}</code>`,
        difference.speed ?? 'none',
        difference.batch ?? 'none',
      ]),
    )}`;
}

function aggregates(report: Report): Html {
  const columns = ['windows', 'groups', 'matched', 'different'].map((name) => ({ name, numeric: true }));
  return html`<h2>Aggregates</h2>
    ${table(
      [{ name: 'aggregate' }, ...columns],
      report.aggregates.map((row) => [
        row.aggregate,
        grouped(row.windowsCompared),
        grouped(row.groupsCompared),
        grouped(row.matched),
        row.different === 0 ? '0' : html`<b class="bad">${grouped(row.different)}</b>`,
      ]),
    )}`;
}

const terms = ['counted', 'filtered', 'duplicate', 'late', 'dead'] as const;

/** One table for each aggregate, one row for each partition; two where the layers do not agree. */
function accounting(report: Report): Html {
  const names = [...new Set(report.accounting.map((row) => row.aggregate))];
  const columns = [
    'consumed',
    ...terms.map((term, i) => `${i === 0 ? '=' : '+'} ${term}`),
    'gaps',
    'offset span',
  ];
  const tables = names.map(
    (name) =>
      html`<h3>${name}</h3>
        ${table(
          [
            { name: 'partition', numeric: true },
            { name: 'layer' },
            ...columns.map((column) => ({ name: column, numeric: true })),
            { name: 'holds' },
          ],
          report.accounting.filter((row) => row.aggregate === name).flatMap(accountingRows),
        )}`,
  );
  return html`<h2>Accounting</h2>
    <p class="dim">
      In every row: consumed = counted + filtered + duplicate + late + dead, consumed + gaps = offset span,
      and both layers agree on every term.
    </p>
    ${tables}`;
}

function accountingRows(row: AccountingRow): (Html | string | number)[][] {
  const keys: readonly (keyof Accounting)[] = ['consumed', ...terms];
  const agree = keys.every((key) => row.speed[key] === row.batch[key]);
  const layers = agree ? (['both'] as const) : (['speed', 'batch'] as const);
  return layers.map((layer) => {
    const own = layer === 'both' ? row.speed : row[layer];
    const other = layer === 'speed' ? row.batch : row.speed;
    return [
      row.partition,
      layer,
      ...keys.map((key) =>
        own[key] === other[key] ? grouped(own[key]) : html`<b class="bad">${grouped(own[key])}</b>`,
      ),
      grouped(row.offsetGaps),
      grouped(row.offsetSpan),
      row.holds ? html`<b class="good">yes</b>` : html`<b class="bad">no</b>`,
    ];
  });
}

function rejected(report: Report): Html {
  const reasons = Object.entries(report.deadByReason);
  if (reasons.length === 0) return nothing;
  const meanings: Readonly<Record<string, string>> = rejectionReasons;
  return html`<h2>Dead-lettered records</h2>
    ${table(
      [{ name: 'reason' }, { name: 'records', numeric: true }, { name: 'meaning' }],
      reasons.map(([reason, records]) => [
        html`<code>${reason}</code>`,
        grouped(records),
        meanings[reason] ?? '',
      ]),
    )}`;
}

/** What a reader needs to repeat the recomputation without Reckon. */
function evidence(report: Report): Html {
  const queries = report.sql.map(
    ({ aggregate, sql }) =>
      html`<details>
        <summary>SQL of <b>${aggregate}</b>, for any DuckDB shell</summary>
        <pre>${sql}</pre>
      </details> `,
  );
  return html`<h2>Evidence</h2>
    ${queries}
    <details>
      <summary>${counted(report.files.length, 'data file')} of the lake</summary>
      <pre>${report.files.join('\n')}</pre>
    </details> `;
}
