// The words for states: each has a tone and a sign, so that colour is never alone.
import { html } from "../core/html.js";
import { Icon } from "./icons.js";

const TONES = {
  pending: "rest", running: "run", waiting: "wait", retrying: "wait", paused: "pause", completed: "ok", failed: "bad",
  cancelled: "rest", skipped: "rest",
  unknown: "rest", initializing: "run", idle: "ok", active: "run", error: "bad", finished: "ok", offline: "bad",
  inactive: "rest", healthy: "ok", unhealthy: "bad", unreachable: "bad", working: "run", reachable: "ok",
};
const SIGNS = {
  retrying: "again", initializing: "pending", finished: "completed", error: "failed", inactive: "cancelled",
  healthy: "completed", unhealthy: "failed", unreachable: "offline", working: "active", reachable: "completed",
};

export const tone = (word) => TONES[word] ?? "rest";
export const sign = (word) => SIGNS[word] ?? word;

/** A state as a word with its sign. */
export function Badge({ state, label = state, plain = false, live = false, title }) {
  const turning = live && state === "running";
  return html`<span class=${`badge tone-${tone(state)}${plain ? " plain" : ""}`} data-state=${state} title=${title}>
    <${Icon} name=${sign(state)} size=${14} class=${turning ? "spin" : ""} />${label}
  </span>`;
}

/** Nothing is there, and what would change that. */
export function Empty({ icon = "info", title, children }) {
  return html`<div class="state"><span class="sign"><${Icon} name=${icon} size=${20} /></span><strong>${title}</strong>
    ${children && html`<p>${children}</p>`}</div>`;
}

/** Something could not be read. */
export function Failed({ error, retry }) {
  return html`<div class="state" role="alert">
    <span class="sign bad-text"><${Icon} name="error" size=${20} /></span>
    <strong>${error.code || "This did not work"}</strong>
    <p>${error.message}</p>
    ${error.requestId && html`<p class="faint mono">request ${error.requestId}</p>`}
    ${retry && html`<button class="btn" onClick=${retry}>Try again</button>`}
  </div>`;
}

/** Something is being read. */
export function Loading({ lines = 4 }) {
  return html`<div class="skeleton" role="status" aria-label="Loading">
    ${Array.from({ length: lines }, (_, index) => html`<i key=${index} class="line" style=${{ width: `${90 - ((index * 37) % 45)}%` }}></i>`)}
  </div>`;
}

/** One of loading, failed, or the content for what was read. */
export function Loaded({ of, lines, children }) {
  if (of.data !== undefined) return children(of.data);
  if (of.error) return html`<${Failed} error=${of.error} retry=${of.reload} />`;
  return html`<${Loading} lines=${lines} />`;
}
