// Parts of a page that are asked for anew every few seconds: <div hx-trigger="refresh" data-refresh="10">. Nobody asks for a page
// that is not looked at, and nothing changes under the focus of somebody's keyboard.
import { htmx } from "./htmx.js";
import { fresh } from "./page.js";

export function startRefreshing(root) {
  for (const place of fresh(root, "[data-refresh]", "Refresh")) {
    const looked = () => refresh(place);
    const timer = setInterval(() => {
      if (place.isConnected) return refresh(place);
      clearInterval(timer);
      document.removeEventListener("visibilitychange", looked);
    }, Number(place.dataset.refresh) * 1000);
    document.addEventListener("visibilitychange", looked);
  }
}

function refresh(place) {
  if (document.hidden || !place.isConnected || place.contains(document.activeElement)) return;
  htmx.trigger(place, "refresh");
}
