// One flow: its graph, its versions, and a form to start it.
import { html, useMemo, useRef, useState } from "../core/html.js";
import { get, path, post } from "../core/api.js";
import { plural } from "../core/format.js";
import { useResource, useStream } from "../core/resource.js";
import { go, href, route } from "../core/router.js";
import { mayWrite } from "../core/session.js";
import { Editor, readJson } from "../parts/editor.js";
import { Graph } from "../parts/graph.js";
import { Icon } from "../parts/icons.js";
import { Json } from "../parts/json.js";
import { Facts, PageHead, Panel, TabPanel, Tabs, Time } from "../parts/small.js";
import { Badge, Empty, Failed, Loaded, Loading } from "../parts/states.js";
import { say } from "../parts/toasts.js";
import { Times } from "../parts/times.js";
import { ExecutionTable } from "./executions.js";

const RECENT = 50;
const OFFERED = 8;
const CRUMBS = [{ to: href("flows"), name: "Flows" }];
const FILLING = new Set(["executions", "definition"]);
const NO_STATES = new Map();

export function Flow({ id }) {
  const { version } = route.value.query;
  const asked = route.value.parts[2] ?? "graph";
  const flow = useResource((signal) => get(path`/flows/${id}`, { version }, { signal }), [id, version]);
  const recent = useResource((signal) => get("/executions", { flow_id: id, limit: RECENT }, { signal }), [id]);
  useStream("/events", { query: { type: "execution.*", flow_id: id }, resume: false, onEvents: recent.refresh, onGap: recent.refresh, poll: recent.reload }, [id]);
  const tabs = [
    { id: "graph", title: "Graph" }, ...(mayWrite.value ? [{ id: "start", title: "Start" }] : []),
    { id: "executions", title: "Executions" }, { id: "definition", title: "Definition" }, { id: "versions", title: "Versions" },
  ];
  const tab = tabs.some((one) => one.id === asked) ? asked : "graph";
  const setTab = (to) => go(href("flows", id, to === "graph" ? "" : to, { version }), { replace: true });
  const facts = flow.data;
  return html`<div class=${`page${FILLING.has(tab) ? " fill" : ""}`}>
    <${PageHead} crumbs=${CRUMBS} title=${id} lead=${facts?.description || (facts?.name !== id ? facts?.name : "")}>
      ${mayWrite.value && tab !== "start" && html`<button type="button" class="btn primary" onClick=${() => setTab("start")}><${Icon} name="play" size=${14} />Start…</button>`}
    </${PageHead}>
    <${Tabs} label="Parts of the flow" tabs=${tabs} value=${tab} onChoose=${setTab} />
    ${flow.error && !facts ? html`<${Failed} error=${flow.error} retry=${flow.reload} />`
    : facts === undefined ? html`<${Loading} lines=${6} />`
    : html`<${TabPanel} tab=${tab} fill=${FILLING.has(tab)}>
      ${tab === "graph" && html`<${Picture} id=${id} version=${version} facts=${facts} />`}
      ${tab === "start" && html`<${Start} flow=${facts} recent=${recent} />`}
      ${tab === "executions" && html`<${Recent} recent=${recent} id=${id} />`}
      ${tab === "definition" && html`<${Panel} title=${`Version ${facts.flow_version}`} note="as it was given"><${Json} value=${facts} label="definition" /></${Panel}>`}
      ${tab === "versions" && html`<${Versions} id=${id} shown=${facts.flow_version} />`}
    </${TabPanel}>`}
  </div>`;
}

