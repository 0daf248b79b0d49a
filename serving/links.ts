/** Where the API serves what. Guarantee: the one place that builds these paths, with every part encoded. */

export function linksOf(report: { readonly pipeline: string; readonly id: string }): {
  readonly json: string;
  readonly page: string;
} {
  const path = `/v1/reports/${encodeURIComponent(report.pipeline)}/${encodeURIComponent(report.id)}`;
  return { json: path, page: `${path}.html` };
}
