// One execution: what it does now, why it does not go on, what each step was given and gave.
import { html, useEffect, useMemo, useRef, useState } from "../core/html.js";
import { get, path, post } from "../core/api.js";
import { duration, exactTime, lineTime, plural } from "../core/format.js";
import { useEvery, useResource, useStream } from "../core/resource.js";
import { go, href, route } from "../core/router.js";
import { mayWrite } from "../core/session.js";
import { Confirm } from "../parts/dialogs.js";
import { Graph } from "../parts/graph.js";
import { readHistory } from "../parts/history.js";
import { Icon } from "../parts/icons.js";
import { Json } from "../parts/json.js";
import { LogLines } from "../parts/loglines.js";
import { Copy, Facts, PageHead, Panel, TabPanel, Tabs, Time, Took } from "../parts/small.js";
import { Badge, Empty, Failed, Loaded, Loading } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { Timeline } from "../parts/timeline.js";
import { complain, say } from "../parts/toasts.js";

const OPEN = new Set(["pending", "running", "paused"]);
const EVENTS_PAGE = 500;
const TABS = [{ id: "run", title: "Run" }, { id: "data", title: "Input and output" }, { id: "events", title: "Events" }, { id: "logs", title: "Logs" }];

export function Execution({ id }) {
  const execution = useResource((signal) => get(path`/executions/${id}`, {}, { signal }), [id]);
  if (execution.data === undefined) {
    return html`<div class="page">
      <${PageHead} crumbs=${CRUMBS} title="Execution" />
      ${execution.error ? html`<${Failed} error=${execution.error} retry=${execution.reload} />` : html`<${Loading} lines=${8} />`}
    </div>`;
  }
  return html`<${Known} key=${id} execution=${execution} id=${id} />`;
}

const CRUMBS = [{ to: href("executions"), name: "Executions" }];

function Known({ execution, id }) {
  const facts = execution.data;
  const isOpen = OPEN.has(facts.status);
  const tab = TABS.find(({ id: one }) => one === route.value.parts[2])?.id ?? "run";
  const results = useResource((signal) => get(path`/executions/${id}/results`, {}, { signal }), [id], { every: 1500 });
  const why = useResource((signal) => (isOpen ? get(path`/executions/${id}/explanation`, {}, { signal }) : null), [id, isOpen], { every: 1500 });
  const events = useEvents(id, () => {
    execution.refresh();
    results.refresh();
    if (isOpen) why.refresh();
  });
  useEvery(5000, () => isOpen && why.refresh());
  const history = useMemo(() => readHistory(events), [events]);
  const setTab = (to) => go(href("executions", id, to === "run" ? "" : to), { replace: true });
  useEffect(() => {
    document.title = `${facts.flow_id} ${facts.status} · Ops-Core`;
  }, [facts.flow_id, facts.status]);

  const logs = { execution_id: id };
  return html`<div class=${`page${tab === "logs" || tab === "events" ? " fill" : ""}`}>
    <${Head} facts=${facts} isOpen=${isOpen} onChanged=${execution.reload} />
    <${Facts} facts=${[
      ["Execution", html`<${Copy} text=${id} label="execution id" />`],
      ["Flow", html`<a href=${href("flows", facts.flow_id)}>${facts.flow_id}</a> <span class="muted">version ${facts.flow_version}</span>`],
      ["Created", html`<${Time} at=${facts.created_at} />`],
      ["Took", html`<${Took} from=${facts.started_at} to=${facts.completed_at} />`],
      ["Calls", html`<span class="num">${facts.attempts}${facts.failures ? html` <span class="muted">(${facts.failures} failed)</span>` : ""}</span>`],
      facts.priority ? ["Priority", facts.priority] : null,
      facts.user_id && ["User", facts.user_id],
      facts.agent_id && ["Agent", html`<a href=${href("agents", facts.agent_id)}>${facts.agent_id}</a>`],
      facts.trace_id && ["Trace", html`<${Copy} text=${facts.trace_id} label="trace id">${facts.trace_id.slice(0, 8)}…</${Copy}>`],
    ]} />
    ${facts.status === "failed" && html`<${FailedWith} facts=${facts} />`}
    ${facts.status === "cancelled" && facts.error_message && html`<div class="callout tone-rest" data-testid="cancelled"><${Icon} name="cancelled" /><div class="body"><p>${facts.error_message}</p></div></div>`}
    ${isOpen && why.data && html`<${Why} why=${why.data} />`}
    <${Tabs} label="Parts of the execution" tabs=${TABS.map((one) => (one.id === "events" ? { ...one, count: events.length || undefined } : one))} value=${tab} onChoose=${setTab} />
    <${TabPanel} tab=${tab} fill=${tab === "events" || tab === "logs"}>
      ${tab === "run" && html`<${Run} facts=${facts} history=${history} results=${results} />`}
      ${tab === "data" && html`<${Data} facts=${facts} />`}
      ${tab === "events" && html`<${Events} events=${events} />`}
      ${tab === "logs" && html`<${LogLines} query=${logs} inputs=${[id]} empty="Nothing was logged about this execution." />`}
    </${TabPanel}>
  </div>`;
}