function Picture({ id, version, facts }) {
  const graph = useResource((signal) => get(path`/flows/${id}/graph`, { version }, { signal }), [id, version]);
  const [selected, setSelected] = useState(null);
  return html`<div class="split">
    <div class="stack">
      <${Panel} title="Graph" note=${graph.data ? plural(graph.data.nodes.length, "node") : ""} padded=${false}>
        <${Loaded} of=${graph}>${({ nodes, edges }) => (nodes.length ? html`<${Graph} label=${`Graph of ${id}`} nodes=${nodes} edges=${edges} states=${NO_STATES} selected=${selected} onSelect=${setSelected} />`
          : html`<${Empty} icon="flows" title="No nodes">This flow has nothing to do, and ends at once.</${Empty}>`)}</${Loaded}>
      </${Panel}>
      <${Times} query=${{ by: "node", flow_id: id }} title="Time by node" name=${(row) => row.node_id} />
    </div>
    <div class="stack">
      <${Panel} title=${selected ? `Node ${selected}` : "Flow"}>
        ${selected ? html`<${NodeFacts} node=${graph.data.nodes.find((one) => one.id === selected)} />` : html`<${Facts} list facts=${[
          ["Version", facts.flow_version], ["Kind", graph.data?.kind], ["Changed", html`<${Time} at=${facts.updated_at} />`], ["Created", html`<${Time} at=${facts.created_at} />`],
          graph.data && ["Begins with", graph.data.entries.slice(0, 8).join(", ")], graph.data && ["Ends with", graph.data.exits.slice(0, 8).join(", ")],
        ]} />`}
      </${Panel}>
    </div>
  </div>`;
}

function NodeFacts({ node }) {
  return html`<${Facts} list facts=${[
    ["Name", node.name], ["Type", node.type],
    node.agent_id && ["Agent", html`<a href=${href("agents", node.agent_id)}>${node.agent_id}</a>`],
    node.capability && ["Capability", node.capability],
    node.timeout && ["Time limit", `${node.timeout} s`],
    node.max_attempts && ["Attempts", `at most ${node.max_attempts}`],
    node.fallback_agent_id && ["Else", html`<a href=${href("agents", node.fallback_agent_id)}>${node.fallback_agent_id}</a>`],
  ]} />`;
}

// The same key for the same form: a second click, or a try after a lost answer, starts nothing twice.
const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

function readInput(text) {
  const { value, wrong } = readJson(text);
  const isObject = value !== null && typeof value === "object" && !Array.isArray(value);
  return { value, wrong, mistake: wrong ?? (isObject ? undefined : "The input is an object: { … }.") };
}

