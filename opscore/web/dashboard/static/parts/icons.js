// Icons: 16 by 16 line drawings of our own. They only repeat what a word beside them says, so readers skip them.
import { html } from "../core/html.js";

const DRAWN = {
  overview: "M2.5 8.5h3l2-5 2 9 1.7-4H13.5",
  executions: "M3 3.5h10M3 8h10M3 12.5h6",
  flows: "M2.5 8a1.7 1.7 0 1 0 3.4 0 1.7 1.7 0 1 0-3.4 0M10.1 4a1.7 1.7 0 1 0 3.4 0 1.7 1.7 0 1 0-3.4 0M10.1 12a1.7 1.7 0 1 0 3.4 0 1.7 1.7 0 1 0-3.4 0M5.7 7.1l4.6-2.3M5.7 8.9l4.6 2.3",
  agents: "M3.5 6.5a2 2 0 0 1 2-2h5a2 2 0 0 1 2 2v4a2 2 0 0 1-2 2h-5a2 2 0 0 1-2-2zM8 4.5v-2M6.3 8.2v.6M9.7 8.2v.6M1.8 8v1.5M14.2 8v1.5",
  logs: "M2.5 4.5l2.5 2.5-2.5 2.5M7 11.5h6.5",
  search: "M2.8 7a4.2 4.2 0 1 0 8.4 0 4.2 4.2 0 1 0-8.4 0M10.2 10.2l3.3 3.3",
  completed: "M2 8a6 6 0 1 0 12 0 6 6 0 1 0-12 0M5.3 8.2l1.9 1.9 3.6-4",
  failed: "M2 8a6 6 0 1 0 12 0 6 6 0 1 0-12 0M6 6l4 4M10 6l-4 4",
  cancelled: "M2 8a6 6 0 1 0 12 0 6 6 0 1 0-12 0M4 12L12 4",
  skipped: "M2 8a6 6 0 1 0 12 0 6 6 0 1 0-12 0M5.2 5.8L7.6 8l-2.4 2.2M8.4 5.8L10.8 8l-2.4 2.2",
  pending: "M2 8a6 6 0 1 0 12 0 6 6 0 1 0-12 0M5.4 8h.1M8 8h.1M10.6 8h.1",
  running: "M8 2a6 6 0 1 1-6 6",
  waiting: "M2 8a6 6 0 1 0 12 0 6 6 0 1 0-12 0M8 4.8V8l2.2 1.6",
  paused: "M2 8a6 6 0 1 0 12 0 6 6 0 1 0-12 0M6.6 5.8v4.4M9.4 5.8v4.4",
  unknown: "M2 8a6 6 0 1 0 12 0 6 6 0 1 0-12 0M6.4 6.5a1.6 1.6 0 1 1 2.3 1.4c-.5.3-.7.6-.7 1.1M8 11.2v.1",
  warning: "M8 2.3L14.2 13H1.8zM8 6.3v3M8 11.2v.1",
  error: "M5.5 2h5L14 5.5v5L10.5 14h-5L2 10.5v-5zM8 5v3.6M8 11v.1",
  info: "M2 8a6 6 0 1 0 12 0 6 6 0 1 0-12 0M8 7.4v3.4M8 5v.1",
  idle: "M2 8a6 6 0 1 0 12 0 6 6 0 1 0-12 0",
  active: "M2 8a6 6 0 1 0 12 0 6 6 0 1 0-12 0M6.6 5.4l4 2.6-4 2.6z",
  offline: "M3 3l10 10M2 6.5A8.5 8.5 0 0 1 5 4.7M8 4.2c2.3 0 4.4 .9 6 2.300M4.6 9.300A5 5 0 0 1 6.5 8.100M11.4 9.300a5 5 0 0 0-.9-.7M8 12v.1",
  play: "M5 3.2l7.5 4.800L5 12.800z",
  stop: "M4 4h8v8H4z",
  again: "M13 8a5 5 0 1 1-1.6-3.700M13 2.500v3h-3",
  copy: "M5.5 5.500h7v7.500h-7zM10.5 5.500V3h-7v7.500h2",
  check: "M3.5 8.500l3 3 6-7",
  close: "M4 4l8 8M12 4l-8 8",
  sun: "M5.4 8a2.6 2.6 0 1 0 5.2 0 2.6 2.6 0 1 0-5.2 0M8 1.800v1.400M8 12.800v1.400M1.8 8h1.400M12.8 8h1.400M3.6 3.600l1 1M11.4 11.400l1 1M3.6 12.400l1-1M11.4 4.600l1-1",
  moon: "M13 9.700A5.6 5.6 0 1 1 6.3 3a4.5 4.5 0 0 0 6.7 6.700z",
  system: "M2.5 3.500h11v7.500h-11zM6 13.500h4M8 11v2.5",
  keyboard: "M1.8 4h12.400v8H1.800zM4.3 6.500h.1M6.8 6.500h.1M9.2 6.500h.1M11.6 6.500h.1M5 9.500h6",
  out: "M6.5 3h-3.500v10h3.500M7 8h6.500M11 5.500L13.5 8 11 10.5",
  down: "M4 6.500l4 4 4-4",
  up: "M4 9.500l4-4 4 4",
  right: "M6.5 4l4 4-4 4",
  plus: "M8 3.500v9M3.5 8h9",
  minus: "M3.5 8h9",
  fit: "M2.8 6V2.800H6M10 2.800h3.200V6M13.2 10v3.200H10M6 13.200H2.800V10",
  wrap: "M2.5 4h11M2.5 8h9a2 2 0 0 1 0 4.500H8M9.5 11L8 12.5 9.5 14",
  key: "M3 8.500a2.5 2.5 0 1 0 5 0 2.5 2.5 0 1 0-5 0M8 8.500h5.500M11.5 8.500v2",
  more: "M3.8 8h.1M8 8h.1M12.2 8h.1",
  pulse: "M2 8h2.500l1.5-4 3 8 1.5-4H14",
};

/** An icon within a picture: the same lines, without an element of their own size. */
export const drawing = (name) => DRAWN[name] ?? DRAWN.unknown;

/** An icon by name. */
export function Icon({ name, size = 16, ...rest }) {
  const weight = size <= 14 ? 1.6 : 1.5;
  return html`<svg viewBox="0 0 16 16" width=${size} height=${size} fill="none" stroke="currentColor" stroke-width=${weight}
    stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false" ...${rest}><path d=${drawing(name)} /></svg>`;
}