// All events there are, page by page, then each as it comes.
function useEvents(id, onNews) {
  const [state, setState] = useState({ events: [], after: null, ended: false });
  const last = useRef(0);
  const pending = useRef([]);
  const timer = useRef(0);
  const take = (found) => {
    const news = found.filter(({ seq }) => seq > last.current);
    if (!news.length) return false;
    last.current = news.at(-1).seq;
    pending.current.push(...news);
    timer.current ||= setTimeout(() => {
      timer.current = 0;
      const all = pending.current;
      pending.current = [];
      setState((now) => ({ ...now, events: [...now.events, ...all] }));
    }, 60);
    return true;
  };
  const readOn = async (signal) => {
    for (;;) {
      const page = await get(path`/executions/${id}/events`, { after: last.current, limit: EVENTS_PAGE }, { signal });
      take(page.events);
      if (page.events.length < EVENTS_PAGE) return;
    }
  };
  useEffect(() => {
    const ends = new AbortController();
    readOn(ends.signal).then(
      () => setState((now) => ({ ...now, after: last.current })),
      (error) => error.name === "AbortError" || complain(error),
    );
    return () => {
      ends.abort();
      clearTimeout(timer.current);
    };
  }, []);
  useStream(state.after === null ? null : path`/executions/${id}/events`, {
    after: state.after,
    onEvents: (events) => take(events.map(({ data }) => data)) && onNews(),
    onEnd: onNews,
    poll: async () => {
      const before = last.current;
      await readOn();
      if (last.current > before) onNews();
    },
  }, [state.after]);
  return state.events;
}

function Head({ facts, isOpen, onChanged }) {
  const [asking, setAsking] = useState(false);
  const [busy, setBusy] = useState(false);
  const cancel = async (reason) => {
    await post(path`/executions/${facts.execution_id}/cancel`, reason ? { reason } : {});
    say("The execution is cancelled.");
    onChanged();
  };
  const again = async () => {
    setBusy(true);
    try {
      const { execution_id: id } = await post("/flows/execute", { flow_id: facts.flow_id, input_data: facts.input_data ?? {}, metadata: facts.metadata, priority: facts.priority, ...(facts.user_id && { user_id: facts.user_id }) });
      say("Started again with the same input.");
      go(href("executions", id));
    } catch (error) {
      complain(error);
      setBusy(false);
    }
  };
  return html`<${PageHead} crumbs=${CRUMBS} title=${facts.flow_id} badge=${html`<${Badge} state=${facts.status} live />`}>
    ${mayWrite.value && html`<button type="button" class="btn" disabled=${busy} onClick=${again}><${Icon} name="again" size=${14} />Start again</button>`}
    ${mayWrite.value && isOpen && html`<button type="button" class="btn danger" onClick=${() => setAsking(true)}><${Icon} name="stop" size=${14} />Cancel…</button>`}
    ${asking && html`<${Confirm} title="Cancel this execution?" text="No further step starts, and open calls are dropped. This cannot be taken back." action="Cancel it" reason="Why" act=${cancel} onClose=${() => setAsking(false)} />`}
  </${PageHead}>`;
}

