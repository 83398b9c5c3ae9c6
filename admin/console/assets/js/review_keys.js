// Which key does what in a review. Keys are left alone while somebody types, in dialogs, and with Alt: those are the browser's.
const TEXT = "textarea, select, input:not([type=radio]):not([type=checkbox])";
const NATIVE = "button, a, summary";

/** What single keys do: of the review, and of its form; true when they did something. */
const KEYS = {
  Enter: (review) => review.complete(),
  ArrowUp: (review) => step(review, -1),
  ArrowDown: (review) => step(review, 1),
  ArrowLeft: (review) => side(review, 1),
  ArrowRight: (review) => side(review, 2),
  e: (review) => review.form.focusOn("correction"),
  c: (review) => review.form.focusOn("comment"),
  t: (review) => review.form.focusOn("tags"),
  d: (review) => review.toggleDifferences(),
  s: (review) => review.skip(),
};

export function pressed(review, event) {
  if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
  const target = event.target instanceof Element ? event.target : document.body;
  if ((event.ctrlKey || event.metaKey) && event.key === "Enter") return take(event, () => review.complete());
  if (target.matches(TEXT)) return event.key === "Escape" ? take(event, () => leaveText(review, target)) : undefined;
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "?") return take(event, () => review.openKeys());
  if (event.key === "u" && !event.repeat) return take(event, () => review.undo());
  if (event.repeat) return;
  if (!review.form?.form) {
    if (event.key === "Enter" && !target.matches(NATIVE)) take(event, () => review.begin());
    return;
  }
  if (event.key >= "1" && event.key <= "9") return take(event, () => review.form.choose(Number(event.key)));
  const isArrow = event.key.startsWith("Arrow");
  if (isArrow && target.matches("input[type=radio]")) return; // the browser chooses among its options
  if (event.key === "Enter" && target.matches(NATIVE)) return;
  const act = KEYS[event.key];
  if (act) take(event, () => act(review));
}

/** False leaves the key to the browser. */
function take(event, act) {
  if (act() !== false) event.preventDefault();
}

function leaveText(review, field) {
  field.blur();
  review.place.querySelector("#item-heading")?.focus();
}

function step(review, by) {
  if (review.form.questions.length < 2) return false;
  review.form.goTo(review.form.here + by, { focus: true });
  return true;
}

function side(review, number) {
  const isPair = review.form.article.querySelector(".answers.pair") !== null;
  return isPair && review.form.choose(number);
}
