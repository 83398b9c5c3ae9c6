import { fresh } from "./page.js";

export function startMenu(root) {
  for (const button of fresh(root, "[data-menu]", "Menu")) {
    button.addEventListener("click", () => {
      const open = document.body.classList.toggle("menu-open");
      button.setAttribute("aria-expanded", String(open));
    });
  }
  for (const select of fresh(root, "select[data-go]", "Go")) {
    select.addEventListener("change", () => location.assign(select.value));
  }
  for (const select of fresh(root, "select[data-submit]", "Submit")) {
    select.addEventListener("change", () => select.form.requestSubmit());
  }
  for (const button of fresh(root, "[data-theme-switch]", "Theme")) {
    button.addEventListener("click", () => {
      const next = isDark() ? "light" : "dark";
      document.documentElement.dataset.theme = next;
      localStorage.setItem("theme", next);
      document.dispatchEvent(new CustomEvent("theme"));
    });
  }
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}
