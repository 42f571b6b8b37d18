// The overview: is it well, what failed, what waits, who is missing.
import { html } from "../core/html.js";
import { get } from "../core/api.js";
import { duration, percent, plural, short } from "../core/format.js";
import { useEvery, useResource, useStream } from "../core/resource.js";
import { href, route, setQuery } from "../core/router.js";
import { Bars } from "../parts/bars.js";
import { Throughput } from "../parts/chart.js";
import { Icon } from "../parts/icons.js";
import { Chips, PageHead, Panel, Time } from "../parts/small.js";
import { Empty, Loaded, sign, tone } from "../parts/states.js";

const WINDOWS = [{ id: "900", title: "15 min" }, { id: "3600", title: "1 h" }, { id: "21600", title: "6 h" }, { id: "86400", title: "24 h" }];
const WAITS = {
  slot: ["for a free slot", "wait"], agent: ["for an agent's answer", "run"], retry: ["for the next attempt", "wait"],
  timer: ["for a time", "rest"], signal: ["for a signal", "rest"], concurrency: ["for their turn", "wait"],
};

export function Overview() {
  const window = route.value.query.window ?? "3600";
  const overview = useResource((signal) => get("/overview", { window }, { signal }), [window], { every: 2000 });
  const speed = useResource((signal) => get("/performance", { by: "agent", window, limit: 6 }, { signal }), [window], { every: 10_000 });
  useStream("/events", {
    query: { type: "execution.*,agent.state" }, resume: false, onEvents: overview.refresh, onGap: overview.refresh, poll: overview.reload,
  }, []);
  useEvery(10_000, () => {
    overview.refresh();
    speed.refresh();
  });
  return html`<div class="page">
    <${PageHead} title="Overview"><${Chips} label="Window" options=${WINDOWS} value=${window} onChoose=${(id) => setQuery({ window: id })} /></${PageHead}>
    <${Loaded} of=${overview} lines=${8}>${(facts) => html`
      <${Tiles} facts=${facts} />
      <div class="overview-grid">
        <${Panel} title="Throughput" note="executions by when they ended"><${Throughput} buckets=${facts.throughput} /></${Panel}>
        <${Attention} rows=${facts.attention} />
      </div>
      <div class="thirds">
        <${Waiting} facts=${facts} />
        <${Fleet} agents=${facts.agents} />
        <${Slowest} speed=${speed} />
      </div>
      <${Failures} rows=${facts.recent_failures} />`}</${Loaded}>
  </div>`;
}

function Tiles({ facts }) {
  const { open, window } = facts.executions;
  const ended = window.completed + window.failed + window.cancelled;
  const waiting = facts.waiting.reduce((sum, { count }) => sum + count, 0);
  const chief = [...facts.waiting].sort((one, other) => other.count - one.count)[0];
  const well = facts.agents.by_status.active ?? 0;
  const lost = facts.agents.by_status.error ?? 0;
  return html`<ul class="tiles" data-testid="tiles">
    <${Tile} title="Running" value=${short(open.running)} to=${href("executions", { status: "running" })} note=${`${short(facts.calls.in_flight)} calls in flight`} />
    <${Tile} title="Pending" value=${short(open.pending)} to=${href("executions", { status: "pending" })} note=${facts.queued.count ? html`oldest <${Time} at=${facts.queued.oldest_since} />` : "nothing queued"} />
    <${Tile} title="Steps that wait" value=${short(waiting)} note=${chief ? `${short(chief.count)} ${WAITS[chief.reason]?.[0] ?? chief.reason}` : "none"} />
    <${Tile} title="Completed" value=${short(window.completed)} to=${href("executions", { status: "completed" })} note=${`of ${short(window.started)} started`} />
    <${Tile} title="Failed" value=${short(window.failed)} to=${href("executions", { status: "failed" })} bad=${window.failed > 0} note=${ended ? `${percent(window.failed, ended)} of those that ended` : "none ended"} />
    <${Tile} title="Agents" value=${html`${short(well)} <small>of ${short(facts.agents.total)}</small>`} to=${href("agents")} bad=${lost > 0} note=${lost ? `${plural(lost, "agent")} in trouble` : facts.agents.total ? "all well" : "none registered"} />
  </ul>`;
}

function Tile({ title, value, note, to, bad }) {
  return html`<li class="tile"><span class="tile-title">${to ? html`<a href=${to}>${title}</a>` : title}</span><span class=${`tile-value num${bad ? " bad-text" : ""}`}>${value}</span><span class="tile-note">${note}</span></li>`;
}

