// One agent: is it there, what did it say of itself, how quick is it, what failed.
import { html, useState } from "../core/html.js";
import { get, path, post } from "../core/api.js";
import { now } from "../core/clock.js";
import { NOTHING, duration, exactTime, plural, relative } from "../core/format.js";
import { useEvery, useResource, useStream } from "../core/resource.js";
import { go, href, route } from "../core/router.js";
import { mayWrite } from "../core/session.js";
import { Meter } from "../parts/bars.js";
import { Icon } from "../parts/icons.js";
import { Json } from "../parts/json.js";
import { LogLines } from "../parts/loglines.js";
import { Elsewhere, Facts, PageHead, Panel, TabPanel, Tabs, Time } from "../parts/small.js";
import { Badge, Empty, Failed, Loaded, Loading, tone } from "../parts/states.js";
import { Times } from "../parts/times.js";
import { ExecutionTable } from "./executions.js";

const REPORTS = 100;
const RECENT = 50;
const CRUMBS = [{ to: href("agents"), name: "Agents" }];
const TABS = [{ id: "about", title: "About" }, { id: "executions", title: "Executions" }, { id: "logs", title: "Logs" }];

export function Agent({ id }) {
  const tab = TABS.find(({ id: one }) => one === route.value.parts[2])?.id ?? "about";
  const agent = useResource((signal) => get(path`/agents/${id}`, {}, { signal }), [id]);
  const history = useResource((signal) => get(path`/agents/${id}/history`, { limit: REPORTS }, { signal }), [id]);
  const refresh = () => {
    agent.refresh();
    history.refresh();
  };
  useStream("/events", { query: { agent_id: id }, resume: false, onEvents: refresh, onGap: refresh, poll: agent.reload }, [id]);
  useEvery(5000, agent.refresh);
  const setTab = (to) => go(href("agents", id, to === "about" ? "" : to), { replace: true });
  const facts = agent.data;
  return html`<div class=${`page${tab === "about" ? "" : " fill"}`}>
    <${PageHead} crumbs=${CRUMBS} title=${id} badge=${facts && html`<${Badge} state=${facts.condition} label=${doing(facts)} />`} lead=${facts && facts.name !== id ? facts.name : ""}>
      ${facts && mayWrite.value && html`<${Test} agent=${facts} onTested=${agent.refresh} />`}
    </${PageHead}>
    <${Tabs} label="Parts of the agent" tabs=${TABS} value=${tab} onChoose=${setTab} />
    ${agent.error && !facts ? html`<${Failed} error=${agent.error} retry=${agent.reload} />`
    : facts === undefined ? html`<${Loading} lines=${6} />`
    : html`<${TabPanel} tab=${tab} fill=${tab !== "about"}>
      ${tab === "about" && html`<${About} facts=${facts} history=${history} id=${id} />`}
      ${tab === "executions" && html`<${Recent} id=${id} />`}
      ${tab === "logs" && html`<${LogLines} query=${{ agent_id: id }} inputs=${[id]} empty="Nothing was logged about this agent." />`}
    </${TabPanel}>`}
  </div>`;
}

// Its condition; at work, on how much.
function doing({ condition, in_flight: calls }) {
  return condition === "working" && calls ? `working (${plural(calls, "call")})` : condition;
}

function Test({ agent, onTested }) {
  const [result, setResult] = useState(null);
  const [busy, setBusy] = useState(false);
  const test = async () => {
    setBusy(true);
    setResult(null);
    try {
      setResult(await post("/agents/test", { endpoint: agent.endpoint, protocol: agent.protocol }));
      onTested();
    } catch (error) {
      setResult({ connected: false, message: error.message });
    } finally {
      setBusy(false);
    }
  };
  return html`<span role="status" class=${`tone-${result?.connected ? "ok" : "bad"} tested`} data-testid="test-result">${result && html`<${Icon} name=${result.connected ? "completed" : "failed"} size=${14} />${result.message}${result.connected && result.latency_ms !== null ? `, ${duration(result.latency_ms)}` : ""}`}</span>
    <button type="button" class="btn" disabled=${busy} onClick=${test}><${Icon} name=${busy ? "running" : "pulse"} size=${14} class=${busy ? "spin" : ""} />Test</button>`;
}

