// Counts side by side: a word, a bar, a number.
import { html } from "../core/html.js";
import { short } from "../core/format.js";
import { Icon } from "./icons.js";

/** rows: [{id, title, icon, tone, count, note, to}] */
export function Bars({ rows, label }) {
  const most = Math.max(1, ...rows.map(({ count }) => count));
  return html`<ul class="bars" aria-label=${label}>${rows.map(({ id, title, icon, tone, count, note, to }) => html`<li key=${id} class=${`tone-${tone ?? "rest"}`}>
    <span class="bars-name">${icon && html`<${Icon} name=${icon} size=${14} />`}${to ? html`<a href=${to}>${title}</a>` : title}</span>
    <span class="bars-track" aria-hidden="true"><i style=${{ width: `${(count / most) * 100}%` }}></i></span>
    <b class="num">${short(count)}</b>
    ${note && html`<span class="bars-note">${note}</span>`}
  </li>`)}</ul>`;
}

/** How full something is, in words for readers. */
export function Meter({ value, most, tone = "run", label }) {
  const part = most ? Math.min(1, value / most) : 0;
  return html`<span class=${`meter tone-${part >= 1 ? "wait" : tone}`} title=${label}><span class="num">${value}${most ? ` / ${most}` : ""}</span>${most ? html`<span class="track" aria-hidden="true"><i style=${{ width: `${part * 100}%` }}></i></span>` : ""}</span>`;
}
