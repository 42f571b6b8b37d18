// Ended executions over time, as stacked bars.
import { html, useLayoutEffect, useRef, useState } from "../core/html.js";
import { dayTime, minuteTime, short, whole } from "../core/format.js";

const HEIGHT = 200;
const EDGE = { top: 10, right: 4, bottom: 22, left: 34 };
const PARTS = [["completed", "ok", "Completed"], ["cancelled", "rest", "Cancelled"], ["failed", "bad", "Failed"]];

/** buckets: [{at, seconds, started, completed, failed, cancelled}], oldest first. */
export function Throughput({ buckets }) {
  const frame = useRef(null);
  const [width, setWidth] = useState(0);
  const [at, setAt] = useState(null);
  useLayoutEffect(() => {
    const watch = new ResizeObserver(([{ contentRect }]) => setWidth(contentRect.width));
    watch.observe(frame.current);
    return () => watch.disconnect();
  }, []);
  const totals = Object.fromEntries(["started", ...PARTS.map(([id]) => id)].map((id) => [id, buckets.reduce((sum, one) => sum + one[id], 0)]));
  const most = Math.max(1, ...buckets.map((one) => Math.max(one.started, one.completed + one.failed + one.cancelled)));
  const top = nice(most);
  const inner = { width: Math.max(0, width - EDGE.left - EDGE.right), height: HEIGHT - EDGE.top - EDGE.bottom };
  const step = inner.width / Math.max(1, buckets.length);
  const y = (value) => EDGE.top + inner.height * (1 - value / top);
  const x = (index) => EDGE.left + index * step;
  const told = buckets.length * (buckets[0]?.seconds ?? 60) > 86_400 ? dayTime : minuteTime;
  const pointed = (event) => {
    const index = Math.floor((event.clientX - frame.current.getBoundingClientRect().left - EDGE.left) / step);
    setAt(index >= 0 && index < buckets.length ? index : null);
  };
  // As steps: each span has one number, and a lone one is no peak.
  const started = buckets.map((one, index) => `${index ? "" : `M${x(0).toFixed(1)} ${y(one.started).toFixed(1)}`}V${y(one.started).toFixed(1)}H${x(index + 1).toFixed(1)}`).join("");
  const summary = `Executions over time: ${whole(totals.started)} started, ${whole(totals.completed)} completed, ${whole(totals.failed)} failed, ${whole(totals.cancelled)} cancelled.`;
  const marks = Math.max(2, Math.min(7, Math.floor(inner.width / 110)));
  return html`<figure class="chart" ref=${frame} onPointerMove=${pointed} onPointerLeave=${() => setAt(null)}>
    <svg width=${width} height=${HEIGHT} role="img" aria-label=${summary}>
      <defs><pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="chart-bad" width="5" height="5" /><rect class="chart-hatch" width="1.6" height="5" /></pattern></defs>
      ${[0, 0.5, 1].map((part) => html`<g key=${part}><line class="chart-line" x1=${EDGE.left} x2=${width - EDGE.right} y1=${y(top * part)} y2=${y(top * part)} /><text class="chart-text" x=${EDGE.left - 7} y=${y(top * part) + 4} text-anchor="end">${short(top * part)}</text></g>`)}
      ${at !== null && html`<rect class="chart-at" x=${x(at)} y=${EDGE.top} width=${step} height=${inner.height} />`}
      ${buckets.map((one, index) => bars(one, x(index), step, y, index))}
      ${buckets.length > 1 && html`<path class="chart-started" d=${started} />`}
      ${buckets.length > 0 && Array.from({ length: marks }, (_, mark) => Math.round((mark * (buckets.length - 1)) / (marks - 1))).map((index, mark) => html`<text key=${mark} class="chart-text" x=${x(index) + step / 2}
        y=${HEIGHT - 5} text-anchor=${mark === 0 ? "start" : mark === marks - 1 ? "end" : "middle"}>${told(buckets[index].at)}</text>`)}
    </svg>
    <figcaption class="legend">
      ${PARTS.map(([id, tone, title]) => html`<span key=${id}><i class=${`swatch ${id} tone-${tone}`}></i>${title} <b class="num">${short(totals[id])}</b></span>`)}
      <span><i class="swatch started"></i>Started <b class="num">${short(totals.started)}</b></span>
    </figcaption>
    ${at !== null && html`<${Tip} bucket=${buckets[at]} left=${x(at) + step / 2} width=${width} told=${told} />`}
  </figure>`;
}

function bars(bucket, left, step, y, index) {
  let sum = 0;
  const gap = step > 5 ? 1.5 : 0.5;
  return PARTS.map(([id]) => {
    const value = bucket[id];
    if (!value) return null;
    const from = y(sum);
    sum += value;
    const height = Math.max(1, from - y(sum));
    return html`<rect key=${`${index}${id}`} class=${`chart-bar ${id}`} x=${left + gap / 2} y=${from - height} width=${Math.max(1, step - gap)} height=${height} />`;
  });
}

function Tip({ bucket, left, width, told }) {
  const side = left > width - 150 ? { right: `${width - left + 8}px` } : { left: `${left + 8}px` };
  return html`<div class="chart-tip" style=${side} aria-hidden="true"><strong>${told(bucket.at)}</strong>
    <span>Started <b class="num">${whole(bucket.started)}</b></span>
    ${PARTS.map(([id, , title]) => html`<span key=${id}>${title} <b class="num">${whole(bucket[id])}</b></span>`)}</div>`;
}

// The next round number that halves well.
function nice(value) {
  if (value <= 2) return 2;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 8, 10].map((one) => one * power).find((one) => one >= value && one % 2 === 0) ?? 10 * power;
}
