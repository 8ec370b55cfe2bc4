// Applies the chosen theme before the first paint, so that no page flashes in the other one.
(() => {
  "use strict";
  let chosen = null;
  try {
    chosen = localStorage.getItem("manman-theme");
  } catch {
    // storage is switched off: the system's preference decides
  }
  if (chosen === "light" || chosen === "dark") {
    document.documentElement.dataset.theme = chosen;
  }
})();
