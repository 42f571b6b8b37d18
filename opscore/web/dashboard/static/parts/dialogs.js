// Dialogs: the browser's own <dialog> keeps the focus inside, closes with Escape and gives the focus back.
import { html, useEffect, useRef, useState } from "../core/html.js";
import { Icon } from "./icons.js";

/** A dialog while it is rendered. */
export function Dialog({ title, onClose, children, wide = false, testid, done }) {
  const place = useRef(null);
  useEffect(() => {
    const opener = document.activeElement;
    const dialog = place.current;
    dialog.showModal();
    return () => {
      dialog.close();
      // What opened it is gone, or soon will be, when what it was for is done.
      requestAnimationFrame(() => {
        if (done?.current || !opener.isConnected) document.getElementById("page-title")?.focus();
        else if (document.activeElement === document.body) opener.focus();
      });
    };
  }, []);
  const pressed = (event) => event.target === place.current && onClose();
  // At once: the event "close" comes later, and would close what a quick key has opened again by then.
  const escaped = (event) => {
    if (event.target !== place.current) return;
    event.preventDefault();
    onClose();
  };
  return html`<dialog ref=${place} class=${wide ? "wide" : ""} aria-label=${title} data-testid=${testid} onCancel=${escaped} onClose=${onClose} onMouseDown=${pressed}>
    ${children}
  </dialog>`;
}

/** Ask before something is done that cannot be taken back. act(reason) is awaited; what goes wrong is shown here. */
export function Confirm({ title, text, action, dismiss = "Keep it", reason, act, onClose }) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const given = useRef(null);
  const done = useRef(false);
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      await act(given.current?.value.trim() ?? "");
      done.current = true;
      onClose();
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };
  return html`<${Dialog} title=${title} onClose=${onClose} testid="confirm" done=${done}>
    <form class="dialog-form" onSubmit=${submit}>
      <h2>${title}</h2>
      <p class="muted">${text}</p>
      ${reason && html`<div class="field">
        <label for="confirm-reason">${reason} <span class="faint">(optional)</span></label>
        <input id="confirm-reason" ref=${given} class="input" maxlength="500" autocomplete="off" />
      </div>`}
      ${error && html`<p class="bad-text" role="alert">${error.message}</p>`}
      <div class="dialog-foot">
        <button type="button" class="btn" onClick=${onClose}>${dismiss}</button>
        <button type="submit" class="btn danger primary" disabled=${busy}>${busy && html`<${Icon} name="running" size=${14} class="spin" />`}${action}</button>
      </div>
    </form>
  </${Dialog}>`;
}
