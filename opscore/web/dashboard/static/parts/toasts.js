// Short notes at the corner; screen readers hear them without losing their place.
import { html, signal } from "../core/html.js";
import { Icon } from "./icons.js";

const LASTS = 5000;
const LASTS_BAD = 12_000;
const MOST = 4;

const notes = signal([]);
let last = 0;

/** Say something: tone "ok" or "bad"; quiet notes are only heard, not seen. */
export function say(text, { tone = "ok", quiet = false } = {}) {
  const note = { id: (last += 1), text, tone, quiet };
  notes.value = [...notes.value, note].slice(-MOST);
  setTimeout(() => drop(note.id), tone === "bad" ? LASTS_BAD : LASTS);
}

/** Say what went wrong. */
export const complain = (error) => say(error.message, { tone: "bad" });

function drop(id) {
  notes.value = notes.value.filter((note) => note.id !== id);
}

export function Toasts() {
  const render = (note) => html`<div class=${note.quiet ? "sr-only" : `toast tone-${note.tone}`} key=${note.id} data-testid="toast">
    ${!note.quiet && html`<${Icon} name=${note.tone === "bad" ? "error" : "completed"} />`}
    <p>${note.text}</p>
    ${!note.quiet && html`<button type="button" class="btn quiet small icon" aria-label="Dismiss" onClick=${() => drop(note.id)}><${Icon} name="close" size=${14} /></button>`}
  </div>`;
  return html`<div class="toasts">
    <div role="status" aria-live="polite">${notes.value.filter((note) => note.tone !== "bad").map(render)}</div>
    <div role="alert" aria-live="assertive">${notes.value.filter((note) => note.tone === "bad").map(render)}</div>
  </div>`;
}
