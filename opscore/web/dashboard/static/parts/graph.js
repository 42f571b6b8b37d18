// A flow as a picture: layers of nodes with their states, live.
//
// Moving and zooming changes one attribute of one element. Only nodes in sight are drawn, a node is drawn anew only
// when its own facts changed, and all edges of a kind are one path: a thousand nodes stay smooth.
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../core/html.js";
import { plural } from "../core/format.js";
import { Icon, drawing } from "./icons.js";
import { curve, layout } from "./layout.js";
import { sign, tone } from "./states.js";

const WIDE = { along: 168, across: 50, gapAlong: 38, gapAcross: 16, down: false };
const TALL = { along: 50, across: 158, gapAlong: 32, gapAcross: 12, down: true };
const NARROW = 620;
const DRAW_ALL = 150;
const FAR = 0.5;
const LEAST_SCALE = 0.02;
const MOST_SCALE = 2;
const READABLE = 0.66;
const FEW = 80;
const FONTS = { name: "570 12.5px", under: "11.5px" };
const PAD = 24;
const LEAST_HEIGHT = 190;
const MOST_HEIGHT = 420;

/** A flow's graph.
 *
 * @param {object} props
 *   nodes     [{id, name, type, agent_id}], edges [{from, to}]
 *   states    Map of node id to {status, note}; empty for a flow that does not run
 *   selected  the chosen node's id, with onSelect(id)
 */
