// All flows, with how they did of late.
import { html, useMemo } from "../core/html.js";
import { get } from "../core/api.js";
import { NOTHING, duration, percent, plural, short } from "../core/format.js";
import { useEvery, useResource } from "../core/resource.js";
import { href, route, setQuery } from "../core/router.js";
import { PageHead, Search, Time } from "../parts/small.js";
import { Empty, Failed, Loading } from "../parts/states.js";
import { Table, useSorted } from "../parts/table.js";

const WINDOW = 86_400;

export function Flows() {
  const { q = "" } = route.value.query;
  const flows = useResource((signal) => get("/flows", {}, { signal }), []);
  const speed = useResource((signal) => get("/performance", { by: "flow", window: WINDOW, limit: 500 }, { signal }), [], { every: 10_000 });
  useEvery(15_000, () => {
    flows.refresh();
    speed.refresh();
  });
  const rows = useMemo(() => {
    const by = new Map((speed.data?.rows ?? []).map((row) => [row.flow_id, row]));
    return (flows.data?.flows ?? []).filter((flow) => fits(flow, q)).map((flow) => ({ ...flow, speed: by.get(flow.flow_id) }));
  }, [flows.data, speed.data, q]);
  const [sorted, sort, onSort] = useSorted(rows, COLUMNS, { by: "flow", down: false });
  return html`<div class="page fill">
    <${PageHead} title="Flows" />
    <div class="filters"><${Search} label="Filter flows" placeholder="Id, name or agent" value=${q} onSearch=${(text) => setQuery({ q: text })} /></div>
    ${rows.length ? html`<${Table} label="flows" columns=${COLUMNS} rows=${sorted} sort=${sort} onSort=${onSort} rowKey=${({ flow_id: id }) => id} rowHref=${({ flow_id: id }) => href("flows", id)} testid="flows"
        foot=${html`<span>${plural(rows.length, "flow")}; figures of the last 24 hours</span>`} />`
    : flows.error ? html`<${Failed} error=${flows.error} retry=${flows.reload} />`
    : flows.loading ? html`<div class="table-frame"><${Loading} lines=${8} /></div>`
    : html`<div class="table-frame">${q ? html`<${Empty} icon="search" title="Nothing matches" />` : html`<${Empty} icon="flows" title="No flows yet">Store one with <code>POST /flows</code>, <code>opscore flows load</code>, or a file in the directory of <code>OPSCORE_FLOWS_DIR</code>.</${Empty}>`}</div>`}
  </div>`;
}

const stepsOf = (flow) => flow.nodes ?? flow.tasks ?? [];

function fits(flow, text) {
  if (!text) return true;
  const all = [flow.flow_id, flow.name ?? "", flow.description ?? "", ...stepsOf(flow).map((step) => step.agent_id ?? step.agentId ?? "")];
  return all.some((one) => String(one).toLowerCase().includes(text.toLowerCase()));
}

const COLUMNS = [
  { id: "flow", title: "Flow", width: "minmax(140px, 1.3fr)", phone: "main", sort: ({ flow_id: id }) => id, cell: ({ flow_id: id }) => html`<a class="row-link" href=${href("flows", id)}>${id}</a>` },
  { id: "about", title: "About", width: "minmax(140px, 2fr)", phone: "sub", cell: ({ name, description }) => html`<span class="muted" title=${description}>${description || name || NOTHING}</span>` },
  { id: "steps", title: "Steps", width: "60px", end: true, sort: (flow) => stepsOf(flow).length, cell: (flow) => short(stepsOf(flow).length) },
  { id: "version", title: "Version", width: "70px", end: true, sort: ({ flow_version: version }) => version, cell: ({ flow_version: version }) => version },
  { id: "runs", title: "Ended", width: "74px", end: true, phone: "end", told: "Ended", sort: ({ speed }) => speed?.count ?? 0, cell: ({ speed }) => (speed ? short(speed.count) : html`<span class="faint">0</span>`) },
  { id: "failed", title: "Failed", width: "78px", end: true, phone: "note", told: "Failed", sort: ({ speed }) => (speed?.count ? speed.failures / speed.count : 0), cell: ({ speed }) => (speed?.failures ? html`<span class="bad-text">${percent(speed.failures, speed.count)}</span>` : html`<span class="faint">${NOTHING}</span>`) },
  { id: "p50", title: "Median", width: "84px", end: true, sort: ({ speed }) => speed?.execution_ms?.p50, cell: ({ speed }) => duration(speed?.execution_ms?.p50) },
  { id: "p95", title: "95 %", width: "84px", end: true, sort: ({ speed }) => speed?.execution_ms?.p95, cell: ({ speed }) => duration(speed?.execution_ms?.p95) },
  { id: "changed", title: "Changed", width: "92px", end: true, sort: ({ updated_at: at }) => at, cell: ({ updated_at: at }) => html`<${Time} at=${at} />` },
];
