// Figures of a chart that a polled fragment brings anew: <script data-chart-of="id"> holds what <figure id="..."> shows.
import { show } from "./charts.js";
import { fresh } from "./page.js";

export function startChartUpdates(root) {
  if (root === document) return; // the page itself came with figures
  for (const script of fresh(root, "script[data-chart-of]", "Update")) {
    const figure = document.getElementById(script.dataset.chartOf);
    if (figure) update(figure, JSON.parse(script.textContent));
  }
}

/** Whoever reads its table keeps it open, and is not disturbed while the focus is in it. */
function update(figure, figures) {
  const table = figure.querySelector("details");
  if (table?.contains(document.activeElement)) return;
  show(figure, figures);
  if (table?.open) figure.querySelector("details").open = true;
}