function FailedWith({ facts }) {
  return html`<div class="callout tone-bad" data-testid="failure"><${Icon} name="failed" />
    <div class="body"><span class="what">${facts.error_code ?? "Failed"}</span><p>${facts.error_message}</p></div></div>`;
}

// On a phone it is short at first.
function Why({ why }) {
  const [all, setAll] = useState(false);
  if (!why.causes.length && !why.summary) return null;
  const [only, ...more] = why.causes;
  const works = why.causes.length > 0 && why.causes.every(({ what }) => what === "call");
  return html`<div class=${`callout ${works ? "tone-run" : "tone-wait"}`} data-testid="explanation"><${Icon} name=${works ? "running" : "waiting"} />
    <div class=${`body${all ? "" : " brief"}`}><span class="what">${works ? "What it does now" : "Why it does not move"}</span><p>${why.summary}</p>
      ${only && !more.length && only.would_move && html`<p class="muted">What would move it: ${only.would_move}</p>`}
      ${more.length > 0 && html`<ul class="causes">${why.causes.map((cause, index) => html`<li key=${index}>
        <span>${cause.text}${cause.since && html` <span class="muted">since <${Time} at=${cause.since} /></span>`}${cause.until && html` <span class="muted">until <${Time} at=${cause.until} /></span>`}</span>
        ${cause.would_move && html`<span class="muted">What would move it: ${cause.would_move}</span>`}
      </li>`)}</ul>`}
      ${only?.would_move && html`<button type="button" class="link only-phone" aria-expanded=${String(all)} onClick=${() => setAll(!all)}>${all ? "Less" : "More"}</button>`}
    </div></div>`;
}

function Run({ facts, history, results }) {
  const graph = useResource((signal) => get(path`/flows/${facts.flow_id}/graph`, { version: facts.flow_version }, { signal }), [facts.flow_id, facts.flow_version]);
  const [chosen, setChosen] = useState(null);
  const nodes = graph.data?.nodes ?? NONE;
  const edges = graph.data?.edges ?? NONE;
  const states = useMemo(() => withEveryNode(nodes, history, facts.status), [nodes, history, facts.status]);
  const selected = chosen ?? interesting(history, nodes);
  return html`<div class="split">
    <div class="stack">
      <${Panel} title="Graph" note=${nodes.length ? plural(nodes.length, "node") : ""} padded=${false}>
        ${graph.error ? html`<${Failed} error=${graph.error} retry=${graph.reload} />`
        : graph.data === undefined ? html`<${Loading} />`
        : nodes.length === 0 ? html`<${Empty} icon="flows" title="No nodes">This flow has nothing to do, and ends at once.</${Empty}>`
        : html`<${Graph} label=${`Graph of ${facts.flow_id}`} nodes=${nodes} edges=${edges} states=${states} selected=${selected} onSelect=${setChosen} />`}
      </${Panel}>
      <${Panel} title="Timeline" padded=${false}>
        ${history.rows.length ? html`<${Timeline} history=${history} selected=${selected} onSelect=${setChosen} />` : html`<${Empty} icon="waiting" title="Nothing has begun yet" />`}
      </${Panel}>
    </div>
    <div class="stack">
      <${Panel} title=${selected ? `Step ${selected}` : "Step"} testid="step">
        <${Loaded} of=${results}>${({ node_results: all }) => html`<${Step} id=${selected} node=${nodes.find((one) => one.id === selected)} result=${all.find((one) => one.node_id === selected)} state=${states.get(selected)} />`}</${Loaded}>
      </${Panel}>
    </div>
  </div>`;
}

const NONE = [];

// Nodes that no event names have yet to be reached, or never will be.
function withEveryNode(nodes, history, status) {
  const states = new Map(history.states);
  const rest = OPEN.has(status) ? "pending" : "skipped";
  for (const { id } of nodes) if (!states.has(id)) states.set(id, { status: rest, note: rest === "skipped" ? "not reached" : "" });
  return states;
}

// What one wants to see first: what failed, what waits, what runs, or the last one.
function interesting(history, nodes) {
  for (const status of ["failed", "waiting", "running"]) {
    const found = history.rows.find(({ id }) => history.states.get(id)?.status === status);
    if (found) return found.id;
  }
  return history.rows.at(-1)?.id ?? nodes[0]?.id ?? null;
}

