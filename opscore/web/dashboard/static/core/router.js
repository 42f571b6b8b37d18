// Addresses after the "#": the server has one page, and a link to any state of it can be shared.
import { signal } from "./html.js";

function parse() {
  const [raw, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const parts = raw.split("/").filter(Boolean).map(decode);
  return { parts, page: parts[0] ?? "overview", query: Object.fromEntries(new URLSearchParams(query)) };
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Where we are: {page, parts, query}. */
export const route = signal(parse());

/** How many times somebody went to another page; going back counts. */
export const visits = signal(0);

let landing = false;

/** Whether the page was just come to, and its heading is to take the focus; whatever somebody does ends that. */
export const isLanding = () => landing;

for (const sign of ["pointerdown", "keydown", "wheel"]) window.addEventListener(sign, () => (landing = false), { capture: true, passive: true });

window.addEventListener("hashchange", () => {
  const next = parse();
  const stays = samePage(route.peek(), next);
  if (!stays) landing = true;
  route.value = next;
  if (!stays) visits.value += 1;
});

// A tab or a filter of the same thing is no other page: focus and scroll stay.
function samePage(one, other) {
  return one.page === other.page && one.parts[1] === other.parts[1];
}

/** The address of a page: href("executions", id, { status: "failed" }). */
export function href(...parts) {
  const query = typeof parts.at(-1) === "object" ? parts.pop() : {};
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const text = new URLSearchParams(given).toString();
  return `#/${parts.filter(Boolean).map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

/** Go to an address that href() made. */
export function go(where, { replace = false } = {}) {
  if (replace) {
    history.replaceState(null, "", where);
    route.value = parse();
  } else {
    location.hash = where;
  }
}

/** Change some of the present query; the page stays the same. */
export function setQuery(changes, { replace = true } = {}) {
  const { parts, page, query } = route.peek();
  go(href(...(parts.length ? parts : [page]), { ...query, ...changes }), { replace });
}
