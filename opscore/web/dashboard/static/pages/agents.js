// All agents: who is there, how loaded, how slow.
import { html, useMemo } from "../core/html.js";
import { get } from "../core/api.js";
import { NOTHING, duration, percent, plural, short } from "../core/format.js";
import { useEvery, useResource, useStream } from "../core/resource.js";
import { href, route, setQuery } from "../core/router.js";
import { Meter } from "../parts/bars.js";
import { Choice, PageHead, Search, Selects, Time } from "../parts/small.js";
import { Badge, Empty, Failed, Loading } from "../parts/states.js";
import { Table, useSorted } from "../parts/table.js";

const WINDOW = 86_400;
const CONDITIONS = ["working", "reachable", "idle", "initializing", "finished", "unreachable", "unhealthy", "error", "offline", "unknown", "inactive"];
const OPTIONS = [{ id: "", title: "Any condition" }, ...CONDITIONS.map((id) => ({ id, title: id }))];

export function Agents() {
  const { q = "", condition = "" } = route.value.query;
  const agents = useResource((signal) => get("/agents", {}, { signal }), []);
  const speed = useResource((signal) => get("/performance", { by: "agent", window: WINDOW, limit: 500 }, { signal }), [], { every: 10_000 });
  useStream("/events", { query: { type: "agent.state" }, resume: false, onEvents: agents.refresh, onGap: agents.refresh, poll: agents.reload }, []);
  useEvery(5000, agents.refresh);
  useEvery(15_000, speed.refresh);
  const rows = useMemo(() => {
    const by = new Map((speed.data?.rows ?? []).map((row) => [row.agent_id, row]));
    return (agents.data?.agents ?? []).filter((agent) => fits(agent, q) && (!condition || agent.condition === condition)).map((agent) => ({ ...agent, speed: by.get(agent.agent_id) }));
  }, [agents.data, speed.data, q, condition]);
  const [sorted, sort, onSort] = useSorted(rows, COLUMNS, { by: "agent", down: false });
  return html`<div class="page fill">
    <${PageHead} title="Agents" />
    <div class="filters">
      <${Search} label="Filter agents" placeholder="Id, name or capability" value=${q} onSearch=${(text) => setQuery({ q: text })} />
      <${Selects}>
        <${Choice} label="Condition" options=${OPTIONS} value=${condition} onChoose=${(id) => setQuery({ condition: id })} />
      </${Selects}>
    </div>
    ${rows.length ? html`<${Table} label="agents" columns=${COLUMNS} rows=${sorted} sort=${sort} onSort=${onSort} rowKey=${({ agent_id: id }) => id} rowHref=${({ agent_id: id }) => href("agents", id)} testid="agents"
        foot=${html`<span>${plural(rows.length, "agent")}; figures of the last 24 hours</span>`} />`
    : agents.error ? html`<${Failed} error=${agents.error} retry=${agents.reload} />`
    : agents.loading ? html`<div class="table-frame"><${Loading} lines=${8} /></div>`
    : html`<div class="table-frame">${q || condition ? html`<${Empty} icon="search" title="Nothing matches" />` : html`<${Empty} icon="agents" title="No agents yet">An agent registers itself, or somebody registers it with <code>POST /agents</code>.</${Empty}>`}</div>`}
  </div>`;
}

function fits(agent, text) {
  return !text || [agent.agent_id, agent.name, ...agent.capabilities].some((one) => String(one).toLowerCase().includes(text.toLowerCase()));
}

const COLUMNS = [
  { id: "agent", title: "Agent", width: "minmax(130px, 1.4fr)", phone: "main", sort: ({ agent_id: id }) => id, cell: ({ agent_id: id, name }) => html`<a class="row-link" href=${href("agents", id)} title=${name}>${id}</a>` },
  { id: "condition", title: "Condition", width: "124px", phone: "end", sort: ({ condition }) => condition, cell: ({ condition, health }) => html`<${Badge} state=${condition} title=${health.message} />` },
  { id: "reports", title: "Reports", width: "110px", sort: ({ state }) => state, cell: ({ state }) => (state === "unknown" ? html`<span class="faint">${NOTHING}</span>` : html`<${Badge} state=${state} plain />`) },
  { id: "load", title: "Load", width: "minmax(90px, 0.8fr)", phone: "note", told: "Open calls", sort: ({ in_flight: calls }) => calls, cell: ({ in_flight: calls, max_concurrency: most }) => html`<${Meter} value=${calls} most=${most} label="calls in flight, of the most it takes at once" />` },
  { id: "calls", title: "Calls", width: "70px", end: true, sort: ({ speed }) => speed?.count ?? 0, cell: ({ speed }) => (speed ? short(speed.count) : html`<span class="faint">0</span>`) },
  { id: "failed", title: "Failed", width: "74px", end: true, sort: ({ speed }) => (speed?.count ? speed.failures / speed.count : 0), cell: ({ speed }) => (speed?.failures ? html`<span class="bad-text">${percent(speed.failures, speed.count)}</span>` : html`<span class="faint">${NOTHING}</span>`) },
  { id: "p50", title: "Median", width: "80px", end: true, sort: ({ speed }) => speed?.call_ms?.p50, cell: ({ speed }) => duration(speed?.call_ms?.p50) },
  { id: "p95", title: "95 %", width: "80px", end: true, sort: ({ speed }) => speed?.call_ms?.p95, cell: ({ speed }) => duration(speed?.call_ms?.p95) },
  { id: "seen", title: "Last seen", width: "92px", end: true, phone: "sub", told: "Seen", sort: ({ last_seen: at }) => at, cell: ({ last_seen: at }) => (at ? html`<${Time} at=${at} />` : html`<span class="faint">never</span>`) },
  { id: "can", title: "Can", width: "minmax(90px, 1fr)", cell: ({ capabilities }) => html`<span class="muted">${capabilities.join(", ") || NOTHING}</span>` },
];
