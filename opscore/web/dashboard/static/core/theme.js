// Light, dark, or what the system says. theme.js beside index.html applies a stored choice before the first paint.
import { signal } from "./html.js";

const PLACE = "opscore.theme";

/** "system", "light" or "dark". */
export const theme = signal(document.documentElement.dataset.theme ?? "system");

/** Choose, and keep the choice for the next visit. */
export function setTheme(choice) {
  theme.value = choice;
  if (choice === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = choice;
  try {
    if (choice === "system") localStorage.removeItem(PLACE);
    else localStorage.setItem(PLACE, choice);
  } catch {
    // The choice then lasts as long as the page.
  }
}
