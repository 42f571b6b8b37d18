// JSON for reading: coloured by token, cut where it is long, never markup.
import { html, useMemo, useState } from "../core/html.js";
import { bytes } from "../core/format.js";
import { Icon } from "./icons.js";
import { toClipboard } from "./small.js";
import { say } from "./toasts.js";

const TOKENS = /("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|\b(true|false|null)\b/g;
const COLOURED = 40_000;
const SHOWN = 100_000;

/** The pieces of a JSON text with their kinds; what is between tokens has none. */
export function tokens(text) {
  const found = [];
  let end = 0;
  for (const match of text.matchAll(TOKENS)) {
    if (match.index > end) found.push([null, text.slice(end, match.index)]);
    const [whole, string, colon, number] = match;
    if (string !== undefined) {
      found.push([colon ? "key" : "string", string]);
      if (colon) found.push([null, colon]);
    } else found.push([number !== undefined ? "number" : "word", whole]);
    end = match.index + whole.length;
  }
  if (end < text.length) found.push([null, text.slice(end)]);
  return found;
}

/** A value as indented JSON. */
export function Json({ value, label }) {
  const [all, setAll] = useState(false);
  const text = useMemo(() => JSON.stringify(value, null, 2) ?? "null", [value]);
  const shown = all ? text : text.slice(0, SHOWN);
  const pieces = useMemo(() => (shown.length <= COLOURED ? tokens(shown) : [[null, shown]]), [shown]);
  const copy = async () => {
    if (await toClipboard(text)) say(`${label} copied.`);
  };
  return html`<div class="json">
    <pre tabindex="0" role="group" aria-label=${label}>${pieces.map(([kind, piece]) => (kind ? html`<span class=${`json-${kind}`}>${piece}</span>` : piece))}</pre>
    <button type="button" class="btn small icon copy-json" aria-label=${`Copy ${label}`} title="Copy" onClick=${copy}><${Icon} name="copy" size=${14} /></button>
    ${shown.length < text.length && html`<button type="button" class="btn small" onClick=${() => setAll(true)}>Show all ${bytes(text.length)}</button>`}
  </div>`;
}