function Attention({ rows }) {
  return html`<${Panel} title="Needs attention" note=${rows.length ? String(rows.length) : ""} padded=${false} testid="attention">
    ${rows.length ? html`<ul class="attention">${rows.map((one, index) => html`<li key=${index} class=${`tone-${one.severity === "error" ? "bad" : "wait"}`}>
      <${Icon} name=${one.severity === "error" ? "error" : "warning"} />
      <div><p><span class="sr-only">${one.severity}: </span><${Linked} one=${one} /></p>${one.since && html`<span class="muted">since <${Time} at=${one.since} /></span>`}</div>
    </li>`)}</ul>` : html`<${Empty} icon="completed" title="Nothing needs attention">Agents answer, and what runs gets on.</${Empty}>`}
  </${Panel}>`;
}

function Linked({ one }) {
  const to = one.execution_id ? href("executions", one.execution_id) : one.agent_id ? href("agents", one.agent_id) : one.flow_id ? href("flows", one.flow_id) : null;
  return to ? html`<a class="plain" href=${to}>${one.text}</a>` : one.text;
}

function Waiting({ facts }) {
  const rows = facts.waiting.map(({ reason, count, oldest_since: since }) => ({
    id: reason, title: WAITS[reason]?.[0] ?? reason, icon: "waiting", tone: WAITS[reason]?.[1], count, note: since && html`oldest <${Time} at=${since} />`,
  }));
  if (facts.queued.count) rows.unshift({ id: "queue", title: "in the queue", icon: "pending", tone: "rest", count: facts.queued.count, note: html`oldest <${Time} at=${facts.queued.oldest_since} />` });
  return html`<${Panel} title="Waiting" note="what steps wait for">
    ${rows.length ? html`<${Bars} rows=${rows} label="Waiting by reason" />` : html`<${Empty} icon="completed" title="Nothing waits" />`}
  </${Panel}>`;
}

function Fleet({ agents }) {
  const rows = Object.entries(agents.by_condition).sort(([, one], [, other]) => other - one).map(([condition, count]) => ({ id: condition, title: condition, icon: sign(condition), tone: tone(condition), count, to: href("agents", { condition }) }));
  return html`<${Panel} title="Fleet" note=${plural(agents.total, "agent")}>
    ${rows.length ? html`<${Bars} rows=${rows} label="Agents by condition" />` : html`<${Empty} icon="agents" title="No agents yet">An agent registers itself, or somebody registers it with <code>POST /agents</code>.</${Empty}>`}
  </${Panel}>`;
}

function Slowest({ speed }) {
  return html`<${Panel} title="Slowest agents" note="95 % of calls are faster than">
    <${Loaded} of=${speed} lines=${3}>${({ rows }) => {
      const slow = rows.filter(({ call_ms: call }) => call?.p95).sort((one, other) => other.call_ms.p95 - one.call_ms.p95).slice(0, 6);
      if (!slow.length) return html`<${Empty} icon="pulse" title="No calls in this window" />`;
      const most = slow[0].call_ms.p95;
      return html`<ul class="bars" aria-label="Slowest agents">${slow.map((row) => html`<li key=${row.agent_id} class="tone-run">
        <span class="bars-name"><a href=${href("agents", row.agent_id)}>${row.agent_id}</a></span>
        <span class="bars-track" aria-hidden="true"><i style=${{ width: `${(row.call_ms.p95 / most) * 100}%` }}></i></span>
        <b class="num">${duration(row.call_ms.p95)}</b>
      </li>`)}</ul>`;
    }}</${Loaded}>
  </${Panel}>`;
}

function Failures({ rows }) {
  return html`<${Panel} title="Recent failures" padded=${false} actions=${rows.length > 0 && html`<a href=${href("executions", { status: "failed" })}>All failed ones</a>`}>
    ${rows.length ? html`<ul class="failures" data-testid="failures">${rows.map((row) => html`<li key=${row.execution_id}>
      <span class="clip"><a class="row-link" href=${href("executions", row.execution_id)} title=${row.execution_id}>${row.flow_id}</a></span>
      <span class="clip" title=${row.error_message}><span class="bad-text">${row.error_code}</span> <span class="muted">${row.error_message}</span></span>
      <span class="muted nowrap"><${Time} at=${row.completed_at} /></span>
    </li>`)}</ul>` : html`<${Empty} icon="completed" title="No failures">Nothing failed in this window.</${Empty}>`}
  </${Panel}>`;
}
