// The dashboard begins here: who asks, which page, and the frame around it.
import { html, render, useEffect } from "./core/html.js";
import { get } from "./core/api.js";
import { go, href, route, visits } from "./core/router.js";
import { refused, signIn, key, who } from "./core/session.js";
import { Frame, PAGES } from "./parts/frame.js";
import { Empty, Failed, Loading } from "./parts/states.js";
import { PageHead } from "./parts/small.js";
import { Toasts } from "./parts/toasts.js";
import { useResource } from "./core/resource.js";
import { Agent } from "./pages/agent.js";
import { Agents } from "./pages/agents.js";
import { Execution } from "./pages/execution.js";
import { Executions } from "./pages/executions.js";
import { Flow } from "./pages/flow.js";
import { Flows } from "./pages/flows.js";
import { Logs } from "./pages/logs.js";
import { Overview } from "./pages/overview.js";
import { SignIn } from "./pages/signin.js";

const TITLES = Object.fromEntries(PAGES.map(({ id, title }) => [id, title]));

const ALL = { overview: Overview, executions: Executions, flows: Flows, agents: Agents, logs: Logs };
const ONE = { executions: Execution, flows: Flow, agents: Agent };

function App() {
  return html`${refused.value !== null ? html`<${SignIn} />` : html`<${SignedIn} />`}<${Toasts} />`;
}

// What the key may do is asked before anything else: a 401 leads to the sign-in page.
function SignedIn() {
  const asked = useResource((signal) => get("/whoami", {}, { signal }), [key.value]);
  useEffect(() => {
    if (asked.data) who.value = asked.data;
  }, [asked.data]);
  if (asked.error && !asked.data) return html`<${Frame}><${Failed} error=${asked.error} retry=${asked.reload} /></${Frame}>`;
  if (asked.data?.key_required && !asked.data.authenticated) return html`<${Ask} />`;
  return html`<${Frame}>${asked.data ? html`<${Page} />` : html`<div class="page"><${Loading} lines=${6} /></div>`}</${Frame}>`;
}

function Ask() {
  useEffect(() => {
    refused.value = "";
  }, []);
  return null;
}

function Page() {
  const { page, parts } = route.value;
  const id = parts[1];
  // A visit begins at the page's top; its heading takes the focus by itself.
  useEffect(() => {
    document.title = `${id ? `${id} · ` : ""}${TITLES[page] ?? "Not found"} · Ops-Core`;
    if (visits.value) document.getElementById("main").scrollTop = 0;
  }, [page, id, visits.value]);
  const One = id ? ONE[page] : undefined;
  if (One) return html`<${One} key=${`${page}/${id}`} id=${id} />`;
  const All = id ? undefined : ALL[page];
  if (All) return html`<${All} key=${page} />`;
  return html`<div class="page"><${PageHead} title="Not found" /><${Empty} icon="unknown" title="There is no such page"><a href=${href("overview")}>To the overview</a></${Empty}></div>`;
}

if (!location.hash) go(href("overview"), { replace: true });
const place = document.getElementById("app");
place.replaceChildren();
render(html`<${App} />`, place);
