// The HTTP API: one function for all calls. What goes wrong is a Problem, whether the server or the network said so.
import { key, signOut } from "./session.js";

const ROOT = "/api/v1";
const TIMEOUT = 20_000;

/** An answer that is none: with the server's own words where it gave any. */
export class Problem extends Error {
  constructor(message, { status = 0, code = "", details = {}, requestId = "", retryAfter = null } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.details = details;
    this.requestId = requestId;
    this.retryAfter = retryAfter;
  }
}

/** The address of a path with its parts escaped and what is empty left out of the query. */
export function address(path, query = {}) {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") given.set(name, String(value));
  }
  const text = given.toString();
  return ROOT + path + (text ? `?${text}` : "");
}

/** A path from a template: path`/executions/${id}/events`; ids are escaped. */
export function path(texts, ...ids) {
  return texts.reduce((made, text, index) => made + encodeURIComponent(String(ids[index - 1])) + text);
}

/** The headers that every request has. */
export function headers(more = {}) {
  return key.value ? { Authorization: `Bearer ${key.value}`, ...more } : more;
}

export const get = (where, query, options = {}) => call("GET", where, { ...options, query });
export const post = (where, body, options = {}) => call("POST", where, { ...options, body });

/** Ask the server. Throws Problem; an AbortError when the caller's own signal says so. */
export async function call(method, where, { query, body, signal, more, timeout = TIMEOUT } = {}) {
  const ends = new AbortController();
  const stop = () => ends.abort();
  const timer = setTimeout(stop, timeout);
  signal?.addEventListener("abort", stop);
  const given = { Accept: "application/json", ...more };
  if (body !== undefined) given["Content-Type"] = "application/json";
  try {
    const response = await fetch(address(where, query), {
      method,
      headers: headers(given),
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: ends.signal,
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
    });
    return await read(response);
  } catch (error) {
    if (signal?.aborted) throw new DOMException("The page has moved on.", "AbortError");
    throw error instanceof Problem ? error : unreachable(ends.signal.aborted);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
  }
}

/** What a response holds. Throws Problem when it is one; an unknown key ends the session. */
export async function read(response) {
  if (response.ok) return response.json();
  const problem = await problemOf(response);
  if (response.status === 401) signOut(key.value ? problem.message : "");
  throw problem;
}

async function problemOf(response) {
  let body = {};
  try {
    body = await response.json();
  } catch {
    // A proxy's page, or nothing: the status must do.
  }
  const retry = Number.parseFloat(response.headers.get("Retry-After") ?? "");
  return new Problem(body.message || body.detail || `The server answered ${response.status}.`, {
    status: response.status,
    code: body.error_code ?? "",
    details: body.details ?? {},
    requestId: body.request_id ?? response.headers.get("X-Request-ID") ?? "",
    retryAfter: Number.isFinite(retry) ? retry : null,
  });
}

function unreachable(timedOut) {
  const text = timedOut ? "The server did not answer in time." : "The server cannot be reached.";
  return new Problem(text, { code: timedOut ? "TIMEOUT" : "UNREACHABLE" });
}