export function Graph({ nodes, edges, states, selected, onSelect, label }) {
  const frame = useRef(null);
  const camera = useRef(null);
  const view = useRef({ x: 0, y: 0, scale: 1, touched: false }).current;
  const [size, setSize] = useState(null);
  const [sight, setSight] = useState(null);
  const [far, setFar] = useState(null);
  const [large, setLarge] = useState(false);
  const [current, setCurrent] = useState(null);
  const drawn = useRef(new Map()).current;

  const narrow = size !== null && size.width < NARROW ? size.width : null;
  const plan = useMemo(() => {
    drawn.clear();
    const { down, ...made } = laidOut(nodes, edges, narrow);
    return { down, ...made, paths: made.lines.map((line) => ({ ...line, edge: bounds(line.points), path: curve(line.points, down), line: line.points.map(({ x, y }, index) => `${index ? "L" : "M"}${Math.round(x)} ${Math.round(y)}`).join("") })), ...neighbours(nodes, edges) };
  }, [nodes, edges, narrow]);
  const { down } = plan;
  const box = down ? { width: TALL.across, height: TALL.along } : { width: WIDE.along, height: WIDE.across };

  useLayoutEffect(() => {
    const watch = new ResizeObserver(([{ contentRect }]) => setSize({ width: contentRect.width, height: contentRect.height }));
    watch.observe(frame.current);
    return () => watch.disconnect();
  }, []);

  const apply = () => {
    if (!size) return;
    camera.current.setAttribute("transform", `translate(${view.x} ${view.y}) scale(${view.scale})`);
    setFar(view.scale < FAR);
    setSight((now) => cells(now, view, size, nodes.length));
  };
  const whole = () => Math.min(1, (size.width - 2 * PAD) / plan.width, (size.height - 2 * PAD) / plan.height);
  const centre = (scale) => {
    view.scale = Math.max(LEAST_SCALE, scale);
    view.x = (size.width - plan.width * view.scale) / 2;
    view.y = (size.height - plan.height * view.scale) / 2;
  };
  const fit = () => {
    centre(whole());
    view.touched = false;
    apply();
  };
  // At first all of it, unless that makes a small graph too small to read: then the part that matters.
  const begin = () => {
    const scale = whole();
    centre(nodes.length > FEW || scale >= FAR ? scale : READABLE);
    const at = plan.places.get(selected ?? nodes[0]?.id);
    if (at && view.scale > scale) {
      view.x = within(size.width / 2 - (at.x + box.width / 2) * view.scale, size.width, plan.width * view.scale);
      view.y = within(size.height / 2 - (at.y + box.height / 2) * view.scale, size.height, plan.height * view.scale);
    }
    apply();
  };
  const zoom = (factor, x = size.width / 2, y = size.height / 2) => {
    const scale = Math.min(MOST_SCALE, Math.max(LEAST_SCALE, view.scale * factor));
    view.x = x - ((x - view.x) / view.scale) * scale;
    view.y = y - ((y - view.y) / view.scale) * scale;
    view.scale = scale;
    view.touched = true;
    apply();
  };
  const pan = (dx, dy) => {
    view.x += dx;
    view.y += dy;
    view.touched = true;
    apply();
  };
  useLayoutEffect(() => {
    if (size && !view.touched) begin();
    else apply();
  }, [plan, size]);
  usePointer(frame, { zoom, pan, large });

  const show = (id) => {
    const at = plan.places.get(id);
    if (!at || !size) return;
    if (view.scale < FAR) view.scale = 0.8;
    const x = at.x * view.scale + view.x;
    const y = at.y * view.scale + view.y;
    const inside = x > 8 && y > 8 && x + box.width * view.scale < size.width - 8 && y + box.height * view.scale < size.height - 8;
    if (!inside) {
      view.x = size.width / 2 - (at.x + box.width / 2) * view.scale;
      view.y = size.height / 2 - (at.y + box.height / 2) * view.scale;
    }
    view.touched = true;
    apply();
  };
  const wanted = useRef(null);
  useLayoutEffect(() => {
    if (wanted.current === null) return;
    const element = frame.current.querySelector(`[data-node="${CSS.escape(wanted.current)}"]`);
    if (element) {
      element.focus({ preventScroll: true });
      wanted.current = null;
    }
  });
  const focusOn = (id) => {
    wanted.current = id;
    setCurrent(id);
    show(id);
  };
  const keyed = (event) => {
    const id = event.target.closest?.("[data-node]")?.dataset.node;
    const moves = down ? { ArrowDown: "next", ArrowUp: "before", ArrowRight: 1, ArrowLeft: -1 } : { ArrowRight: "next", ArrowLeft: "before", ArrowDown: 1, ArrowUp: -1 };
    const move = moves[event.key];
    if (id !== undefined && move !== undefined) {
      const to = typeof move === "string" ? plan[move].get(id)?.[0] : beside(plan.places, id, move, down);
      if (to !== undefined) focusOn(to);
    } else if (id !== undefined && (event.key === "Enter" || event.key === " ")) onSelect(id);
    else if (event.key === "+" || event.key === "=") zoom(1.25);
    else if (event.key === "-") zoom(0.8);
    else if (event.key === "0") fit();
    else if (event.key === "Escape" && large) enlarge(false);
    else return;
    event.preventDefault();
  };
  const enlarge = (is) => {
    view.touched = false;
    setLarge(is);
  };

  const stop = current !== null && plan.places.has(current) ? current : selected !== null && plan.places.has(selected) ? selected : nodes[0]?.id;
  // Many nodes from far away are a few paths, one for each tone, and the one that keyboards can reach.
  const crowd = far && nodes.length > DRAW_ALL;
  const shown = far === null ? [] : nodes.filter(({ id }) => id === stop || id === selected || (!crowd && inSight(sight, plan.places.get(id), box)));
  const pick = (event) => {
    if (!crowd || event.target.closest("[data-node]")) return;
    const { left, top } = frame.current.getBoundingClientRect();
    const x = (event.clientX - left - view.x) / view.scale;
    const y = (event.clientY - top - view.y) / view.scale;
    const found = nodes.find(({ id }) => covers(plan.places.get(id), box, x, y));
    if (found) onSelect(found.id);
  };
  const across = size === null ? 1 : breadth(plan, size.width);
  const drawnAt = across >= FAR || nodes.length > FEW ? across : READABLE;
  const height = `${Math.min(MOST_HEIGHT, Math.max(LEAST_HEIGHT, plan.height * drawnAt + 110))}px`;
  return html`<div class=${`graph${large ? " large" : ""}${far ? " far" : ""}`} style=${large ? { height: "" } : { height }} ref=${frame} onKeyDown=${keyed} data-testid="graph">
    <svg width="100%" height="100%" onClick=${pick} role="group" aria-label=${`${label}: ${plural(nodes.length, "node")}`}>
      <g ref=${camera}>
        ${far !== null && html`<${Edges} paths=${crowd || sight === null ? plan.paths : plan.paths.filter(({ edge }) => touches(sight, edge))} states=${states} straight=${crowd} />`}
        ${crowd && html`<${Crowd} nodes=${nodes} places=${plan.places} states=${states} box=${box} />`}
        ${shown.map((one) => draw(drawn, one, { place: plan.places.get(one.id), box, state: states.get(one.id), selected: one.id === selected, stop: one.id === stop, onSelect, setCurrent }))}
      </g>
    </svg>
    <div class="graph-tools" role="group" aria-label="View of the graph">
      <button type="button" class="btn small icon" aria-label="Zoom in" title="Zoom in (+)" onClick=${() => zoom(1.25)}><${Icon} name="plus" size=${14} /></button>
      <button type="button" class="btn small icon" aria-label="Zoom out" title="Zoom out (-)" onClick=${() => zoom(0.8)}><${Icon} name="minus" size=${14} /></button>
      <button type="button" class="btn small" title="Show all (0)" onClick=${fit}>Fit</button>
      <button type="button" class="btn small icon" aria-label=${large ? "Make the graph smaller" : "Make the graph fill the window"} aria-pressed=${String(large)} title=${large ? "Smaller (Esc)" : "Fill the window"} onClick=${() => enlarge(!large)}><${Icon} name=${large ? "close" : "fit"} size=${14} /></button>
    </div>
  </div>`;
}

