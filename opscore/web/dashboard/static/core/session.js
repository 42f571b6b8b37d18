// Who is signed in. The key lives in this tab's session storage and nowhere else; it is gone when the tab is closed.
import { computed, signal } from "./html.js";

const PLACE = "opscore.key";

function stored() {
  try {
    return sessionStorage.getItem(PLACE);
  } catch {
    return null;
  }
}

function store(key) {
  try {
    if (key) sessionStorage.setItem(PLACE, key);
    else sessionStorage.removeItem(PLACE);
  } catch {
    // Without storage the key lives as long as the page does.
  }
}

/** The API key, or null. */
export const key = signal(stored());
/** What GET /whoami answered, or null while it is not known. */
export const who = signal(null);
/** Why the sign-in page is shown, or null while it is not. */
export const refused = signal(null);

const scopes = computed(() => new Set(who.value?.scopes ?? []));

/** Whether the present key may do more than read. Buttons that write are not there without it. */
export const mayWrite = computed(() => scopes.value.has("write") || scopes.value.has("admin"));

/** Keep a key for this tab. */
export function signIn(secret, answer) {
  store(secret);
  key.value = secret;
  who.value = answer;
  refused.value = null;
}

/** Forget the key. */
export function signOut(reason = "") {
  store(null);
  key.value = null;
  who.value = null;
  refused.value = reason;
}
