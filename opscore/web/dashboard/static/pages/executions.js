// Executions: filtered, searched, as they happen; some of them cancelled at once.
import { html, useEffect, useMemo, useRef, useState } from "../core/html.js";
import { get, post } from "../core/api.js";
import { plural } from "../core/format.js";
import { useNames, useResource, useStream } from "../core/resource.js";
import { href, route, setQuery } from "../core/router.js";
import { mayWrite } from "../core/session.js";
import { Confirm } from "../parts/dialogs.js";
import { Chips, Choice, PageHead, Search, Selects, Time, Took } from "../parts/small.js";
import { Badge, Empty, Failed, Loading } from "../parts/states.js";
import { Table, counted } from "../parts/table.js";
import { complain, say } from "../parts/toasts.js";

const PAGE = 100;
const OLDER = 250;
const MOST_AT_ONCE = 500;
const OPEN = new Set(["pending", "running", "paused"]);
const STATUSES = [
  { id: "", title: "All" }, { id: "running", title: "Running" }, { id: "pending", title: "Pending" }, { id: "failed", title: "Failed" },
  { id: "completed", title: "Completed" }, { id: "cancelled", title: "Cancelled" }, { id: "paused", title: "Paused" },
];
const AGES = [
  { id: "", title: "Any time" }, { id: "900", title: "Last 15 minutes" }, { id: "3600", title: "Last hour" },
  { id: "86400", title: "Last 24 hours" }, { id: "604800", title: "Last 7 days" },
];

export function Executions() {
  const { q = "", status = "", flow = "", agent = "", age = "" } = route.value.query;
  const inputs = [q, status, flow, agent, age];
  const list = usePages({ q, status, flow_id: flow, agent_id: agent }, age, inputs);
  const [chosen, setChosen] = useState(new Set());
  const [asking, setAsking] = useState(false);
  useEffect(() => setChosen(new Set()), inputs);

  const filtered = Boolean(q || status || flow || agent || age);
  const choose = (id, is) => setChosen((before) => {
    const next = new Set(before);
    if (is && next.size < MOST_AT_ONCE) next.add(id);
    else next.delete(id);
    return next;
  });
  const chooseAll = (is) => setChosen(new Set(is ? list.rows.filter(isOpen).slice(0, MOST_AT_ONCE).map(({ execution_id: id }) => id) : []));
  return html`<div class="page fill">
    <${PageHead} title="Executions" />
    <div class="filters">
      <${Search} label="Search executions" placeholder="Id, flow, error or user" value=${q} onSearch=${(text) => setQuery({ q: text })} />
      <${Chips} label="Status" options=${STATUSES} value=${status} onChoose=${(id) => setQuery({ status: id })} />
      <${Selects}>
        <${Choice} label="Flow" options=${useNames("/flows", "flows", "flow_id", "All flows")} value=${flow} onChoose=${(id) => setQuery({ flow: id })} />
        <${Choice} label="Agent" options=${useNames("/agents", "agents", "agent_id", "All agents")} value=${agent} onChoose=${(id) => setQuery({ agent: id })} />
        <${Choice} label="Started" options=${AGES} value=${age} onChoose=${(id) => setQuery({ age: id })} />
      </${Selects}>
      ${filtered && html`<button type="button" class="btn quiet small" onClick=${() => setQuery({ q: "", status: "", flow: "", agent: "", age: "" })}>Clear</button>`}
    </div>
    ${list.rows.length ? html`<${ExecutionTable} label="executions" rows=${list.rows} onEnd=${list.more} testid="executions"
        chosen=${mayWrite.value ? chosen : undefined} onChoose=${choose} onChooseAll=${chooseAll}
        foot=${html`<span>${counted(list.rows.length, "execution")}${list.hasMore ? " so far" : ""}</span>`} />`
    : list.error ? html`<${Failed} error=${list.error} retry=${list.reload} />`
    : list.loading ? html`<div class="table-frame"><${Loading} lines=${8} /></div>`
    : html`<div class="table-frame"><${Nothing} filtered=${filtered} /></div>`}
    ${chosen.size > 0 && html`<div class="bulk bulk-place" role="region" aria-label="What is selected">
      <span class="grow">${plural(chosen.size, "execution")} selected</span>
      <button type="button" class="btn quiet small" onClick=${() => setChosen(new Set())}>Clear</button>
      <button type="button" class="btn danger small" onClick=${() => setAsking(true)}>Cancel them…</button>
    </div>`}
    ${asking && html`<${Confirm} title=${`Cancel ${plural(chosen.size, "execution")}?`} text="No further step of them starts, and open calls are dropped. This cannot be taken back."
      action="Cancel them" dismiss="Keep them" reason="Why" act=${(reason) => cancelAll([...chosen], reason, () => { setChosen(new Set()); list.refresh(); })} onClose=${() => setAsking(false)} />`}
  </div>`;
}

async function cancelAll(ids, reason, after) {
  const { cancelled, refused } = await post("/executions/cancel", { execution_ids: ids, ...(reason && { reason }) });
  const text = `${plural(cancelled.length, "execution")} cancelled.`;
  if (refused.length) say(`${text} ${refused.length} could not be: ${refused[0].message}`, { tone: "bad" });
  else say(text);
  after();
}

function Nothing({ filtered }) {
  if (filtered) return html`<${Empty} icon="search" title="Nothing matches">Other filters, or a shorter search, may find what you look for.</${Empty}>`;
  return html`<${Empty} icon="executions" title="No executions yet">Start one from <a href=${href("flows")}>a flow</a>, or with <code>POST /flows/execute</code>. It appears here at once.</${Empty}>`;
}