// How large it may be drawn to be as broad as the frame.
const breadth = (plan, width) => Math.min(1, (width - 2 * PAD) / plan.width);

// Layers go to the right; in a narrow frame downwards, unless that is the broader way: many nodes beside each other.
function laidOut(nodes, edges, narrow) {
  const across = () => ({ ...layout(nodes, edges, WIDE), down: false });
  if (narrow === null) return across();
  const downwards = { ...layout(nodes, edges, TALL), down: true };
  if (nodes.length > FEW || breadth(downwards, narrow) >= FAR) return downwards;
  const other = across();
  return breadth(other, narrow) > breadth(downwards, narrow) ? other : downwards;
}

// A place along one axis such that no more than the padding is left empty; the middle where all of it has room.
function within(place, room, length) {
  if (length + 2 * PAD <= room) return (room - length) / 2;
  return Math.min(PAD, Math.max(room - length - PAD, place));
}

// What is in sight, in steps of half a window: it changes seldom while somebody moves about. Null: everything.
function cells(now, { x, y, scale }, { width, height }, count) {
  if (count <= DRAW_ALL) return null;
  const step = Math.max(width, height) / 2;
  const column = Math.floor(-x / step);
  const row = Math.floor(-y / step);
  if (now && now.column === column && now.row === row && now.scale === scale && now.width === width) return now;
  const edge = (value) => value / scale;
  return {
    column, row, scale, width,
    left: edge((column - 0.5) * step), top: edge((row - 0.5) * step),
    right: edge((column + 1.5) * step + width), bottom: edge((row + 1.5) * step + height),
  };
}

function inSight(sight, place, box) {
  if (sight === null) return true;
  return place.x + box.width > sight.left && place.x < sight.right && place.y + box.height > sight.top && place.y < sight.bottom;
}

function bounds(points) {
  const [xs, ys] = [points.map(({ x }) => x), points.map(({ y }) => y)];
  return { left: Math.min(...xs), right: Math.max(...xs), top: Math.min(...ys), bottom: Math.max(...ys) };
}

const touches = (sight, { left, right, top, bottom }) => right > sight.left && left < sight.right && bottom > sight.top && top < sight.bottom;
const covers = ({ x, y }, { width, height }, atX, atY) => atX >= x && atX <= x + width && atY >= y && atY <= y + height;

function neighbours(nodes, edges) {
  const next = new Map(nodes.map(({ id }) => [id, []]));
  const before = new Map(nodes.map(({ id }) => [id, []]));
  for (const { from, to } of edges) {
    next.get(from)?.push(to);
    before.get(to)?.push(from);
  }
  return { next, before };
}

// The nearest node in the same layer, on the side that is asked for.
function beside(places, id, side, down) {
  const here = places.get(id);
  const [layer, rank] = down ? ["y", "x"] : ["x", "y"];
  let found;
  let least = Infinity;
  for (const [other, there] of places) {
    const away = (there[rank] - here[rank]) * side;
    if (there[layer] === here[layer] && away > 0 && away < least) [found, least] = [other, away];
  }
  return found;
}

function Crowd({ nodes, places, states, box }) {
  const tones = new Map();
  for (const { id } of nodes) {
    const status = states.get(id)?.status;
    const name = status === undefined || status === "pending" || status === "skipped" ? "none" : tone(status);
    const { x, y } = places.get(id);
    tones.set(name, `${tones.get(name) ?? ""}M${Math.round(x)} ${Math.round(y)}h${box.width}v${box.height}h-${box.width}z`);
  }
  return [...tones].map(([name, path]) => html`<path key=${name} class=${`crowd tone-${name}`} d=${path} />`);
}

function Edges({ paths, states, straight }) {
  const kinds = { plain: "", done: "", live: "" };
  for (const { from, to, path, line } of paths) {
    const [one, other] = [states.get(from)?.status, states.get(to)?.status];
    const kind = one === "completed" && (other === "running" || other === "waiting") ? "live" : one === "completed" && other && other !== "pending" && other !== "skipped" ? "done" : "plain";
    kinds[kind] += straight ? line : path;
  }
  return Object.entries(kinds).map(([kind, path]) => html`<path key=${kind} class=${`edge ${kind}${straight ? " thin" : ""}`} d=${path || "M0 0"} />`);
}

// The same facts give the same piece of markup, which preact then passes over.
function draw(drawn, node, facts) {
  const { state, selected, stop } = facts;
  const facts_key = `${state?.status}|${state?.note}|${selected}|${stop}`;
  const kept = drawn.get(node.id);
  if (kept?.key === facts_key) return kept.markup;
  const markup = html`<${Node} key=${node.id} node=${node} ...${facts} />`;
  drawn.set(node.id, { key: facts_key, markup });
  return markup;
}

