// What an execution's events say: the state of each node, and its attempts as stretches of time. Pure.

const ENDS = { "node.completed": "completed", "node.failed": "failed", "node.skipped": "skipped" };

/** Read events in order.
 *
 * @returns {{states: Map, rows: {id, agent, stretches: {kind, from, to, attempt, note}[]}[], status, begin, end}}
 *   kind: "running", "waiting", or how a run ended: "completed", "failed", "cancelled"; to is null while it lasts
 */
export function readHistory(events) {
  const rows = new Map();
  const states = new Map();
  let begin = null;
  let end = null;
  let status = null;
  for (const event of events) {
    const { type, at, node_id: id } = event;
    begin ??= at;
    if (type.startsWith("execution.")) {
      status = { accepted: "pending", started: "running", resumed: "running", cancel_requested: status }[type.slice(10)] ?? type.slice(10);
      if (["completed", "failed", "cancelled"].includes(status)) {
        end = at;
        close(rows, states, at);
      }
    } else if (id && type.startsWith("node.")) {
      const row = rows.get(id) ?? rows.set(id, { id, agent: null, stretches: [] }).get(id);
      if (event.agent_id) row.agent = event.agent_id;
      take(row, states, event);
    }
  }
  return { states, rows: [...rows.values()], status, begin, end };
}

function take(row, states, { type, at, attempt, data }) {
  const open = row.stretches.at(-1)?.to === null ? row.stretches.at(-1) : null;
  const begin = (kind, note) => row.stretches.push({ kind, from: at, to: null, attempt: attempt ?? open?.attempt ?? null, note });
  const finish = (kind, note) => {
    if (!open) return;
    open.to = at;
    if (open.kind === "running") open.kind = kind;
    if (note) open.note = note;
  };
  const ended = ENDS[type];
  if (ended) {
    if (open?.kind === "waiting" && open.isCall) open.kind = "running";
    finish(ended, reasonOf(data));
    states.set(row.id, { status: ended, attempt, note: times(row) });
  } else if (type === "node.started") {
    finish("completed");
    begin("running", data.recovered ? "called again after a restart" : "");
    states.set(row.id, { status: "running", attempt, note: attempt > 1 ? `attempt ${attempt}` : "" });
  } else if (type === "node.retrying") {
    finish("failed", reasonOf(data));
    begin("waiting", "waits for its next attempt");
    states.set(row.id, { status: "waiting", attempt, note: "waits: retry" });
  } else if (type === "node.waiting") {
    const isCall = data.reason === "agent" && open?.kind === "running";
    if (!isCall) {
      finish("completed");
      begin("waiting", `waits for ${WAITS[data.reason] ?? data.reason}`);
    } else open.note = "the agent has taken the task";
    states.set(row.id, { status: "waiting", attempt, note: `waits: ${data.reason}` });
  }
}

const WAITS = { slot: "a free slot", agent: "its agent", retry: "its next attempt", timer: "its time", signal: "a signal", concurrency: "its turn" };
const reasonOf = (data) => (data.error_code ? `${data.error_code}: ${data.error_message ?? ""}` : "");

function times(row) {
  const attempts = row.stretches.filter(({ kind }) => kind !== "waiting").length;
  return attempts > 1 ? `${attempts} attempts` : "";
}

function close(rows, states, at) {
  for (const row of rows.values()) {
    const last = row.stretches.at(-1);
    if (last?.to !== null || !last) continue;
    last.to = at;
    if (last.kind === "running") last.kind = "cancelled";
    states.set(row.id, { ...states.get(row.id), status: "cancelled", note: "" });
  }
}
