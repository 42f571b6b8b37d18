// Log lines, newest at the bottom, as they come: at most ten thousand are kept, only those in sight are drawn.
import { html, useEffect, useLayoutEffect, useRef, useState } from "../core/html.js";
import { get } from "../core/api.js";
import { bind } from "../core/keyboard.js";
import { exactTime, isToday, lineTime, plural, whole } from "../core/format.js";
import { useStream } from "../core/resource.js";
import { href } from "../core/router.js";
import { Icon } from "./icons.js";
import { Json } from "./json.js";
import { Facts } from "./small.js";
import { Empty, Failed, Loading } from "./states.js";

const MOST = 10_000;
const PAGE = 500;
const SPARE = 12;
const TONES = { DEBUG: "rest", INFO: "run", WARNING: "wait", ERROR: "bad", CRITICAL: "bad" };
const MARKS = { DEBUG: "info", INFO: "info", WARNING: "warning", ERROR: "error", CRITICAL: "error" };
const GONE = ["log_id", "timestamp", "level", "event", "message", "fields"];

/** The lines that fit a query; inputs change when it does. */
export function LogLines({ query, inputs, empty, testid = "log" }) {
  const log = useLog(query, inputs);
  const frame = useRef(null);
  const [view, setView] = useState({ first: 0, count: 60, height: 26 });
  const [atEnd, setAtEnd] = useState(true);
  const [open, setOpen] = useState(null);
  const follows = useRef(true);

  const measure = () => {
    const place = frame.current;
    if (!place) return;
    const height = Number.parseFloat(getComputedStyle(place).getPropertyValue("--line-height")) || 26;
    const first = Math.max(0, Math.floor(place.scrollTop / height) - SPARE);
    const count = Math.ceil(place.clientHeight / height) + 2 * SPARE;
    setView((now) => (now.first === first && now.count === count && now.height === height ? now : { first, count, height }));
  };
  // Only a scroll says whether the end is to stay in sight; what grows below does not.
  const scrolled = () => {
    const place = frame.current;
    follows.current = place.scrollTop + place.clientHeight > place.scrollHeight - 2 * view.height;
    setAtEnd(follows.current);
    measure();
    if (place.scrollTop < 20 * view.height) log.older();
  };
  const toEnd = () => {
    follows.current = true;
    frame.current.scrollTop = frame.current.scrollHeight;
    measure();
  };
  useLayoutEffect(() => {
    if (!frame.current) return undefined;
    const watch = new ResizeObserver(() => (follows.current ? toEnd() : measure()));
    watch.observe(frame.current);
    return () => watch.disconnect();
  }, [log.lines.length > 0]);
  // The end stays in sight; and what is looked at stays where it is when older lines come in above, or old ones go.
  useLayoutEffect(() => {
    const place = frame.current;
    if (!place) return;
    if (follows.current && !log.paused) toEnd();
    else if (log.shift) place.scrollTop += log.shift * view.height;
    measure();
  }, [log.lines, view.height]);
  useEffect(() => bind({ p: () => log.pause(!log.paused) }), [log.paused]);
  // A line never changes: drawn once, it is the same piece of markup for as long as it is in sight.
  const drawn = useRef(new Map());
  const before = drawn.current;
  drawn.current = new Map();
  const draw = (line, is) => {
    const key = `${line.log_id}${is ? "!" : ""}`;
    const toggle = () => setOpen((now) => (now?.log_id === line.log_id ? null : line));
    const markup = before.get(key) ?? html`<${Line} key=${line.log_id} line=${line} open=${is} onOpen=${toggle} />`;
    drawn.current.set(key, markup);
    return markup;
  };
  const { lines } = log;
  const shown = lines.slice(view.first, view.first + view.count);
  const dated = lines.length > 0 && !isToday(lines[0].timestamp);
  return html`<div class=${`log-frame${dated ? " dated" : ""}`} data-testid=${testid}>
    <div class="log-bar">
      <button type="button" class="btn small" aria-pressed=${String(log.paused)} title="p" onClick=${() => log.pause(!log.paused)}>
        <${Icon} name=${log.paused ? "play" : "paused"} size=${14} />${log.paused ? "Resume" : "Pause"}</button>
      <span class="muted num" data-testid="log-count">${plural(lines.length, "line")}${log.held ? `, ${whole(log.held)} more held back` : ""}</span>
      ${!atEnd && lines.length > 0 && html`<button type="button" class="btn small" onClick=${toEnd}><${Icon} name="down" size=${14} />To the newest</button>`}
    </div>
    ${log.error && !lines.length ? html`<${Failed} error=${log.error} retry=${log.reload} />`
    : !lines.length ? (log.loading ? html`<${Loading} lines=${10} />` : html`<${Empty} icon="logs" title="No log lines">${empty}</${Empty}>`)
    : html`<div class="log" ref=${frame} onScroll=${scrolled} role="log" aria-live="off" aria-label="Log lines, newest last" tabindex="0">
        <div style=${{ height: `${view.first * view.height}px` }}></div>
        ${shown.map((line) => draw(line, open?.log_id === line.log_id))}
        <div style=${{ height: `${Math.max(0, lines.length - view.first - view.count) * view.height}px` }}></div>
      </div>`}
    ${open && html`<${Details} line=${open} onClose=${() => setOpen(null)} />`}
  </div>`;
}

