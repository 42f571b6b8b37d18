// Shortcuts: single letters, and "g" followed by one. They are silent while somebody types or a dialog is open.
const TYPING = "input, textarea, select, [contenteditable]";
const SECOND = 1200;

const bound = new Map();
let first = null;
let timer = null;

/** Bind keys ("j", "?", "g o") to actions; gives what unbinds them. A later binding goes before an earlier one. */
export function bind(actions) {
  for (const [keys, action] of Object.entries(actions)) bound.set(keys, [...(bound.get(keys) ?? []), action]);
  return () => {
    for (const [keys, action] of Object.entries(actions)) {
      bound.set(keys, bound.get(keys).filter((one) => one !== action));
    }
  };
}

function handle(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.closest?.(TYPING) && !event.target.matches("input[type=checkbox]")) return;
  if (document.querySelector("dialog[open]")) return;
  const keys = first ? `${first} ${event.key}` : event.key;
  clearTimeout(timer);
  first = null;
  const action = bound.get(keys)?.at(-1);
  if (action) {
    event.preventDefault();
    action(event);
  } else if (event.key === "g") {
    first = "g";
    timer = setTimeout(() => (first = null), SECOND);
  }
}

document.addEventListener("keydown", handle);