function Node({ node, place, box, state, selected, stop, onSelect, setCurrent }) {
  const status = state?.status;
  const name = node.name || node.id;
  const under = [node.agent_id ?? (node.capability ? `any: ${node.capability}` : node.type), state?.note].filter(Boolean).join(" · ");
  const left = status ? 36 : 14;
  const room = box.width - left - 12;
  return html`<g class=${`node${status ? ` tone-${tone(status)} is-${status}` : ""}${selected ? " selected" : ""}`} transform=${`translate(${place.x} ${place.y})`}
    role="button" tabindex=${stop ? 0 : -1} data-node=${node.id} aria-pressed=${String(selected)}
    onClick=${() => onSelect(node.id)} onFocus=${() => setCurrent(node.id)}>
    <title>${name}${status ? `: ${status}` : ""}${under ? `, ${under}` : ""}</title>
    <rect class="card" width=${box.width} height=${box.height} rx="8" />
    ${status && html`<g transform=${`translate(11 ${box.height / 2 - 8})`}><path class=${status === "running" ? "sign spin" : "sign"} d=${drawing(sign(status))} /></g>`}
    <text class="name" x=${left} y=${box.height / 2 - 4}>${cut(name, room, FONTS.name)}</text>
    <text class="under" x=${left} y=${box.height / 2 + 13}>${cut(under, room, FONTS.under)}</text>
  </g>`;
}

// As much of a text as has room in the font that the page really has.
function cut(text, room, font) {
  const pen = (measure ??= document.createElement("canvas").getContext("2d"));
  family ??= getComputedStyle(document.body).fontFamily;
  pen.font = `${font} ${family}`;
  const wide = pen.measureText(text).width;
  if (wide <= room) return text;
  let most = Math.floor((text.length * room) / wide);
  while (most > 1 && pen.measureText(`${text.slice(0, most)}…`).width > room) most -= 1;
  return `${text.slice(0, most)}…`;
}
let measure;
let family;

// Drag to move, pinch or Ctrl and wheel to zoom; a plain wheel scrolls the page, unless the graph fills the window.
function usePointer(frame, actions) {
  const latest = useRef(actions);
  latest.current = actions;
  useEffect(() => {
    const element = frame.current;
    const held = new Map();
    let moved = 0;
    const local = (event) => {
      const { left, top } = element.getBoundingClientRect();
      return [event.clientX - left, event.clientY - top];
    };
    const down = (event) => {
      if (event.button !== 0 || event.target.closest(".graph-tools")) return;
      held.set(event.pointerId, local(event));
      moved = 0;
    };
    const move = (event) => {
      const before = held.get(event.pointerId);
      if (!before) return;
      const here = local(event);
      const [dx, dy] = [here[0] - before[0], here[1] - before[1]];
      moved += Math.abs(dx) + Math.abs(dy);
      if (moved < 4) return;
      if (!element.hasPointerCapture(event.pointerId)) element.setPointerCapture(event.pointerId);
      if (held.size === 2) {
        const other = [...held].find(([id]) => id !== event.pointerId)[1];
        const far = Math.hypot(here[0] - other[0], here[1] - other[1]);
        const was = Math.hypot(before[0] - other[0], before[1] - other[1]);
        if (was > 0) latest.current.zoom(far / was, (here[0] + other[0]) / 2, (here[1] + other[1]) / 2);
      } else latest.current.pan(dx, dy);
      held.set(event.pointerId, here);
      element.classList.add("moving");
    };
    const up = (event) => {
      held.delete(event.pointerId);
      element.classList.remove("moving");
    };
    const click = (event) => {
      if (moved >= 4) event.stopPropagation();
    };
    const wheel = (event) => {
      if (event.ctrlKey || event.metaKey) latest.current.zoom(Math.exp(-event.deltaY * 0.006), ...local(event));
      else if (latest.current.large) latest.current.pan(-event.deltaX, -event.deltaY);
      else return;
      event.preventDefault();
    };
    element.addEventListener("pointerdown", down);
    element.addEventListener("pointermove", move);
    element.addEventListener("pointerup", up);
    element.addEventListener("pointercancel", up);
    element.addEventListener("click", click, true);
    element.addEventListener("wheel", wheel, { passive: false });
    return () => {
      element.removeEventListener("pointerdown", down);
      element.removeEventListener("pointermove", move);
      element.removeEventListener("pointerup", up);
      element.removeEventListener("pointercancel", up);
      element.removeEventListener("click", click, true);
      element.removeEventListener("wheel", wheel);
    };
  }, []);
}
