// A table that draws only the rows one can see, so that ten thousand are as quick as ten.
//
// Rows have one height (the custom property --row), which makes the arithmetic of scrolling exact. Roles are spelled
// out because rows are grids. j and k go from row to row; Enter follows the row's link.
import { html, useEffect, useLayoutEffect, useRef, useState } from "../core/html.js";
import { bind } from "../core/keyboard.js";
import { whole } from "../core/format.js";
import { Icon } from "./icons.js";

const SPARE = 6;
const NEAR_END = 60;

/** A table.
 *
 * @param {object} props
 *   label      what it is a table of
 *   columns    [{id, title, width, cell(row), end?, sort?, phone?: "main" | "end" | "sub" | "note",
 *              told?}], the word before what it shows on a phone, where there are no headings
 *   rows, rowKey(row), rowHref?(row)
 *   sort       {by, down}, with onSort(by)
 *   chosen     a Set of keys, with onChoose(key, is) and onChooseAll(is), puts a tick before each row
 *   mayChoose  (row) => whether it can be ticked
 *   onEnd      asked for more when the end comes near
 *   least      width below which it scrolls sideways, as CSS
 *   foot       what stands below
 */
export function Table(props) {
  const { label, columns, rows, rowKey, sort, onSort, chosen, least, foot, testid, onEnd } = props;
  const frame = useRef(null);
  const [view, setView] = useState({ first: 0, count: 40, height: 38 });
  const ticking = useRef(0);

  const measure = () => {
    ticking.current = 0;
    const place = frame.current;
    if (!place) return;
    const height = Number.parseFloat(getComputedStyle(place).getPropertyValue("--row")) || 38;
    const first = Math.max(0, Math.floor(place.scrollTop / height) - SPARE);
    const count = Math.ceil(place.clientHeight / height) + 2 * SPARE;
    setView((now) => (now.first === first && now.count === count && now.height === height ? now : { first, count, height }));
    if (place.scrollTop + place.clientHeight > place.scrollHeight - NEAR_END * height) latest.current?.();
  };
  const latest = useRef(onEnd);
  latest.current = onEnd;
  const scrolled = () => {
    if (!ticking.current) ticking.current = requestAnimationFrame(measure);
  };
  useLayoutEffect(() => {
    const watch = new ResizeObserver(scrolled);
    watch.observe(frame.current);
    return () => {
      watch.disconnect();
      cancelAnimationFrame(ticking.current);
    };
  }, []);
  useEffect(scrolled, [rows.length]);
  useWalk(frame, rows, view, chosen && props);

  // A row whose facts did not change is the same piece of markup as before, which preact passes over.
  const drawn = useRef(new Map());
  const before = drawn.current;
  drawn.current = new Map();
  const draw = (row, index) => {
    const key = rowKey(row);
    const ticked = chosen?.has(key);
    const kept = before.get(key);
    const same = kept && kept.row === row && kept.index === index && kept.ticked === ticked && kept.columns === columns;
    const markup = same ? kept.markup : html`<${Row} key=${key} ...${props} row=${row} index=${index} />`;
    drawn.current.set(key, { row, index, ticked, columns, markup });
    return markup;
  };

  const end = Math.min(rows.length, view.first + view.count);
  const first = Math.min(view.first, Math.max(0, rows.length - view.count));
  const widths = [...(chosen ? ["18px"] : []), ...columns.map(({ width }) => width ?? "minmax(0, 1fr)")];
  const style = { "--cols": widths.join(" "), "--phone-cols": `${chosen ? "24px " : ""}minmax(0, 1fr) auto`, "--least": least ?? "0" };
  return html`<div class="table-frame" data-testid=${testid}>
    <div class="table" role="table" aria-label=${label} aria-rowcount=${rows.length + 1} ref=${frame} onScroll=${scrolled} style=${style} tabindex="0">
      <div class="thead" role="rowgroup">
        <div class="tr" role="row" aria-rowindex="1">
          ${chosen && html`<div class="th tick" role="columnheader"><${TickAll} ...${props} /></div>`}
          ${columns.map((column) => html`<${Head} key=${column.id} column=${column} sort=${sort} onSort=${onSort} />`)}
        </div>
      </div>
      <div class="tbody" role="rowgroup">
        <div style=${{ height: `${first * view.height}px` }} role="presentation"></div>
        ${rows.slice(first, end).map((row, index) => draw(row, first + index))}
        <div style=${{ height: `${(rows.length - end) * view.height}px` }} role="presentation"></div>
      </div>
    </div>
    ${(foot || chosen) && html`<div class="table-foot">${chosen && html`<label class="check only-phone"><${TickAll} ...${props} />Select all</label>`}${foot}</div>`}
  </div>`;
}

