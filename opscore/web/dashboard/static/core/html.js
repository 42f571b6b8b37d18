// What every component is written with: preact, its hooks and signals, and markup as tagged templates (no build step).
// Text in a template becomes text nodes and attributes, never markup.
import { Fragment, h, render } from "../vendor/preact.js";
import htm from "../vendor/htm.js";

export const html = htm.bind(h);
export { Fragment, render };
export { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../vendor/hooks.js";
export { useComputed, useSignal } from "../vendor/signals.js";
export { batch, computed, effect, signal } from "../vendor/signals-core.js";