const isOpen = ({ status }) => OPEN.has(status);

/** The table that executions are shown in, here and on other pages. */
export function ExecutionTable({ rows, ...rest }) {
  return html`<${Table} columns=${COLUMNS} rows=${rows} rowKey=${keyOf} rowHref=${hrefOf} rowName=${nameOf} mayChoose=${isOpen} ...${rest} />`;
}

const keyOf = ({ execution_id: id }) => id;
const hrefOf = ({ execution_id: id }) => href("executions", id);
const nameOf = ({ execution_id: id, flow_id: flow }) => `${flow} ${id}`;
const COLUMNS = [
  { id: "status", title: "Status", width: "112px", phone: "end", cell: ({ status }) => html`<${Badge} state=${status} />` },
  { id: "flow", title: "Flow", width: "minmax(120px, 1fr)", phone: "main", cell: (row) => html`<a class="row-link" href=${hrefOf(row)} title=${row.execution_id}>${row.flow_id}</a>` },
  { id: "id", title: "Execution", width: "108px", cell: ({ execution_id: id }) => html`<span class="mono muted" title=${id}>…${id.slice(-10)}</span>` },
  { id: "note", title: "What", width: "minmax(160px, 2fr)", phone: "sub", cell: (row) => html`<${Note} row=${row} />` },
  { id: "created", title: "Created", width: "92px", end: true, phone: "note", cell: ({ created_at: at }) => html`<${Time} at=${at} />` },
  { id: "took", title: "Took", width: "88px", end: true, cell: (row) => (row.started_at ? html`<${Took} from=${row.started_at} to=${row.completed_at} />` : html`<span class="faint">–</span>`) },
];

function Note({ row }) {
  if (row.error_code) return html`<span title=${row.error_message}>${row.status === "failed" && html`<span class="bad-text">${row.error_code}</span> `}<span class="muted">${row.error_message}</span></span>`;
  const [wait] = row.waiting;
  if (wait) {
    const more = row.waiting.length > 1 ? ` and ${row.waiting.length - 1} more` : "";
    return html`<span class="muted">waits for ${wait.reason === "agent" || wait.reason === "slot" ? wait.agent_id ?? wait.reason : wait.reason} at ${wait.node_id}${more}${wait.until ? html`, <${Time} at=${wait.until} />` : ""}</span>`;
  }
  const given = row.input_data === null ? "" : JSON.stringify(row.input_data).slice(0, 200);
  return html`<span class="mono faint" title="input">${given}</span>`;
}

// All pages that were read, as one list. The first one is read again when something happened; what was read of the
// others stays, and follows the events.
function usePages(query, age, inputs) {
  const since = useMemo(() => (age ? new Date(Date.now() - Number(age) * 1000).toISOString() : ""), inputs);
  const ask = (cursor, signal) => get("/executions", { ...query, created_after: since, cursor, limit: cursor ? OLDER : PAGE }, { signal });
  const first = useResource((signal) => ask(undefined, signal), inputs);
  const [known, setKnown] = useState({ rows: [], cursor: null });
  const busy = useRef(false);
  useEffect(() => setKnown((before) => (first.data ? joined(before, first.data) : { rows: [], cursor: null })), [first.data]);
  useStream("/events", {
    query: { type: "execution.*", flow_id: query.flow_id },
    resume: false,
    onEvents: (events) => {
      setKnown((before) => ({ ...before, rows: patched(before.rows, events) }));
      first.refresh();
    },
    onGap: first.refresh,
    poll: first.reload,
  }, [query.flow_id]);

  const more = async () => {
    if (!known.cursor || busy.current) return;
    busy.current = true;
    try {
      const page = await ask(known.cursor);
      setKnown((before) => (before.cursor === known.cursor ? { rows: [...before.rows, ...page.executions], cursor: page.next_cursor } : before));
    } catch (error) {
      complain(error);
    } finally {
      busy.current = false;
    }
  };
  const { error, loading, reload, refresh } = first;
  const fresh = first.data !== undefined && !known.rows.length ? first.data.executions : known.rows;
  return { rows: first.data === undefined ? [] : fresh, more, hasMore: Boolean(known.cursor), error, loading, reload, refresh };
}

// Ids rise with time, and lists are newest first: whatever is older than the page's last row was read before.
function joined({ rows, cursor }, { executions: page, next_cursor: next }) {
  const last = page.at(-1)?.execution_id;
  if (!next || !rows.length || rows[0].execution_id < last) return { rows: page, cursor: next };
  const older = rows.filter(({ execution_id: id }) => id < last);
  return { rows: [...page, ...older], cursor: older.length ? cursor : next };
}

function patched(rows, events) {
  const news = new Map();
  for (const { data } of events) {
    const status = STATUS_AFTER[data.type];
    if (status) news.set(data.execution_id, { status, updated_at: data.at, ...(OPEN.has(status) ? {} : { completed_at: data.at, waiting: [] }), ...(data.data.error_code && { error_code: data.data.error_code, error_message: data.data.error_message }) });
  }
  return rows.map((row) => (news.has(row.execution_id) ? { ...row, ...news.get(row.execution_id) } : row));
}

const STATUS_AFTER = {
  "execution.started": "running", "execution.paused": "paused", "execution.resumed": "running",
  "execution.completed": "completed", "execution.failed": "failed", "execution.cancelled": "cancelled",
};
