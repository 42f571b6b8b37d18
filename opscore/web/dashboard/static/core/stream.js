// Server-Sent Events by fetch, since EventSource cannot send a key.
//
// A stream resumes with Last-Event-ID, backs off when it fails, and is given up for polling when the server has no
// place for it or something between here and there swallows it. Browsers allow six connections to a server, so a
// hidden tab gives its streams back and takes them up again when it is looked at.
import { Problem, address, headers, read } from "./api.js";
import { computed, signal } from "./html.js";

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 15_000;
const SILENCE = 40_000; // The server comments every 15 s.
const HIDDEN = 20_000;
const FAILURES = 3;
const POLL_EVERY = 4_000;
const RETRY_STREAM = 60_000;

const states = signal(new Map());
const ORDER = ["offline", "connecting", "polling", "paused", "live"];

/** How things reach this page: live, polling, connecting, paused (hidden) or offline; null without any stream. */
export const connection = computed(() => {
  const present = new Set(states.value.values());
  return ORDER.find((state) => present.has(state)) ?? null;
});

/** Follow a path until the returned function is called.
 *
 * @param {string} where   the path
 * @param {object} options
 *   query      parameters of the stream
 *   after      id to begin after; without it the server's own beginning
 *   onEvents   gets what came, in order: [{id, type, data}]
 *   onGap      something may have been missed: read afresh (only where resume is false)
 *   poll       asked every few seconds while no stream can be had
 *   resume     whether a cut stream goes on after its last id (true), or begins anew
 *   onEnd      the server said that nothing more will come
 */
export function follow(where, options) {
  const one = new Follower(where, options);
  one.start();
  return () => one.stop();
}

class Follower {
  constructor(where, { query = {}, after = null, onEvents, onGap, poll, onEnd, resume = true }) {
    Object.assign(this, { where, query, onEvents, onGap, poll, onEnd, resume });
    this.lastId = after === null ? "" : String(after);
    this.failures = 0;
    this.wasOpen = false;
    this.done = false;
    this.timer = null;
    this.pollTimer = null;
    this.connected = null;
    this.onVisibility = () => this.visibility();
    this.onOnline = () => this.again(0);
  }

  start() {
    document.addEventListener("visibilitychange", this.onVisibility);
    window.addEventListener("online", this.onOnline);
    if (document.hidden) this.say("paused");
    else this.connect();
  }

  stop() {
    this.done = true;
    this.connected?.abort();
    clearTimeout(this.timer);
    clearTimeout(this.hiding);
    clearTimeout(this.pollTimer);
    document.removeEventListener("visibilitychange", this.onVisibility);
    window.removeEventListener("online", this.onOnline);
    this.say(null);
  }

  say(state) {
    if (states.peek().get(this) === (state ?? undefined)) return;
    const next = new Map(states.peek());
    if (state === null) next.delete(this);
    else next.set(this, state);
    states.value = next;
  }

  visibility() {
    clearTimeout(this.hiding);
    if (document.hidden) {
      this.hiding = setTimeout(() => {
        this.say("paused");
        clearTimeout(this.timer);
        clearTimeout(this.pollTimer);
        this.pollTimer = null;
        this.connected?.abort();
      }, HIDDEN);
    } else if (states.peek().get(this) === "paused") {
      this.connect();
    }
  }

  again(pause) {
    if (this.done || this.connected || document.hidden) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.connect(), pause);
  }

  async connect() {
    if (this.done || this.connected) return;
    const polling = this.pollTimer !== null;
    if (!polling) this.say("connecting");
    const ends = new AbortController();
    this.connected = ends;
    let answered = false;
    let pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** this.failures) * (0.75 + Math.random() / 2);
    try {
      await this.readAll(ends);
      this.failures = 0;
      pause = FIRST_PAUSE;
    } catch (error) {
      this.failures += 1;
      if (error instanceof Problem) {
        answered = true;
        if ([400, 401, 403, 404].includes(error.status)) this.finish();
        if (error.retryAfter !== null) pause = Math.max(pause, error.retryAfter * 1000);
        if (error.code === "TOO_MANY_STREAMS") this.failures = Math.max(this.failures, FAILURES);
      }
    } finally {
      this.connected = null;
    }
    if (this.done || states.peek().get(this) === "paused") return;
    if (this.failures >= FAILURES && this.poll) {
      if (this.pollTimer === null) this.pollSoon();
      if (answered) pause = Math.max(pause, RETRY_STREAM);
    } else if (this.failures) {
      this.say("offline");
    }
    this.again(pause);
  }

  finish() {
    this.stop();
  }

  pollSoon() {
    const round = async () => {
      if (this.done || document.hidden) return;
      try {
        await this.poll();
        const isBack = states.peek().get(this) === "offline";
        this.say("polling");
        if (isBack) this.again(0);
      } catch {
        this.say("offline");
      }
      if (this.pollTimer !== null && !this.done) this.pollTimer = setTimeout(round, POLL_EVERY);
    };
    this.pollTimer = setTimeout(round, 0);
  }

  opened() {
    this.failures = 0;
    clearTimeout(this.pollTimer);
    this.pollTimer = null;
    this.say("live");
    if (this.wasOpen && !this.resume) this.onGap?.();
    this.wasOpen = true;
  }

  async readAll(ends) {
    const more = { Accept: "text/event-stream" };
    if (this.lastId && (this.resume || !this.wasOpen)) more["Last-Event-ID"] = this.lastId;
    let watch = null;
    const alive = () => {
      clearTimeout(watch);
      watch = setTimeout(() => ends.abort(), SILENCE);
    };
    try {
      alive();
      const response = await fetch(address(this.where, this.query), {
        headers: headers(more),
        signal: ends.signal,
        cache: "no-store",
        credentials: "omit",
        redirect: "error",
      });
      if (!response.ok) await read(response);
      if (!(response.headers.get("Content-Type") ?? "").startsWith("text/event-stream")) {
        throw new Problem("Something between here and the server answers instead of it.");
      }
      this.opened();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      const parser = new Parser();
      for (;;) {
        const { done, value } = await reader.read();
        if (done || this.done) return;
        alive();
        this.take(parser.feed(value));
      }
    } finally {
      clearTimeout(watch);
    }
  }

  take(events) {
    const news = [];
    for (const event of events) {
      if (event.id) this.lastId = event.id;
      if (event.data === "") continue;
      news.push({ ...event, data: JSON.parse(event.data) });
    }
    const end = news.findIndex((event) => event.type === "end");
    const before = end < 0 ? news : news.slice(0, end);
    if (before.some((event) => event.type === "pruned")) this.onGap?.();
    const plain = before.filter((event) => event.type !== "pruned");
    if (plain.length) this.onEvents(plain);
    if (end >= 0) {
      this.finish();
      this.onEnd?.(news[end].data);
    }
  }
}

/** Text to events, as the HTML standard has it (9.2.6); an event whose data is empty only moves the last id. */
export class Parser {
  constructor() {
    this.rest = "";
    this.clear();
  }

  clear() {
    this.event = { id: "", type: "message", data: "" };
    this.lines = [];
  }

  feed(text) {
    const found = [];
    const lines = (this.rest + text).split(/\r\n|\n|\r(?!$)/);
    this.rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        this.event.data = this.lines.join("\n");
        if (this.event.data || this.event.id) found.push(this.event);
        this.clear();
      } else if (!line.startsWith(":")) {
        this.field(line);
      }
    }
    return found;
  }

  field(line) {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") this.lines.push(value);
    else if (name === "event") this.event.type = value;
    else if (name === "id" && !value.includes("\0")) this.event.id = value;
  }
}