function Start({ flow, recent }) {
  const graph = useResource((signal) => get(path`/flows/${flow.flow_id}/graph`, {}, { signal }), [flow.flow_id]);
  const inputs = useMemo(() => distinct(recent.data?.executions ?? []), [recent.data]);
  const [text, setText] = useState(null);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const [sent, setSent] = useState({ priority: "", user_id: "" });
  const once = useRef(newKey());
  const shown = text ?? (inputs[0] ? pretty(inputs[0].input_data) : "{\n  \n}");
  const { value, wrong, mistake } = readInput(shown);
  // What was typed last, drawn or not: keys may be quicker than frames.
  const typed = useRef(null);
  const change = (next) => {
    once.current = newKey();
    typed.current = next;
    setError(null);
    setText(next);
  };
  // From the first touch on the text is the user's: an input that is read only now must not replace it.
  const touched = () => text === null && change(shown);
  const submit = async (event) => {
    event.preventDefault();
    const { value, mistake } = readInput(typed.current ?? shown);
    if (mistake || busy) return;
    setBusy(true);
    setError(null);
    const more = { ...(sent.priority !== "" && { priority: Number(sent.priority) }), ...(sent.user_id && { user_id: sent.user_id }) };
    try {
      const { execution_id: id } = await post("/flows/execute", { flow_id: flow.flow_id, input_data: value, ...more }, { more: { "Idempotency-Key": once.current } });
      once.current = newKey();
      say("Started.");
      go(href("executions", id));
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };
  const keyed = (event) => {
    if (event.key === "Enter" && (event.metaKey || event.ctrlKey)) submit(event);
  };
  const set = (name) => (event) => {
    once.current = newKey();
    setSent({ ...sent, [name]: event.currentTarget.value });
  };
  return html`<div class="start">
    <${Panel} title=${`Start ${flow.flow_id}`}>
      <form onSubmit=${submit} onKeyDown=${keyed} data-testid="start-form">
        <div class="field">
          <label for="input-json">Input (JSON)</label>
          <${Editor} id="input-json" text=${shown} wrong=${mistake} label="Input (JSON)" onText=${change} onFocus=${touched} />
          <div class="editor-foot"><p class="wrong" id="input-json-wrong">${mistake}</p>
            <button type="button" class="btn quiet small" disabled=${wrong !== undefined} onClick=${() => change(pretty(value))}>Format</button></div>
        </div>
        <div class="inline-fields">
          <div class="field"><label for="start-priority">Priority <span class="faint">(0 to 10)</span></label><input id="start-priority" class="input" type="number" min="0" max="10" step="1" value=${sent.priority} onInput=${set("priority")} /></div>
          <div class="field"><label for="start-user">User <span class="faint">(optional)</span></label><input id="start-user" class="input" maxlength="200" autocomplete="off" value=${sent.user_id} onInput=${set("user_id")} /></div>
        </div>
        ${error && html`<div class="callout tone-bad" role="alert"><${Icon} name="error" /><div class="body"><span class="what">${error.code}</span><p>${error.message}</p>
          ${Object.entries(error.details).map(([name, texts]) => html`<p key=${name}><code>${name}</code> ${[texts].flat().map(String).join(" ")}</p>`)}</div></div>`}
        <div class="submit"><button class="btn primary" disabled=${Boolean(mistake) || busy}>${busy ? html`<${Icon} name="running" size=${14} class="spin" />` : html`<${Icon} name="play" size=${14} />`}Start</button>
          <span class="only-keys" aria-hidden="true"><kbd>Ctrl</kbd> <kbd>Enter</kbd></span></div>
      </form>
    </${Panel}>
    <div class="stack">
    ${graph.data?.input_schema && html`<${Panel} title="What it takes"><${Json} value=${graph.data.input_schema} label="schema of the input" /></${Panel}>`}
    <${Panel} title="Last inputs" note="choose one to take it over" padded=${false}>
      ${inputs.length ? html`<ul class="inputs" data-testid="last-inputs">${inputs.map((one) => html`<li key=${one.execution_id}><button type="button" onClick=${() => change(pretty(one.input_data))}>
        <code>${JSON.stringify(one.input_data)}</code><span class="muted"><${Badge} state=${one.status} plain /><${Time} at=${one.created_at} /></span></button></li>`)}</ul>`
      : html`<${Empty} icon="executions" title="Not started yet">What it is started with appears here.</${Empty}>`}
    </${Panel}>
    </div>
  </div>`;
}

const pretty = (value) => JSON.stringify(value, null, 2);

function distinct(executions) {
  const seen = new Map();
  for (const one of executions) {
    if (one.input_data === null || one.truncated?.includes("input_data")) continue;
    const text = JSON.stringify(one.input_data);
    if (!seen.has(text)) seen.set(text, one);
  }
  return [...seen.values()].slice(0, OFFERED);
}

function Recent({ recent, id }) {
  return html`<${Loaded} of=${recent}>${({ executions }) => (executions.length ? html`<${ExecutionTable} label=${`executions of ${id}`} rows=${executions} foot=${html`<a href=${href("executions", { flow: id })}>All executions of this flow</a>`} />`
    : html`<div class="table-frame"><${Empty} icon="executions" title="It has not run yet" /></div>`)}</${Loaded}>`;
}

function Versions({ id, shown }) {
  const all = useResource((signal) => get(path`/flows/${id}/versions`, {}, { signal }), [id]);
  return html`<${Panel} title="Versions" note="executions keep the one they began with" padded=${false}>
    <${Loaded} of=${all}>${({ versions }) => html`<ul class="versions">${versions.map((one, index) => html`<li key=${one.flow_version}>
      <strong>Version ${one.flow_version}</strong>${index === 0 && html`<span class="tag">newest</span>`}${one.flow_version === shown && html`<span class="tag">shown</span>`}
      <span class="muted grow"><${Time} at=${one.updated_at} /></span>
      <a href=${href("flows", id, { version: index === 0 ? "" : one.flow_version })}>Graph</a>
      <a href=${href("flows", id, "definition", { version: index === 0 ? "" : one.flow_version })}>Definition</a>
    </li>`)}</ul>`}</${Loaded}>
  </${Panel}>`;
}
