// Everything that the pages need beyond HTML. Each part looks for its own elements below `root`, and finds none on other pages.
import "./js/htmx.js";
import { startTimes } from "./js/times.js";
import { startCopying } from "./js/copying.js";
import { startConfirming } from "./js/confirming.js";
import { startMenu } from "./js/menu.js";
import { startCharts } from "./js/charts.js";
import { startChat } from "./js/chat.js";
import { startCapabilities } from "./js/capabilities.js";
import { startCompare } from "./js/compare.js";
import { startChartUpdates } from "./js/chart_updates.js";
import { startShareSlider } from "./js/share_slider.js";
import { startReview } from "./js/review.js";
import { startThemeChoice } from "./js/theme_choice.js";
import { startPrinting } from "./js/printing.js";
import { startInvitation } from "./js/invitation.js";
import { startUploading } from "./js/uploading.js";
import { startRefreshing } from "./js/refreshing.js";

const PARTS = [startRefreshing, startTimes, startCopying, startConfirming, startMenu, startCharts, startChat, startCapabilities, startCompare, startChartUpdates, startShareSlider, startReview, startThemeChoice, startPrinting, startInvitation, startUploading];

function start(root) {
  for (const part of PARTS) part(root);
}

document.addEventListener("DOMContentLoaded", () => {
  start(document);
  // What htmx brings later.
  document.body.addEventListener("htmx:load", (event) => {
    if (event.detail.elt !== document.body) start(event.detail.elt);
  });
});
