// Where time goes: percentiles by agent, flow or node.
import { html } from "../core/html.js";
import { get } from "../core/api.js";
import { duration, plural, short } from "../core/format.js";
import { useEvery, useResource } from "../core/resource.js";
import { Panel } from "./small.js";
import { Empty, Loaded } from "./states.js";

const WINDOW = 86_400;
const KINDS = [["queue_ms", "Queued"], ["call_ms", "Call"], ["commit_ms", "Commit"]];

/** A row for each thing; for a single one, a row for each kind of time. */
export function Times({ query, title, name, single = false, open = 0 }) {
  const speed = useResource((signal) => get("/performance", { window: WINDOW, limit: 50, ...query }, { signal }), [JSON.stringify(query)], { every: 5000 });
  useEvery(15_000, speed.refresh);
  return html`<${Panel} title=${title} note="last 24 hours" testid="times">
    <${Loaded} of=${speed} lines=${3}>${({ rows }) => (!rows.length ? html`<${Empty} icon="pulse" title="No step has ended in the last 24 hours">${single && `${open ? `${plural(open, "call is open", "calls are open")} now. ` : ""}Calls count when their step ends, after its last attempt.`}</${Empty}>`
      : single ? html`<${Kinds} row=${rows[0]} />` : html`<${Rows} rows=${rows} name=${name} />`)}</${Loaded}>
  </${Panel}>`;
}

function Kinds({ row }) {
  return html`<p class="muted">${plural(row.count, "call")}, ${row.failures ? html`<span class="bad-text">${short(row.failures)} failed</span>` : "none failed"}, ${plural(row.retries, "retry", "retries")}</p>
    <div class="times-scroll" tabindex="0" role="group" aria-label="Percentiles"><table class="times"><thead><tr><th scope="col">Time</th><th scope="col">Median</th><th scope="col">95 %</th><th scope="col">99 %</th><th scope="col">Most</th><th scope="col">Mean</th></tr></thead>
      <tbody>${KINDS.map(([id, title]) => html`<tr key=${id}><th scope="row">${title}</th>${["p50", "p95", "p99", "max", "mean"].map((part) => html`<td key=${part}>${duration(row[id]?.[part])}</td>`)}</tr>`)}</tbody></table></div>`;
}

function Rows({ rows, name }) {
  return html`<div class="times-scroll" tabindex="0" role="group" aria-label="Percentiles"><table class="times"><thead><tr><th scope="col">Node</th><th scope="col">Calls</th><th scope="col">Failed</th><th scope="col">Queued 95 %</th><th scope="col">Call median</th><th scope="col">Call 95 %</th><th scope="col">Most</th></tr></thead>
    <tbody>${rows.map((row) => html`<tr key=${name(row)}><th scope="row">${name(row)}</th><td>${short(row.count)}</td><td class=${row.failures ? "bad-text" : ""}>${short(row.failures)}</td>
      <td>${duration(row.queue_ms?.p95)}</td><td>${duration(row.call_ms?.p50)}</td><td>${duration(row.call_ms?.p95)}</td><td>${duration(row.call_ms?.max)}</td></tr>`)}</tbody></table></div>`;
}
