/**
 * The frame of every page: escaping, style, numbers. Guarantee: a value that enters a page through the `html` template is
 * escaped unless it is itself `Html`; a page loads nothing from anywhere and is readable in light and dark.
 */

/** Markup that is safe to write out. Only `html` and `joinHtml` make it. */
export class Html {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

type Content = Html | string | number | readonly Html[];

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

export function escapeText(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? character);
}

/** Tagged template: html`<b>${anything}</b>` escapes everything that is not `Html`. */
export function html(literals: TemplateStringsArray, ...values: Content[]): Html {
  const render = (value: Content): string => {
    if (value instanceof Html) return value.text;
    if (typeof value === 'object') return value.map((part) => part.text).join('');
    return escapeText(String(value));
  };
  return new Html(
    literals.map((literal, i) => (i === 0 ? '' : render(values[i - 1] ?? '')) + literal).join(''),
  );
}

export const nothing = html``;

/** `1234567` → `1,234,567`; works on decimal text of any length. */
export function grouped(number: string | number): string {
  return String(number).replace(/\B(?=(\d{3})+(?!\d))/g, ',');
}

/** `1 window`, `2,000 windows`. */
export function counted(number: string | number, noun: string): string {
  return `${grouped(number)} ${noun}${String(number) === '1' ? '' : 's'}`;
}

/** A table in a box of its own that scrolls sideways on narrow screens. Cells of `numeric` columns are right-aligned. */
export function table(
  columns: readonly { readonly name: string; readonly numeric?: boolean }[],
  rows: readonly (readonly (Html | string | number)[])[],
): Html {
  const align = (i: number): Html => (columns[i]?.numeric === true ? html` class="n"` : nothing);
  const head = columns.map((column, i) => html`<th scope="col" ${align(i)}>${column.name}</th>`);
  const body = rows.map(
    (cells) =>
      html`<tr>
        ${cells.map((cell, i) => html`<td${align(i)}>${cell}</td>`)}
      </tr> `,
  );
  return html`<div class="table">
    <table>
      <thead>
        <tr>
          ${head}
        </tr>
      </thead>
      <tbody>
        ${body}
      </tbody>
    </table>
  </div> `;
}

const style = new Html(`
:root { color-scheme: light dark; --ink: #1b1f24; --dim: #5b6570; --paper: #fff; --panel: #f5f7f9; --line: #dce1e6;
  --good: #0b6b3a; --good-panel: #e3f5ea; --bad: #a3170f; --bad-panel: #fdeae8; --link: #0a58b5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ec; --dim: #9aa5b1; --paper: #14181c; --panel: #1c2228;
  --line: #303841; --good: #6fd79b; --good-panel: #14301f; --bad: #ff9d94; --bad-panel: #3a1815; --link: #7db7ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
p { margin: .25rem 0; max-width: 60rem; }
a { color: var(--link); }
.dim { color: var(--dim); }
.verdict { border-radius: .5rem; padding: 1rem 1.25rem; margin: 1rem 0; border-left: .35rem solid; }
.verdict.good { background: var(--good-panel); border-color: var(--good); }
.verdict.bad { background: var(--bad-panel); border-color: var(--bad); }
.verdict.open { background: var(--panel); border-color: var(--dim); }
.good > h1, b.good { color: var(--good); } .bad > h1, b.bad { color: var(--bad); }
.table { overflow-x: auto; border: 1px solid var(--line); border-radius: .5rem; margin: .5rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .75rem; text-align: left; white-space: nowrap; border-top: 1px solid var(--line); }
thead th { background: var(--panel); border-top: 0; font-weight: 600; color: var(--dim); }
.n { text-align: right; }
code, pre { font: .85rem/1.5 ui-monospace, monospace; }
pre { background: var(--panel); border-radius: .5rem; padding: .75rem 1rem; overflow-x: auto; }
details { margin: .5rem 0; } summary { cursor: pointer; }
`);

/** A whole page. `tail` goes to the end of the body (a script, where there is one). */
export function page(title: string, body: Html, tail: Html = nothing): string {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${title}</title>
        <style>
          ${style}
        </style>
      </head>
      <body>
        ${body}${tail}
      </body>
    </html> `.text;
}
