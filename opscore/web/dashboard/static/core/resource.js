// Data of the server in a component: read when its inputs change, refreshed when something happened, never twice at once.
import { useEffect, useRef, useState } from "./html.js";
import { follow } from "./stream.js";

const LEAST_BETWEEN = 1000;

/** What load() gives: {data, error, loading, reload(), refresh(), set()}.
 *
 * reload() reads now; refresh() soon, and however often it is called not more than about once a second. What was read
 * stays until there is something newer; other inputs begin anew.
 */
export function useResource(load, inputs, { every = LEAST_BETWEEN } = {}) {
  const [state, setState] = useState({ data: undefined, error: null, loading: true });
  const self = useRef({ run: 0, timer: null, last: 0, busy: false, again: false, abort: null }).current;
  self.load = load;

  const read = async () => {
    clearTimeout(self.timer);
    self.timer = null;
    if (self.busy) {
      self.again = true;
      return;
    }
    const run = self.run;
    self.busy = true;
    self.last = Date.now();
    self.abort = new AbortController();
    try {
      const data = await self.load(self.abort.signal);
      if (run === self.run) setState({ data, error: null, loading: false });
    } catch (error) {
      if (run === self.run && error.name !== "AbortError") {
        setState((before) => ({ data: before.data, error, loading: false }));
      }
    } finally {
      if (run === self.run) {
        self.busy = false;
        if (self.again) {
          self.again = false;
          refresh();
        }
      }
    }
  };
  const refresh = () => {
    if (self.timer !== null) return;
    const run = self.run;
    self.timer = setTimeout(() => run === self.run && read(), Math.max(0, self.last + every - Date.now()));
  };

  useEffect(() => {
    self.busy = self.again = false;
    setState((before) => ({ ...before, data: undefined, error: null, loading: true }));
    read();
    return () => {
      self.run += 1;
      self.abort?.abort();
      clearTimeout(self.timer);
      self.timer = null;
    };
  }, inputs);

  const set = (change) => setState((before) => ({ ...before, data: change(before.data) }));
  return { ...state, reload: read, refresh, set };
}

/** Follow a stream while the component is there; begun anew when the inputs change. A path of null follows nothing. */
export function useStream(where, options, inputs) {
  const latest = useRef(options);
  latest.current = options;
  useEffect(() => {
    if (where === null) return undefined;
    return follow(where, {
      ...options,
      onEvents: (events) => latest.current.onEvents(events),
      onGap: () => latest.current.onGap?.(),
      onEnd: (data) => latest.current.onEnd?.(data),
      poll: options.poll && (() => latest.current.poll()),
    });
  }, [where, ...inputs]);
}

/** Do something every so many milliseconds while somebody looks. */
export function useEvery(ms, action) {
  const latest = useRef(action);
  latest.current = action;
  useEffect(() => {
    const timer = setInterval(() => document.hidden || latest.current(), ms);
    return () => clearInterval(timer);
  }, [ms]);
}
