import { fresh } from "./page.js";

export function startMenu(root) {
  for (const button of fresh(root, "[data-menu]", "Menu")) {
    button.addEventListener("click", () => open(button, !document.body.classList.contains("menu-open")));
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && document.body.classList.contains("menu-open")) open(button, false);
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

/** On a narrow window; the focus goes where the eye goes: to its first page, and back. */
function open(button, isOpen) {
  document.body.classList.toggle("menu-open", isOpen);
  button.setAttribute("aria-expanded", String(isOpen));
  (isOpen ? document.querySelector("#menu a") : button)?.focus();
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}
