// Runs before anything is painted, so that a chosen theme never flashes in the other one. No module: those come later.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("opscore.theme");
  } catch {
    // Storage is switched off: the system's theme it is.
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
