/** The page of a report: the verdict in words, everything escaped, the same bytes for the same report. */
import { renderReportPage, verdictInWords } from '../../batch/report-page.ts';
import { sampleReport, unexplainedReport } from '../support/sample-report.ts';

test('an exact report says so in its first headline', () => {
  const page = renderReportPage(sampleReport());
  expect(/<h1>([^<]*)<\/h1>/.exec(page)?.[1]).toBe('Exact: 0 unexplained');
  expect(page).toContain('agree to the last digit on 31 windows (1,240 groups) of 2,000 records');
  expect(page).not.toContain('<h2>Differences</h2>');
});

test('an unexplained report names the number, and lists each difference with both values', () => {
  const page = renderReportPage(unexplainedReport());
  expect(/<h1>([^<]*)<\/h1>/.exec(page)?.[1]).toBe('2 unexplained');
  expect(page).toContain('1 difference between the layers and 1 accounting row that does not hold');
  expect(page).toContain('overcounted-in-speed');
  expect(page).toMatch(/<td class="n">41<\/td>\s*<td class="n">none<\/td>/);
});

test('a report that compared nothing does not claim that the layers agree', () => {
  const empty = sampleReport({ windowsCompared: 0, groupsCompared: 0 });
  expect(verdictInWords(empty).headline).toBe('Nothing to compare yet: 0 unexplained');
  expect(renderReportPage(empty)).not.toContain('agree to the last digit');
});

test('the accounting is spelled out; where the layers disagree, both are shown', () => {
  const page = renderReportPage(unexplainedReport());
  expect(page).toContain('consumed = counted + filtered + duplicate + late + dead');
  const layers = [...page.matchAll(/<td>(both|speed|batch)<\/td>/g)].map((match) => match[1]);
  expect(layers).toEqual(['both', 'speed', 'batch']);
  expect(page).toContain('<b class="bad">981</b>');
});

test('texts from events, SQL and file names cannot become markup', () => {
  const evil = `<script>alert("x")</script>&'`;
  const page = renderReportPage(
    unexplainedReport({
      pipeline: evil,
      sql: [{ aggregate: evil, sql: evil }],
      files: [evil],
      deadByReason: { [evil]: '1' },
    }),
  );
  expect(page).not.toContain('<script>');
  expect(page).toContain('&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;&#39;');
  expect(page).toContain('[&quot;&lt;SFO&gt;&quot;]');
});

test('the page is self-contained and is the same bytes each time', () => {
  const page = renderReportPage(unexplainedReport());
  expect(page).toBe(renderReportPage(unexplainedReport()));
  expect(page).not.toMatch(/\b(src|href)=|@import|url\(/);
  expect(page).toContain('prefers-color-scheme: dark');
});
