// The server's log, as it is written.
import { html, useEffect, useRef } from "../core/html.js";
import { useNames } from "../core/resource.js";
import { route, setQuery } from "../core/router.js";
import { LogLines } from "../parts/loglines.js";
import { Choice, PageHead, Search, Selects } from "../parts/small.js";

const LEVELS = [{ id: "", title: "All levels" }, { id: "INFO", title: "Info and above" }, { id: "WARNING", title: "Warnings and errors" }, { id: "ERROR", title: "Errors" }];

export function Logs() {
  const { q = "", level = "", agent = "", flow = "", execution = "", code = "" } = route.value.query;
  const inputs = [q, level, agent, flow, execution, code];
  const query = { q, level, agent_id: agent, flow_id: flow, execution_id: execution, error_code: code };
  const filtered = inputs.some(Boolean);
  return html`<div class="page fill">
    <${PageHead} title="Logs" />
    <div class="filters">
      <${Search} label="Search log lines" placeholder="Text" value=${q} onSearch=${(text) => setQuery({ q: text })} />
      <${Selects}>
        <${Choice} label="Level" options=${LEVELS} value=${level} onChoose=${(id) => setQuery({ level: id })} />
        <${Choice} label="Agent" options=${useNames("/agents", "agents", "agent_id", "All agents")} value=${agent} onChoose=${(id) => setQuery({ agent: id })} />
        <${Choice} label="Flow" options=${useNames("/flows", "flows", "flow_id", "All flows")} value=${flow} onChoose=${(id) => setQuery({ flow: id })} />
        <${ExecutionId} value=${execution} onChoose=${(id) => setQuery({ execution: id })} />
      </${Selects}>
      ${filtered && html`<button type="button" class="btn quiet small" onClick=${() => setQuery({ q: "", level: "", agent: "", flow: "", execution: "", code: "" })}>Clear</button>`}
    </div>
    <${LogLines} query=${query} inputs=${inputs} empty=${filtered ? "Nothing matches these filters; new lines that do appear here." : "New lines appear here as they are written."} />
  </div>`;
}

// What is typed stays while the page is drawn anew around it.
function ExecutionId({ value, onChoose }) {
  const input = useRef(null);
  useEffect(() => {
    input.current.value = value;
  }, [value]);
  return html`<input ref=${input} class="input mono execution-filter" aria-label="Execution" placeholder="Execution id" maxlength="40" spellcheck=${false}
    autocomplete="off" onChange=${() => onChoose(input.current.value.trim())} />`;
}