function Line({ line, open, onOpen }) {
  const { level, timestamp, event, message, agent_id: agent, flow_id: flow, node_id: node } = line;
  const word = level.toUpperCase();
  const where = [flow, node, agent].filter(Boolean).join(" · ");
  return html`<div class=${`log-line tone-${TONES[word] ?? "rest"}${open ? " open" : ""}`}>
    <button type="button" aria-expanded=${String(open)} onClick=${onOpen}>
      <time datetime=${timestamp} title=${exactTime(timestamp)}>${lineTime(timestamp)}</time>
      <span class="log-level"><${Icon} name=${MARKS[word] ?? "info"} size=${13} />${word}</span>
      <span class="log-text"><b>${event}</b>${message && message !== event ? ` ${message}` : ""}${line.error_code ? html` <em>${line.error_code}</em>` : ""}</span>
      <span class="log-where">${where}</span>
    </button>
  </div>`;
}

function Details({ line, onClose }) {
  const facts = Object.entries(line).filter(([name, value]) => value !== null && value !== undefined && !GONE.includes(name));
  const shown = ([name, value]) => {
    if (name === "execution_id") return [name, html`<a class="mono" href=${href("executions", value)}>${value}</a>`];
    if (name === "agent_id") return [name, html`<a href=${href("agents", value)}>${value}</a>`];
    if (name === "flow_id") return [name, html`<a href=${href("flows", value)}>${value}</a>`];
    return [name, html`<span class="mono">${String(value)}</span>`];
  };
  return html`<aside class="log-details" aria-label="The chosen line">
    <div class="log-details-head"><strong class="grow">${line.event}</strong><button type="button" class="btn quiet small icon" aria-label="Close" onClick=${onClose}><${Icon} name="close" size=${14} /></button></div>
    <p class="log-message">${line.message}</p>
    <${Facts} list facts=${[["time", exactTime(line.timestamp)], ["level", line.level], ...facts.map(shown)]} />
    ${line.fields && Object.keys(line.fields).length > 0 && html`<${Json} value=${line.fields} label="fields" />`}
  </aside>`;
}

// What is known of the log. Older lines are asked for when somebody scrolls up; while it is paused new ones are held.
function useLog(query, inputs) {
  const [state, setState] = useState(EMPTY);
  const [paused, setPaused] = useState(false);
  const self = useRef({ run: 0 }).current;
  self.query = query;
  self.paused = paused;

  const read = async () => {
    const run = (self.run += 1);
    Object.assign(self, { busy: false, pending: [], frame: 0, ids: new Set() });
    setState(EMPTY);
    try {
      const page = await get("/logs", { ...self.query, limit: PAGE });
      if (run !== self.run) return;
      const lines = page.logs.reverse();
      self.ids = new Set(lines.map(({ log_id: id }) => id));
      setState({ ...EMPTY, lines, cursor: page.next_cursor, loading: false, after: lines.at(-1)?.log_id ?? 0 });
    } catch (error) {
      if (run === self.run) setState({ ...EMPTY, error, loading: false });
    }
  };
  useEffect(() => {
    read();
    return () => (self.run += 1);
  }, inputs);

  const flush = () => {
    self.frame = 0;
    if (self.paused) {
      self.pending = self.pending.slice(-MOST);
      setState((now) => ({ ...now, held: self.pending.length, shift: 0 }));
      return;
    }
    const news = self.pending;
    self.pending = [];
    setState((now) => {
      const all = [...now.lines, ...news];
      const over = Math.max(0, all.length - MOST);
      for (const line of all.slice(0, over)) self.ids.delete(line.log_id);
      return { ...now, lines: over ? all.slice(over) : all, cursor: over ? null : now.cursor, held: 0, shift: -over };
    });
  };
  const take = (lines) => {
    for (const line of lines) {
      if (self.ids.has(line.log_id)) continue;
      self.ids.add(line.log_id);
      self.pending.push(line);
    }
    if (self.pending.length && !self.frame) self.frame = setTimeout(flush, 100);
  };
  const poll = async () => {
    const page = await get("/logs", { ...self.query, limit: PAGE });
    take(page.logs.reverse());
  };
  useStream(state.after === null ? null : "/logs", {
    query, after: state.after, onEvents: (events) => take(events.map(({ data }) => data)), onGap: poll, poll,
  }, [...inputs, state.after]);

  const older = async () => {
    if (self.busy || !state.cursor || state.lines.length >= MOST) return;
    const run = self.run;
    self.busy = true;
    try {
      const page = await get("/logs", { ...self.query, limit: PAGE, cursor: state.cursor });
      if (run !== self.run) return;
      const found = page.logs.reverse().filter(({ log_id: id }) => !self.ids.has(id));
      for (const { log_id: id } of found) self.ids.add(id);
      setState((now) => ({ ...now, lines: [...found, ...now.lines], cursor: page.next_cursor, shift: found.length }));
    } catch {
      // Scrolling up again asks again.
    } finally {
      if (run === self.run) self.busy = false;
    }
  };
  const pause = (is) => {
    setPaused(is);
    self.paused = is;
    if (!is) flush();
  };
  return { ...state, paused, pause, older, reload: read };
}

const EMPTY = { lines: [], cursor: null, error: null, loading: true, after: null, held: 0, shift: 0 };
