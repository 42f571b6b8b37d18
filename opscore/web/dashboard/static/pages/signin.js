// Sign in with an API key. It is tried before it is kept.
import { html, useEffect, useRef, useState } from "../core/html.js";
import { get } from "../core/api.js";
import { key, refused, signIn, signOut } from "../core/session.js";
import { Icon } from "../parts/icons.js";
import { Mark } from "../parts/frame.js";

export function SignIn() {
  const input = useRef(null);
  const [error, setError] = useState(refused.value || "");
  const [busy, setBusy] = useState(false);
  const [seen, setSeen] = useState(false);
  useEffect(() => {
    document.title = "Sign in · Ops-Core";
    input.current.focus();
  }, []);
  const submit = async (event) => {
    event.preventDefault();
    const secret = input.current.value.trim();
    if (!/^[\x21-\x7e]+$/.test(secret)) {
      setError("An API key is one word of plain characters.");
      return;
    }
    setBusy(true);
    setError("");
    key.value = secret;
    try {
      signIn(secret, await get("/whoami"));
    } catch (problem) {
      signOut(problem.message);
      setError(problem.status === 401 ? "This key is wrong, or was revoked." : problem.message);
      input.current?.select();
    } finally {
      setBusy(false);
    }
  };
  return html`<main class="sign-in" id="main">
    <form class="panel" onSubmit=${submit} aria-labelledby="sign-in-title">
      <${Mark} size=${36} />
      <div><h1 id="sign-in-title">Sign in to Ops-Core</h1><p class="muted">This server wants an API key.</p></div>
      <div class="field">
        <label for="api-key">API key</label>
        <div class="with-button">
          <input id="api-key" ref=${input} class="input mono" type=${seen ? "text" : "password"} autocomplete="off" autocapitalize="none" spellcheck=${false}
            required aria-invalid=${String(Boolean(error))} aria-describedby="key-hint key-error" />
          <button type="button" class="btn" aria-pressed=${String(seen)} onClick=${() => setSeen(!seen)}>${seen ? "Hide" : "Show"}</button>
        </div>
        <p class="wrong" id="key-error" role="alert">${error}</p>
      </div>
      <button class="btn primary" disabled=${busy}>${busy && html`<${Icon} name="running" size=${14} class="spin" />`}Sign in</button>
      <p class="hint" id="key-hint">The key stays in this tab until you close it. <code>opscore keys create</code> makes one; a key with the scope <code>read</code> can look at everything and change nothing.</p>
    </form>
  </main>`;
}
