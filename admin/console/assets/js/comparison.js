// One prompt and the answers of several models to it, side by side.
import { answerPlace, figuresPlace, settled } from "./answers.js";
import { complete, newAnswer } from "./completions.js";
import { button, element } from "./element.js";
import { announce, call } from "./page.js";
import { CRITERIA, isAnswer, judgmentsOf, LETTERS } from "./votes.js";

export class Comparison {
  /** Args: lab: {models, settings(model) -> body, system, blind, exchanges, changed()}. */
  constructor(prompt, lab) {
    this.prompt = prompt;
    this.lab = lab;
    this.blind = lab.blind;
    this.order = lab.blind ? shuffled(lab.models.length) : [...lab.models.keys()];
    this.answers = lab.models.map(newAnswer);
    this.vote = null;
    this.ratings = this.order.map(() => ({}));
    this.abort = new AbortController();
    this.ended = false;
    this.whole = this.drawn();
  }

  /** Ask every model at once; resolves when all have ended. Asked once, however often this is called. */
  run() {
    this.running ??= Promise.all(this.columns.map((column, place) => this.ask(column, this.order[place]))).then(() => {
      this.ended = true;
      this.showVotes();
      this.lab.changed();
      if (this.whole.isConnected) announce("The answers are there.");
    });
    return this.running;
  }

  stop() {
    this.abort.abort();
  }

  async ask(column, number) {
    const model = this.lab.models[number];
    const own = this.prompt[0]?.role === "system" ? [] : this.lab.system;
    const body = { ...this.lab.settings(model), messages: [...own, ...this.prompt] };
    await complete(body, this.answers[number], { signal: this.abort.signal, onPiece: column.grown.add });
    settled(column, this.answers[number]);
    if (!this.blind) this.reveal(column, number);
  }

  // What a person says.

  /** Args: vote: a place, "tie" or "both_bad". */
  async say(vote) {
    if (!this.mayVote || this.vote !== null || (typeof vote === "number" && !isAnswer(this.shown[vote]))) return;
    this.vote = vote;
    this.showVotes();
    this.columns.forEach((column, place) => {
      if (this.blind) this.reveal(column, this.order[place]);
      if (vote === place) this.praise(column);
    });
    announce(typeof vote === "number" ? `Answer ${LETTERS[vote]} is best: ${this.lab.models[this.order[vote]]}.` : this.wordOf(vote));
    await this.keep(judgmentsOf(this));
  }

  /** A rating that comes after the vote is kept at once; one before it, with the vote, or when the prompt is left. */
  async rate(place, name, value) {
    if (value) this.ratings[place][name] = Number(value);
    else delete this.ratings[place][name];
    if (this.vote !== null && value) await this.keep(judgmentsOf({ ...this, shown: this.shown, vote: null, blind: false, ratings: this.only(place, name) }));
    else this.unkept = true;
  }

  /** Whatever was rated without a vote. */
  async leave() {
    this.stop();
    if (this.vote === null && this.unkept) await this.keep(judgmentsOf({ ...this, shown: this.shown, vote: null }));
  }

  async keep(judgments) {
    this.note.replaceChildren();
    this.unkept = false;
    if (!judgments.length) return;
    try {
      await call("POST", "/v1/judgments", { judgments });
      this.note.append("Kept.");
    } catch (error) {
      const again = button("Keep it again", () => this.keep(judgments));
      this.note.append(element("span", { role: "alert" }, `This was not kept: ${error.message} `), again);
    }
    this.lab.changed();
  }

  get shown() {
    return this.order.map((number) => this.answers[number]);
  }

  get mayVote() {
    return this.ended && this.shown.filter(isAnswer).length > 1;
  }

  only(place, name) {
    return this.ratings.map((each, other) => (other === place ? { [name]: each[name] } : {}));
  }

  // What is shown.

  drawn() {
    this.columns = this.order.map((number, place) => this.column(number, place));
    this.votes = element("p", { class: "buttons", role: "group", "aria-label": "Vote" });
    this.note = element("p", { class: "note", role: "status" });
    this.showVotes();
    const last = this.prompt.at(-1);
    const before = this.prompt.length - 1;
    return element("div", { class: "comparison" },
      element("article", { class: "message user", tabindex: "0", "aria-label": "Prompt" }, element("h3", { class: "role" }, before ? `Prompt, after ${before} earlier messages` : "Prompt"), textOf(last)),
      element("div", { class: "columns-of-answers" }, ...this.columns.map((each) => each.whole)),
      this.votes, this.note);
  }

  column(number, place) {
    const title = this.blind ? `Answer ${LETTERS[place]}` : `${LETTERS[place]}: ${this.lab.models[number]}`;
    const column = answerPlace(title);
    column.whole.classList.add("card");
    column.whole.append(this.rates(place));
    return column;
  }

  reveal(column, number) {
    const place = this.order.indexOf(number);
    column.whole.querySelector("h3").textContent = `${LETTERS[place]}: ${this.lab.models[number]}`;
    if (this.answers[number].exchange) column.rest.append(figuresPlace(this.answers[number], this.lab.exchanges, this.lab.changed));
  }

  praise(column) {
    column.whole.classList.add("best");
    column.whole.querySelector("h3").append(" ", element("span", { class: "badge good" }, "Best"));
  }


  rates(place) {
    const fields = Object.entries(CRITERIA).map(([name, text]) => {
      const options = ["", 1, 2, 3, 4, 5].map((value) => element("option", { value: String(value) }, value === "" ? "\u2013" : String(value)));
      const select = element("select", { "aria-label": `${text} of answer ${LETTERS[place]}, 1 to 5`, change: (event) => this.rate(place, name, event.target.value) }, ...options);
      return element("label", {}, text, select);
    });
    return element("div", { class: "ratings" }, ...fields);
  }

  showVotes() {
    const open = this.mayVote && this.vote === null;
    const vote = (text, key, value, more = {}) => button(text, () => this.say(value), { class: "", disabled: !open, "aria-keyshortcuts": key, "aria-pressed": String(this.vote === value), ...more });
    const best = this.order.map((_, place) => vote(`${LETTERS[place]} is best`, String(place + 1), place, { disabled: !open || !isAnswer(this.shown[place]) }));
    this.votes.replaceChildren(...best, vote("Tie", "t", "tie"), vote(this.wordOf("both_bad"), "x", "both_bad"));
    if (this.ended && !this.mayVote) this.votes.append(element("span", { class: "note" }, "There are not two answers to compare."));
  }

  wordOf(vote) {
    return vote === "tie" ? "Tie" : this.order.length > 2 ? "All bad" : "Both bad";
  }
}

function textOf(message) {
  return typeof message.content === "string" ? message.content : JSON.stringify(message.content);
}

/** 0 to count - 1 in an order that nobody can foresee. */
function shuffled(count) {
  const drawn = crypto.getRandomValues(new Uint32Array(count));
  return [...drawn.keys()].sort((a, b) => drawn[a] - drawn[b]);
}
