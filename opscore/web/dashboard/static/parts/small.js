// Small pieces that many pages share.
import { html, useEffect, useLayoutEffect, useRef, useState } from "../core/html.js";
import { now } from "../core/clock.js";
import { NOTHING, duration, exactTime, relative } from "../core/format.js";
import { isLanding } from "../core/router.js";
import { bind } from "../core/keyboard.js";
import { Icon } from "./icons.js";
import { say } from "./toasts.js";

/** An instant: how long ago, exactly on hover. */
export function Time({ at, exact = false }) {
  if (!at) return html`<span class="faint">${NOTHING}</span>`;
  const full = exactTime(at);
  return html`<time datetime=${at} title=${full}>${exact ? full : relative(at, now.value)}</time>`;
}

/** How long something took, or has taken until now. */
export function Took({ from, to }) {
  if (!from) return html`<span class="faint">${NOTHING}</span>`;
  const end = to ? Date.parse(to) : now.value;
  return html`<span class="num">${duration(end - Date.parse(from))}</span>`;
}

/** Text with a button that copies it. */
export function Copy({ text, label, children, mono = true }) {
  const [done, setDone] = useState(false);
  useEffect(() => {
    if (!done) return undefined;
    const timer = setTimeout(() => setDone(false), 1500);
    return () => clearTimeout(timer);
  }, [done]);
  const copy = async () => {
    if (await toClipboard(text)) {
      setDone(true);
      say(`${label} copied.`, { quiet: true });
    } else {
      say("The browser does not allow copying here.", { tone: "bad" });
    }
  };
  return html`<span class="copy"><span class=${`clip${mono ? " mono" : ""}`} title=${text}>${children ?? text}</span>
    <button type="button" onClick=${copy} aria-label=${`Copy ${label}`} title=${`Copy ${label}`}><${Icon} name=${done ? "check" : "copy"} size=${14} /></button>
  </span>`;
}

/** Put a text on the clipboard; whether that worked. Plain http elsewhere than on this machine has no clipboard API. */
export async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "sr-only";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

/** An address of somebody else's: a link only where it is http(s). */
export function Elsewhere({ url }) {
  let parsed = null;
  try {
    parsed = new URL(url);
  } catch {
    // Text it is, then.
  }
  if (parsed === null || !["http:", "https:"].includes(parsed.protocol)) return html`<span class="mono">${url || NOTHING}</span>`;
  return html`<a class="mono clip" href=${parsed.href} target="_blank" rel="noopener noreferrer">${url}</a>`;
}