function Head({ column, sort, onSort }) {
  const { id, title, sort: sortable, end } = column;
  const by = sort?.by === id;
  const order = sortable ? (by ? (sort.down ? "descending" : "ascending") : "none") : undefined;
  return html`<div class=${`th${end ? " end" : ""}`} role="columnheader" aria-sort=${order}>
    ${sortable ? html`<button type="button" onClick=${() => onSort(id)}>${title}${by && html`<${Icon} name=${sort.down ? "down" : "up"} size=${12} />`}</button>` : title}
  </div>`;
}

function TickAll({ rows, rowKey, chosen, mayChoose, onChooseAll, label }) {
  const possible = mayChoose ? rows.filter(mayChoose) : rows;
  const ticked = possible.length > 0 && possible.every((row) => chosen.has(rowKey(row)));
  return html`<input type="checkbox" aria-label=${`Select all ${label}`} checked=${ticked} disabled=${!possible.length}
    indeterminate=${!ticked && chosen.size > 0} onChange=${(event) => onChooseAll(event.currentTarget.checked)} />`;
}

function Row({ row, index, columns, rowKey, rowHref, rowName, chosen, mayChoose, onChoose, onOpen }) {
  const id = rowKey(row);
  const open = (event) => {
    if (event.defaultPrevented || event.target.closest("a, button, input") || String(getSelection())) return;
    if (onOpen) onOpen(row);
    else if (event.metaKey || event.ctrlKey) window.open(rowHref(row), "_blank", "noopener");
    else location.hash = rowHref(row);
  };
  const opens = rowHref || onOpen;
  return html`<div class=${`tr${opens ? " to" : ""}${chosen?.has(id) ? " chosen" : ""}`} role="row" aria-rowindex=${index + 2} data-index=${index}
    data-key=${id} aria-selected=${chosen ? String(chosen.has(id)) : undefined} onClick=${opens && open}>
    ${chosen && html`<div class="td tick" role="cell">${(!mayChoose || mayChoose(row)) && html`<input type="checkbox" aria-label=${`Select ${rowName ? rowName(row) : id}`}
      checked=${chosen.has(id)} onChange=${(event) => onChoose(id, event.currentTarget.checked)} />`}</div>`}
    ${columns.map(({ id: name, cell, end, phone, told }) => html`<div class=${`td${end ? " end" : ""}${phone ? ` p-${phone}` : ""}`} role="cell" key=${name} data-told=${told}>${cell(row)}</div>`)}
  </div>`;
}

// j and k move the focus along the rows' links; x ticks the row that has it.
function useWalk(frame, rows, view, ticks) {
  const facts = useRef({});
  facts.current = { rows, view, ticks };
  const wanted = useRef(null);
  const focus = (index) => {
    const link = frame.current.querySelector(`[data-index="${index}"] :is(a, button)`);
    link?.focus({ preventScroll: true });
    return Boolean(link);
  };
  useLayoutEffect(() => {
    if (wanted.current !== null && focus(wanted.current)) wanted.current = null;
  });
  useEffect(() => {
    const at = () => {
      const row = document.activeElement?.closest?.("[data-index]");
      return row && frame.current.contains(row) ? Number(row.dataset.index) : null;
    };
    const step = (by) => () => {
      const { rows: all, view: { height } } = facts.current;
      if (!all.length) return;
      const here = at();
      const index = here === null ? (by > 0 ? Math.round(frame.current.scrollTop / height) : 0) : Math.min(all.length - 1, Math.max(0, here + by));
      const place = frame.current;
      const head = 36;
      if (index * height < place.scrollTop) place.scrollTop = index * height;
      else if ((index + 1) * height + head > place.scrollTop + place.clientHeight) place.scrollTop = (index + 1) * height + head - place.clientHeight;
      if (!focus(index)) wanted.current = index;
    };
    const tick = () => {
      const { rows: all, ticks: props } = facts.current;
      const here = at();
      if (here === null || !props) return;
      const row = all[here];
      const id = props.rowKey(row);
      if (!props.mayChoose || props.mayChoose(row)) props.onChoose(id, !props.chosen.has(id));
    };
    return bind({ j: step(1), k: step(-1), x: tick });
  }, []);
}

/** How the rows are sorted: [sorted, {by, down}, onSort]. */
export function useSorted(rows, columns, start) {
  const [sort, setSort] = useState(start);
  const column = columns.find(({ id }) => id === sort.by);
  const value = column?.sort;
  const sorted = value ? [...rows].sort((one, other) => order(value(one), value(other)) * (sort.down ? -1 : 1)) : rows;
  const onSort = (by) => setSort((now) => ({ by, down: now.by === by ? !now.down : Boolean(columns.find(({ id }) => id === by).end) }));
  return [sorted, sort, onSort];
}

function order(one, other) {
  if (one === other) return 0;
  if (one === null || one === undefined) return -1;
  if (other === null || other === undefined) return 1;
  return typeof one === "string" ? one.localeCompare(other) : one - other;
}

/** "1,204 executions" for below a table. */
export const counted = (count, word) => `${whole(count)} ${word}${count === 1 ? "" : "s"}`;