function Step({ id, node, result, state }) {
  if (!id) return html`<${Empty} icon="flows" title="No step is chosen" />`;
  const agent = result?.agent_id ?? node?.agent_id;
  const timing = result?.timing;
  return html`<div class="step">
    <${Facts} list facts=${[
      ["State", html`<${Badge} state=${result?.status ?? state?.status ?? "pending"} live />`],
      agent && ["Agent", html`<a href=${href("agents", agent)}>${agent}</a>`],
      node?.capability && ["Capability", node.capability],
      node?.type && ["Type", node.type],
      result?.attempt > 1 && ["Attempts", result.attempt],
      result?.started_at && ["Started", html`<${Time} at=${result.started_at} />`],
      result?.execution_time_ms !== null && result?.execution_time_ms !== undefined && ["Took", duration(result.execution_time_ms)],
      timing?.queue_ms !== null && timing?.queue_ms !== undefined && ["Queued", duration(timing.queue_ms)],
      timing?.call_ms !== null && timing?.call_ms !== undefined && ["Call", duration(timing.call_ms)],
      timing?.commit_ms !== null && timing?.commit_ms !== undefined && ["Commit", duration(timing.commit_ms)],
    ]} />
    ${result?.error_code && html`<div class="callout tone-bad"><${Icon} name="failed" /><div class="body"><span class="what">${result.error_code}</span><p>${result.error_message}</p></div></div>`}
    ${result ? html`<div><h3>Input</h3><${Json} value=${result.input_data} label=${`input of ${id}`} /></div>
      ${result.output_data !== null && html`<div><h3>Output</h3><${Json} value=${result.output_data} label=${`output of ${id}`} /></div>`}`
    : html`<p class="muted">${state?.note === "not reached" ? "This step was not reached." : "This step has not begun."}</p>`}
  </div>`;
}

function Data({ facts }) {
  return html`<div class="pair">
    <${Panel} title="Input"><${Json} value=${facts.input_data} label="input" /></${Panel}>
    <${Panel} title="Output">${facts.output_data === null ? html`<p class="muted">${OPEN.has(facts.status) ? "There is none yet." : "It ended without one."}</p>` : html`<${Json} value=${facts.output_data} label="output" />`}</${Panel}>
    ${Object.keys(facts.metadata ?? {}).length > 0 && html`<${Panel} title="Metadata"><${Json} value=${facts.metadata} label="metadata" /></${Panel}>`}
  </div>`;
}

const EVENT_COLUMNS = [
  { id: "seq", title: "#", width: "52px", cell: ({ seq }) => html`<span class="faint num">${seq}</span>` },
  { id: "at", title: "Time", width: "156px", phone: "end", cell: ({ at }) => html`<time datetime=${at} title=${exactTime(at)}>${lineTime(at)}</time>` },
  { id: "type", title: "Event", width: "190px", phone: "main", cell: ({ type }) => html`<strong class="mono">${type}</strong>` },
  { id: "node", title: "Node", width: "minmax(90px, 1fr)", phone: "note", cell: ({ node_id: node, attempt }) => html`${node}${attempt > 1 ? html` <span class="muted">attempt ${attempt}</span>` : ""}` },
  { id: "agent", title: "Agent", width: "minmax(90px, 1fr)", cell: ({ agent_id: agent }) => agent && html`<a href=${href("agents", agent)}>${agent}</a>` },
  { id: "data", title: "Data", width: "minmax(160px, 3fr)", phone: "sub", cell: ({ data }) => html`<span class="mono event-data" title=${told(data)}>${told(data)}</span>` },
];
const told = (data) => Object.entries(data).map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`).join(", ");

function Events({ events }) {
  if (!events.length) return html`<div class="table-frame"><${Empty} icon="executions" title="No events yet" /></div>`;
  return html`<${Table} label="events" columns=${EVENT_COLUMNS} rows=${events} rowKey=${({ seq }) => seq} testid="events" foot=${html`<span>${plural(events.length, "event")}</span>`} />`;
}
