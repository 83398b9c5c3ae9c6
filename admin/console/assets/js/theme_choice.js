// Light, dark or as the system is: kept in this browser, so the server shows the choice hidden and we bring it out.
import { fresh } from "./page.js";

export function startThemeChoice(root) {
  for (const card of fresh(root, "[data-theme-card]", "ThemeChoice")) {
    const select = card.querySelector("select");
    select.value = localStorage.getItem("theme") ?? "";
    select.addEventListener("change", () => choose(select.value));
    document.addEventListener("theme", () => (select.value = localStorage.getItem("theme") ?? ""));
    card.hidden = false;
  }
}

function choose(theme) {
  if (theme) {
    localStorage.setItem("theme", theme);
    document.documentElement.dataset.theme = theme;
  } else {
    localStorage.removeItem("theme");
    delete document.documentElement.dataset.theme;
  }
  document.dispatchEvent(new CustomEvent("theme"));
}