function About({ facts, history, id }) {
  const { health, breaker } = facts;
  return html`<div class="split">
    <div class="stack">
      ${breaker.state !== "closed" && html`<div class="callout tone-bad"><${Icon} name="offline" /><div class="body"><span class="what">It gets no work for now</span>
        <p>${breaker.reason}</p><span>Could not be reached ${plural(breaker.failures, "time")} in a row${breaker.retry_at && html`; tried again <${Time} at=${breaker.retry_at} />`}.</span></div></div>`}
      <${Times} query=${{ by: "agent", agent_id: id }} title="Speed" single open=${facts.in_flight} />
      <${Panel} title="States" note="as it reported them"><${Loaded} of=${history}>${({ history: reports }) => html`<${States} reports=${reports} />`}</${Loaded}></${Panel}>
      <${Times} query=${{ by: "node", agent_id: id }} title="By node" name=${(row) => `${row.flow_id ?? ""} ${row.node_id}`} />
    </div>
    <div class="stack">
      <${Panel} title="Agent">
        <${Facts} list facts=${[
          ["Health", html`<${Badge} state=${health.status} plain title=${health.message} />`],
          health.message && ["", html`<span class="muted">${health.message}</span>`],
          health.checked_at && ["Checked", html`<${Time} at=${health.checked_at} />${health.latency_ms !== null && html` <span class="muted">in ${duration(health.latency_ms)}</span>`}`],
          facts.state !== "unknown" && ["Reports", html`<${Badge} state=${facts.state} plain />`],
          ["Load", html`<${Meter} value=${facts.in_flight} most=${facts.max_concurrency} label="calls in flight" />`],
          facts.task_id && ["Task", html`<span class="mono">${facts.task_id}</span>`],
          ["Last seen", facts.last_seen ? html`<${Time} at=${facts.last_seen} />` : "never"],
          ["Endpoint", html`<${Elsewhere} url=${facts.endpoint} />`],
          ["Protocol", facts.protocol],
          ["Capabilities", facts.capabilities.length ? html`<span class="tags">${facts.capabilities.map((one) => html`<span class="tag" key=${one}>${one}</span>`)}</span>` : NOTHING],
          facts.version && ["Version", facts.version],
          facts.description && ["About", facts.description],
          ["Enabled", facts.is_active ? "yes" : "no: it gets no work"],
          ["Registered", html`<${Time} at=${facts.created_at} />`],
        ]} />
      </${Panel}>
      ${Object.keys(facts.metadata ?? {}).length > 0 && html`<${Panel} title="Metadata"><${Json} value=${facts.metadata} label="metadata" /></${Panel}>`}
      ${Object.keys(facts.state_details ?? {}).length > 0 && html`<${Panel} title="Last report"><${Json} value=${facts.state_details} label="last report" /></${Panel}>`}
    </div>
  </div>`;
}

function States({ reports }) {
  if (!reports.length) return html`<${Empty} icon="unknown" title="It never reported">Agents that are called over HTTP need not.</${Empty}>`;
  const oldest = Date.parse(reports.at(-1).timestamp);
  const span = Math.max(1, now.value - oldest);
  const told = reports.slice(0, 30);
  return html`<div class="strip" role="img" aria-label=${`The last ${plural(reports.length, "report")}, now ${reports[0].state}`}>
      ${reports.map((one, index) => {
        const from = Date.parse(one.timestamp);
        const to = index === 0 ? now.value : Date.parse(reports[index - 1].timestamp);
        return html`<i key=${index} class=${`tone-${tone(one.state)}`} title=${`${one.state} from ${exactTime(one.timestamp)}`} style=${{ left: `${((from - oldest) / span) * 100}%`, width: `${Math.max(0, ((to - from) / span) * 100)}%` }}></i>`;
      })}
    </div>
    <div class="strip-ends"><span>${relative(reports.at(-1).timestamp, now.value)}</span><span>now</span></div>
    <ul class="reports" tabindex="0" aria-label="Reports, newest first">${told.map((one, index) => html`<li key=${index}><${Badge} state=${one.state} plain />
      <span class="clip mono muted" title=${JSON.stringify(one.details)}>${Object.keys(one.details).length ? JSON.stringify(one.details) : ""}</span><span class="muted nowrap"><${Time} at=${one.timestamp} /></span></li>`)}</ul>`;
}

function Recent({ id }) {
  const recent = useResource((signal) => get("/executions", { agent_id: id, limit: RECENT }, { signal }), [id]);
  useEvery(5000, recent.refresh);
  return html`<${Loaded} of=${recent}>${({ executions }) => (executions.length ? html`<${ExecutionTable} label=${`executions with ${id}`} rows=${executions} foot=${html`<a href=${href("executions", { agent: id })}>All executions with this agent</a>`} />`
    : html`<div class="table-frame"><${Empty} icon="executions" title="No execution has called it yet" /></div>`)}</${Loaded}>`;
}
