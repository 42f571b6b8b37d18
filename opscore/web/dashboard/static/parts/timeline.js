// Attempts as bars over time, a row for each node. Only rows in sight are drawn.
import { html, useLayoutEffect, useRef, useState } from "../core/html.js";
import { now } from "../core/clock.js";
import { duration } from "../core/format.js";
import { Icon } from "./icons.js";
import { sign, tone } from "./states.js";

const ROW = 28;
const SPARE = 8;
const TICKS = 4;
const WORDS = { running: "running", waiting: "waited", completed: "completed", failed: "failed", cancelled: "cut off" };

export function Timeline({ history, selected, onSelect }) {
  const frame = useRef(null);
  const [view, setView] = useState({ first: 0, count: 30 });
  const measure = () => {
    const place = frame.current;
    const first = Math.max(0, Math.floor(place.scrollTop / ROW) - SPARE);
    const count = Math.ceil(place.clientHeight / ROW) + 2 * SPARE;
    setView((before) => (before.first === first && before.count === count ? before : { first, count }));
  };
  useLayoutEffect(() => {
    const watch = new ResizeObserver(measure);
    watch.observe(frame.current);
    return () => watch.disconnect();
  }, []);
  const begin = Date.parse(history.begin);
  const end = history.end ? Date.parse(history.end) : Math.max(now.value, begin + 1);
  const span = Math.max(1, end - begin);
  const rows = history.rows.filter(({ stretches }) => stretches.length);
  const shown = rows.slice(view.first, view.first + view.count);
  return html`<div class="timeline" data-testid="timeline">
    <div class="timeline-head" aria-hidden="true"><span></span><div class="timeline-ticks">
      ${Array.from({ length: TICKS }, (_, index) => html`<span key=${index} style=${{ left: `${(index / TICKS) * 100}%` }}>${index ? duration((span * index) / TICKS) : "0"}</span>`)}
      <span class="last">${duration(span)}</span>
    </div></div>
    <div class="timeline-rows" ref=${frame} onScroll=${measure} role="list" aria-label="Attempts of each node">
      <div style=${{ height: `${view.first * ROW}px` }} role="presentation"></div>
      ${shown.map((row) => html`<${Row} key=${row.id} row=${row} begin=${begin} span=${span} end=${end} status=${history.states.get(row.id)?.status} selected=${row.id === selected} onSelect=${onSelect} />`)}
      <div style=${{ height: `${Math.max(0, rows.length - view.first - view.count) * ROW}px` }} role="presentation"></div>
    </div>
  </div>`;
}

function Row({ row, begin, span, end, status, selected, onSelect }) {
  const told = row.stretches.map((one) => describe(one, end));
  return html`<div class=${`timeline-row${selected ? " selected" : ""}`} role="listitem">
    <button type="button" class="clip" aria-pressed=${String(selected)} aria-label=${`${row.id}: ${status}. ${told.join("; ")}`} title=${row.id} onClick=${() => onSelect(row.id)}>
      <span class=${`tone-${tone(status)} timeline-sign`}><${Icon} name=${sign(status)} size=${14} /></span><span class="clip">${row.id}</span>
    </button>
    <div class="timeline-bars" aria-hidden="true">
      ${row.stretches.map((one, index) => {
        const from = Date.parse(one.from);
        const to = one.to ? Date.parse(one.to) : end;
        const left = ((from - begin) / span) * 100;
        const width = Math.max(0, ((to - from) / span) * 100);
        return html`<i key=${index} class=${`bar ${one.kind} tone-${tone(one.kind)}`} title=${told[index]} style=${{ left: `${left}%`, width: `${width}%` }}></i>`;
      })}
    </div>
  </div>`;
}

function describe({ kind, from, to, attempt, note }, end) {
  const length = duration((to ? Date.parse(to) : end) - Date.parse(from));
  const what = kind === "waiting" ? WORDS.waiting : `${attempt ? `attempt ${attempt} ` : ""}${WORDS[kind]}`;
  return `${what}, ${length}${note ? ` (${note})` : ""}`;
}