/** A search field; "/" goes there. What is typed is told after a short pause. */
export function Search({ value, onSearch, label, placeholder }) {
  const input = useRef(null);
  const timer = useRef(null);
  const told = useRef(value);
  useEffect(() => bind({ "/": () => input.current?.select() }), []);
  useEffect(() => {
    // Somebody else changed it: a link, or the way back.
    if (value !== told.current && input.current) input.current.value = value;
    told.current = value;
  }, [value]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const tell = () => {
    clearTimeout(timer.current);
    told.current = input.current.value.trim();
    onSearch(told.current);
  };
  const typed = () => {
    clearTimeout(timer.current);
    timer.current = setTimeout(tell, 250);
  };
  const keyed = (event) => {
    if (event.key === "Enter") tell();
    if (event.key === "Escape") {
      if (input.current.value) {
        input.current.value = "";
        tell();
      } else input.current.blur();
    }
  };
  return html`<div class="search" role="search">
    <${Icon} name="search" size=${15} />
    <input ref=${input} class="input" type="search" aria-label=${label} placeholder=${placeholder ?? label} defaultValue=${value}
      autocomplete="off" spellcheck=${false} maxlength="200" onInput=${typed} onKeyDown=${keyed} />
    <kbd aria-hidden="true">/</kbd>
  </div>`;
}

// What scrolls sideways fades at an edge beyond which there is more.
function useEdges(place) {
  const look = () => {
    const { scrollLeft, scrollWidth, clientWidth, classList } = place.current;
    classList.toggle("more-before", scrollLeft > 2);
    classList.toggle("more-after", scrollLeft < scrollWidth - clientWidth - 2);
  };
  useLayoutEffect(look);
  useLayoutEffect(() => {
    const element = place.current;
    const watch = new ResizeObserver(look);
    watch.observe(element);
    element.addEventListener("scroll", look, { passive: true });
    return () => {
      watch.disconnect();
      element.removeEventListener("scroll", look);
    };
  }, []);
}

/** Drop-downs side by side. */
export function Selects({ children }) {
  const row = useRef(null);
  useEdges(row);
  return html`<div class="selects" ref=${row}>${children}</div>`;
}

/** A few words of which one is chosen. */
export function Chips({ label, options, value, onChoose }) {
  const row = useRef(null);
  useEdges(row);
  return html`<div class="chips" role="group" aria-label=${label} ref=${row}>
    ${options.map(({ id, title, icon }) => html`<button type="button" key=${id} aria-pressed=${String(id === value)} onClick=${() => onChoose(id)}>
      ${icon && html`<${Icon} name=${icon} size=${13} />`}${title}
    </button>`)}
  </div>`;
}

/** One of many, by a drop-down. */
export function Choice({ label, options, value, onChoose }) {
  const known = value && !options.some(({ id }) => id === value) ? [{ id: value, title: value }, ...options] : options;
  return html`<select class="select" aria-label=${label} value=${value} onChange=${(event) => onChoose(event.currentTarget.value)}>
    ${known.map(({ id, title }) => html`<option key=${id} value=${id} selected=${id === value}>${title}</option>`)}
  </select>`;
}

/** Tabs; the arrow keys go from one to the next. */
export function Tabs({ label, tabs, value, onChoose }) {
  const list = useRef(null);
  useEdges(list);
  // On a phone the tabs scroll sideways: the chosen one is brought into sight, without moving the page.
  useEffect(() => {
    const tab = list.current.querySelector(`#tab-${value}`);
    if (tab) list.current.scrollLeft = tab.offsetLeft - list.current.offsetLeft - (list.current.clientWidth - tab.offsetWidth) / 2;
  }, [value]);
  const keyed = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = tabs.findIndex(({ id }) => id === value);
    const next = tabs[(at + step + tabs.length) % tabs.length];
    onChoose(next.id);
    list.current.querySelector(`#tab-${next.id}`)?.focus();
  };
  return html`<div class="tabs" role="tablist" aria-label=${label} ref=${list} onKeyDown=${keyed}>
    ${tabs.map(({ id, title, count }) => html`<button type="button" role="tab" key=${id} id=${`tab-${id}`} aria-selected=${String(id === value)}
      aria-controls="tab-panel" tabindex=${id === value ? 0 : -1} onClick=${() => onChoose(id)}>
      ${title}${count !== undefined && html`<span class="count">${count}</span>`}
    </button>`)}
  </div>`;
}

/** What a tab shows; filling where it scrolls by itself. */
export function TabPanel({ tab, fill = false, children }) {
  return html`<div id="tab-panel" role="tabpanel" aria-labelledby=${`tab-${tab}`} class=${fill ? "fill-panel" : ""}>${children}</div>`;
}

/** The head of a page: where it is, what it is, what can be done. The heading takes the focus after a visit. */
export function PageHead({ crumbs, title, badge, lead, children }) {
  const heading = useRef(null);
  // On a visit; and again where the page's own head takes the place of the one it had while it was read.
  useEffect(() => {
    if (isLanding()) heading.current.focus({ preventScroll: true });
  }, []);
  return html`<header class="page-head">
    <div class="titles">
      ${crumbs && html`<nav class="crumbs" aria-label="Breadcrumbs">${crumbs.map(({ to, name }) => html`<a key=${to} href=${to}>${name}</a>`)}</nav>`}
      <h1 ref=${heading} id="page-title" tabindex="-1"><span>${title}</span>${badge}</h1>
      ${lead && html`<p class="lead">${lead}</p>`}
    </div>
    ${children && html`<div class="actions">${children}</div>`}
  </header>`;
}

/** A framed part of a page with its own heading. */
export function Panel({ title, note, actions, children, padded = true, testid }) {
  return html`<section class="panel" aria-label=${title} data-testid=${testid}>
    <div class="panel-head"><h2>${title} ${note && html`<span class="panel-note">${note}</span>`}</h2>${actions}</div>
    <div class=${padded ? "panel-body" : ""}>${children}</div>
  </section>`;
}

/** Named facts. */
export function Facts({ facts, list = false }) {
  return html`<dl class=${`facts${list ? " list" : ""}`}>
    ${facts.filter(Boolean).map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}
  </dl>`;
}
