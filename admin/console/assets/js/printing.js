// A button with data-print, which would do nothing without scripts.
import { fresh } from "./page.js";

export function startPrinting(root) {
  for (const button of fresh(root, "[data-print]", "Print")) {
    button.hidden = false;
    button.addEventListener("click", () => print());
  }
}
