// Times in the reader's own zone; the server writes UTC.
const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeZone: "UTC" });

export function startTimes(root) {
  for (const each of root.querySelectorAll("time[datetime]")) {
    const when = new Date(each.dateTime);
    if (Number.isNaN(when.getTime())) continue;
    each.title = each.title || each.dateTime;
    each.textContent = ("day" in each.dataset ? DAY : MOMENT).format(when);
  }
}
