// A field for JSON: coloured behind a plain text area, with the place of a mistake, and never a trap for the Tab key.
import { html, useMemo, useRef } from "../core/html.js";
import { tokens } from "./json.js";

const COLOURED = 30_000;

/** What a text is: {value} or {wrong}, the place of the mistake in words. */
export function readJson(text) {
  try {
    return { value: JSON.parse(text) };
  } catch (error) {
    return { wrong: where(text, error.message) };
  }
}

// Browsers differ in how they say where; the sentence without the place is much the same.
function where(text, message) {
  if (!text.trim()) return "Nothing is there yet; {} is an empty input.";
  const plain = message.replace(/^JSON\.parse: /, "").replace(/,? ?"[\s\S]*" is not valid JSON$/, "").replace(/ (in JSON )?at (position|line) \d[\s\S]*$/, "");
  const told = /line (\d+) column (\d+)/.exec(message);
  const at = /position (\d+)/.exec(message);
  const before = at ? text.slice(0, Number(at[1])).split("\n") : null;
  if (told) return `Line ${told[1]}, column ${told[2]}: ${plain}.`;
  return before ? `Line ${before.length}, column ${before.at(-1).length + 1}: ${plain}.` : `${plain}.`;
}

export function Editor({ id, text, wrong, label, onText, onFocus }) {
  const back = useRef(null);
  const pieces = useMemo(() => (text.length <= COLOURED ? tokens(text) : [[null, text]]), [text]);
  const scrolled = (event) => {
    back.current.scrollTop = event.currentTarget.scrollTop;
  };
  const keyed = (event) => {
    // Two spaces for Tab would keep keyboard users in here; Enter keeps the indentation instead.
    if (event.key !== "Enter" || event.ctrlKey || event.metaKey || event.shiftKey || event.isComposing) return;
    const area = event.currentTarget;
    const line = area.value.slice(0, area.selectionStart).split("\n").at(-1);
    const deeper = /[{[]\s*$/.test(line) ? "  " : "";
    const indent = /^\s*/.exec(line)[0] + deeper;
    if (!indent) return;
    event.preventDefault();
    area.setRangeText(`\n${indent}`, area.selectionStart, area.selectionEnd, "end");
    onText(area.value);
  };
  return html`<div class=${`editor${wrong ? " wrong-now" : ""}`}>
    <pre ref=${back} aria-hidden="true">${pieces.map(([kind, piece]) => (kind ? html`<span class=${`json-${kind}`}>${piece}</span>` : piece))}${"\n"}</pre>
    <textarea id=${id} value=${text} aria-label=${label} aria-invalid=${String(Boolean(wrong))} aria-describedby=${`${id}-wrong`} spellcheck=${false}
      autocomplete="off" autocapitalize="none" onInput=${(event) => onText(event.currentTarget.value)} onFocus=${onFocus} onScroll=${scrolled} onKeyDown=${keyed}></textarea>
  </div>`;
}
