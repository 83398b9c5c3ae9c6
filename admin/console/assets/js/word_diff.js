// Two texts, and what of their words differs.
import { diffWordsWithSpace } from "diff";

/** Elements that show how `after` came of `before`: kept, removed, added. */
export function changes(before, after) {
  return diffWordsWithSpace(before, after).map(marked);
}

/** The same for one side alone: of two answers side by side, each shows what only it says. */
export function sideOf(before, after, side) {
  const left = side === "before";
  return diffWordsWithSpace(before, after)
    .filter((part) => (left ? !part.added : !part.removed))
    .map(marked);
}

function marked(part) {
  if (!part.added && !part.removed) return document.createTextNode(part.value);
  const made = document.createElement(part.added ? "ins" : "del");
  made.textContent = part.value;
  return made;
}
