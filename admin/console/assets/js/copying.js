import { announce, fresh } from "./page.js";

export function startCopying(root) {
  for (const button of fresh(root, "[data-copy]", "Copy")) {
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.dataset.copy);
      const before = button.textContent;
      button.textContent = "Copied";
      announce("Copied");
      setTimeout(() => (button.textContent = before), 2000);
    });
  }
}
