// The form for one item of a review: its questions, drafts, edit with a word diff, and the differences of a pair.
import { announce } from "./page.js";
import { changes, sideOf } from "./word_diff.js";

const DRAFT = "review ";

export class ReviewForm {
  constructor(article) {
    this.article = article;
    this.id = article.dataset.item;
    this.form = article.querySelector("[data-review-form]");
    this.questions = [...article.querySelectorAll("[data-question]")];
    this.here = 0;
    if (!this.form) return;
    this.restoreDraft();
    this.form.addEventListener("input", () => this.keepDraft());
    this.startEdit();
    this.startDifferences();
    this.goTo(this.firstOpen() ?? 0);
  }

  // --- questions ---

  isAnswered(question) {
    const typed = question.querySelector("input[type=number]");
    return typed ? typed.value !== "" : question.querySelector("input:checked") !== null;
  }

  /** The place of the first question without an answer; null when there is none. */
  firstOpen() {
    const at = this.questions.findIndex((each) => !this.isAnswered(each));
    return at < 0 ? null : at;
  }

  goTo(at, { focus = false } = {}) {
    this.here = Math.max(0, Math.min(at, this.questions.length - 1));
    this.questions.forEach((each, place) => each.classList.toggle("here", place === this.here && this.questions.length > 1));
    if (focus) (this.questions[this.here].querySelector("input[type=number]") ?? this.questions[this.here]).focus();
  }

  /** Choose an option by its number, from 1; the next question without an answer is next. */
  choose(number) {
    const focused = this.questions.indexOf(document.activeElement?.closest?.("[data-question]"));
    if (focused >= 0) this.goTo(focused);
    const question = this.questions[this.here];
    const option = question?.querySelectorAll("input[type=radio]")[number - 1];
    if (!option) return false;
    option.checked = true;
    option.dispatchEvent(new Event("input", { bubbles: true }));
    announce(`${question.querySelector("legend").textContent}: ${option.dataset.text}`);
    this.goTo(this.firstOpen() ?? this.here);
    return true;
  }

  /** What is still to be answered is shown; true when there is nothing. */
  isComplete() {
    const open = this.firstOpen();
    if (open === null) return true;
    this.goTo(open, { focus: true });
    announce(`${this.questions[open].querySelector("legend").textContent} has no answer yet.`);
    return false;
  }

  // --- drafts: whoever loads the page again goes on where they were ---

  keepDraft() {
    const fields = [...new FormData(this.form)].filter(([name]) => name !== "_csrf");
    sessionStorage.setItem(DRAFT + this.id, JSON.stringify(fields));
  }

  restoreDraft() {
    const kept = JSON.parse(sessionStorage.getItem(DRAFT + this.id) ?? "[]");
    for (const [name, value] of kept) {
      const field = this.form.elements.namedItem(name);
      if (field) field.value = value;
    }
  }

  forgetDraft() {
    sessionStorage.removeItem(DRAFT + this.id);
  }

  // --- texts ---

  focusOn(name) {
    const field = this.form?.elements.namedItem(name);
    if (!field) return false;
    const details = field.closest("details");
    if (details) details.open = true;
    field.focus();
    return true;
  }

  startEdit() {
    const field = this.form.elements.namedItem("correction");
    const place = this.article.querySelector("[data-diff]");
    if (!field || !place) return;
    const before = this.article.querySelector("[data-answer]").textContent;
    const show = () => {
      place.hidden = field.value === before;
      place.replaceChildren(...(place.hidden ? [] : changes(before, field.value)));
    };
    field.addEventListener("input", show);
    show();
    if (!place.hidden) field.closest("details").open = true;
  }

  startDifferences() {
    const button = this.article.querySelector("[data-word-diff]");
    if (!button) return;
    const answers = [...this.article.querySelectorAll("[data-answer]")];
    const texts = answers.map((each) => each.textContent);
    button.hidden = false;
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(on));
      answers.forEach((each, at) => each.replaceChildren(...(on ? sideOf(...texts, at ? "after" : "before") : [texts[at]])));
    });
  }
}
