// The frame around all pages: navigation, how things stand with the server, theme and key.
import { html, useEffect, useState } from "../core/html.js";
import { bind } from "../core/keyboard.js";
import { go, href, route } from "../core/router.js";
import { key, signOut, who } from "../core/session.js";
import { connection } from "../core/stream.js";
import { setTheme, theme } from "../core/theme.js";
import { Dialog } from "./dialogs.js";
import { Icon } from "./icons.js";

export const PAGES = [
  { id: "overview", title: "Overview", letter: "o" },
  { id: "executions", title: "Executions", letter: "e" },
  { id: "flows", title: "Flows", letter: "f" },
  { id: "agents", title: "Agents", letter: "a" },
  { id: "logs", title: "Logs", letter: "l" },
];
const THEMES = [["system", "system", "System theme"], ["light", "sun", "Light theme"], ["dark", "moon", "Dark theme"]];
const STATES = {
  live: ["Live", "ok", "Changes arrive as they happen."],
  connecting: ["Connecting…", "wait", "The stream of changes is being opened."],
  polling: ["Polling", "wait", "No stream can be had; this page asks every few seconds."],
  paused: ["Paused", "rest", "The tab was hidden; it goes on when you look."],
  offline: ["Offline", "bad", "The server cannot be reached; this page keeps trying."],
};
const SHORTCUTS = [
  ["g o", "Overview"], ["g e", "Executions"], ["g f", "Flows"], ["g a", "Agents"], ["g l", "Logs"],
  ["/", "Search or filter"], ["j", "Next row"], ["k", "Row before"], ["Enter", "Open the row"], ["x", "Select the row"],
  ["p", "Pause or resume the live log"], ["t", "Change the theme"], ["?", "These shortcuts"], ["Esc", "Close a dialog"],
];

export function Mark({ size = 22 }) {
  return html`<svg class="mark" viewBox="0 0 32 32" width=${size} height=${size} aria-hidden="true">
    <rect width="32" height="32" rx="8" fill="currentColor" />
    <g fill="none" stroke="var(--on-accent)" stroke-width="2.6"><circle cx="9.5" cy="16" r="3.2" /><circle cx="22.5" cy="9.5" r="3.2" /><circle cx="22.5" cy="22.5" r="3.2" /><path d="M12.4 14.600l7.2-3.600M12.4 17.400l7.2 3.6" /></g>
  </svg>`;
}

/** The frame with a page in it. */
export function Frame({ children }) {
  const [help, setHelp] = useState(false);
  useEffect(() => bind({
    ...Object.fromEntries(PAGES.map(({ id, letter }) => [`g ${letter}`, () => go(href(id))])),
    "?": () => setHelp(true),
    t: nextTheme,
  }), []);
  const page = route.value.page;
  return html`<div class="app">
    <a class="skip" href="#main" onClick=${skip}>Skip to the content</a>
    <header class="side">
      <div class="topbar">
        <a class="brand" href=${href("overview")}><${Mark} />Ops-Core</a>
        <${Connection} />
        <${ThemeButton} />
        <${SignOut} />
      </div>
      <a class="brand" href=${href("overview")}><${Mark} />Ops-Core</a>
      <nav class="nav" aria-label="Pages">
        ${PAGES.map(({ id, title, letter }) => html`<a key=${id} href=${href(id)} aria-current=${id === page ? "page" : undefined}>
          <${Icon} name=${id} />${title}<span class="keys" aria-hidden="true"><kbd>g</kbd> <kbd>${letter}</kbd></span></a>`)}
      </nav>
      <div class="side-foot">
        <${Connection} />
        <div class="line"><${ThemeButton} /><button type="button" class="btn quiet icon" aria-label="Keyboard shortcuts" title="Keyboard shortcuts (?)" onClick=${() => setHelp(true)}><${Icon} name="keyboard" /></button><${SignOut} /></div>
        <${Who} />
      </div>
    </header>
    <main class="main" id="main" tabindex="-1">${children}</main>
    ${help && html`<${Help} onClose=${() => setHelp(false)} />`}
  </div>`;
}

// The address after "#" is the page's; so the link does by hand what the browser would.
function skip(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

function nextTheme() {
  const at = THEMES.findIndex(([id]) => id === theme.peek());
  setTheme(THEMES[(at + 1) % THEMES.length][0]);
}

function ThemeButton() {
  const [, icon, title] = THEMES.find(([id]) => id === theme.value);
  return html`<button type="button" class="btn quiet icon" aria-label=${`${title}; change it`} title=${`${title} (t)`} data-testid="theme" onClick=${nextTheme}><${Icon} name=${icon} /></button>`;
}

function SignOut() {
  if (!key.value) return null;
  return html`<button type="button" class="btn quiet icon" aria-label="Sign out" title="Sign out" onClick=${() => signOut("")}><${Icon} name="out" /></button>`;
}

function Who() {
  const known = who.value;
  if (!known?.authenticated) return null;
  return html`<p class="key-name clip" title=${`key ${known.key_id}`}>${known.name || known.key_id} · ${known.scopes.includes("admin") ? "admin" : known.scopes.join(", ")}</p>`;
}

function Connection() {
  const state = connection.value;
  if (state === null) return null;
  const [title, tone, told] = STATES[state];
  return html`<span class=${`conn tone-${tone} ${state}`} title=${told} role="status" data-testid="connection"><i class="dot"></i>${title}</span>`;
}

function Help({ onClose }) {
  return html`<${Dialog} title="Keyboard shortcuts" onClose=${onClose}>
    <div class="dialog-form">
      <h2>Keyboard shortcuts</h2>
      <dl class="shortcuts">${SHORTCUTS.map(([keys, what]) => html`<div key=${keys}><dt>${what}</dt><dd>${keys.split(" ").map((one) => html`<kbd>${one}</kbd> `)}</dd></div>`)}</dl>
      <div class="dialog-foot"><button type="button" class="btn" onClick=${onClose}>Close</button></div>
    </div>
  </${Dialog}>`;
}
