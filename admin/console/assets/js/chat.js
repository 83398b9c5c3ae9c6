// The chat page: a conversation with a model or a route, kept in this tab alone.
import { answerPlace, figuresPlace, jsonBadge, settled, thumbs } from "./answers.js";
import { settingsOf, systemOf, Unreadable } from "./call_settings.js";
import { asCurl, asPython } from "./code.js";
import { complete, newAnswer } from "./completions.js";
import { button, element } from "./element.js";
import { announce, fresh, project } from "./page.js";
import { following, speaking } from "./streaming_text.js";

const FIELDS = ["model", "system", "temperature", "max_tokens", "seed", "format", "schema", "tools"];

export function startChat(root) {
  for (const form of fresh(root, "form[data-chat]", "Chat")) new Chat(form);
}

/** Turns: {role: "user", content}, {role: "tool", tool_call_id, content}, {role: "assistant", answers: [...], chosen}. */
class Chat {
  constructor(form) {
    this.form = form;
    this.turns = [];
    this.models = JSON.parse(form.querySelector("[data-models]").textContent);
    this.list = form.querySelector("[data-turns]");
    this.spoken = speaking(form.querySelector("[data-spoken]"));
    this.message = form.elements.message;
    this.abort = null;
    this.restore();
    this.listen();
    this.draw();
  }

  listen() {
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    this.message.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.send();
    });
    this.form.addEventListener("keydown", (event) => event.key === "Escape" && this.stop());
    this.form.addEventListener("change", () => this.save());
    this.on("stop", () => this.stop());
    this.on("clear", () => this.clear());
    this.on("tools-example", () => this.useExample());
    this.on("switch", () => this.switchModel());
    this.form.elements.model.addEventListener("change", () => this.showOther());
    this.form.elements.format.addEventListener("change", () => this.showSchema());
    // Before the click reaches the button itself, which copies what it finds there.
    this.form.addEventListener("click", (event) => this.fillCode(event), { capture: true });
    this.showOther();
    this.showSchema();
    if (matchMedia("(max-width: 1000px)").matches) this.form.querySelector("[data-more]").open = false;
  }

  on(name, act) {
    this.form.querySelector(`[data-${name}]`)?.addEventListener("click", act);
  }

  // What is called.

  get model() {
    return this.form.elements.model.value;
  }

  /** Of a tuned model its base; of a base the newest model that was tuned from it. */
  otherOf(model) {
    const known = this.models.find((each) => each.id === model);
    const base = known?.base && this.models.some((each) => each.id === known.base) ? known.base : null;
    return base ?? this.models.find((each) => each.base === model)?.id ?? null;
  }

  /** Turns up to the last answer. */
  get asked() {
    return this.turns.at(-1)?.role === "assistant" ? this.turns.slice(0, -1) : this.turns;
  }

  body(model, turns) {
    const messages = [...systemOf(this.form), ...turns.flatMap(onWire)];
    const { model: name, ...settings } = settingsOf(this.form, model);
    return { model: name, messages, ...settings };
  }

  // What a person does.

  async send() {
    const text = this.message.value.trim();
    if (this.abort || (!text && !this.pendingResults().length)) return;
    try {
      this.body(this.model, this.turns);
    } catch (error) {
      if (error instanceof Unreadable) return announce(error.message);
      throw error;
    }
    this.turns.push(...this.pendingResults());
    if (text) this.turns.push({ role: "user", content: text });
    this.message.value = "";
    await this.ask();
  }

  stop() {
    this.abort?.abort();
  }

  clear() {
    this.stop();
    this.turns = [];
    this.save();
    this.draw();
    this.message.focus();
  }

  switchModel() {
    const other = this.otherOf(this.model);
    if (!other) return;
    this.form.elements.model.value = other;
    this.showOther();
    this.save();
    announce(`The model is now ${other}.`);
  }

  /** The same turns again; what came of them before is gone. */
  async again(place) {
    if (this.abort) return;
    this.turns.length = place;
    await this.ask();
  }

  edit(place) {
    if (this.abort) return;
    const item = this.list.children[place];
    const field = element("textarea", { rows: "3", "aria-label": "Your message" });
    field.value = this.turns[place].content;
    const resend = () => {
      const content = field.value.trim();
      if (!content || this.abort) return;
      this.turns.length = place;
      this.turns.push({ role: "user", content });
      this.ask();
    };
    item.replaceChildren(field, element("p", { class: "buttons" }, button("Send again", resend, { class: "primary" }), button("Cancel", () => this.draw())));
    field.focus();
  }

  /** What was typed in as results of the tools that the last answer called. */
  pendingResults() {
    return [...this.list.querySelectorAll("[data-result-of]")].map((field) => ({ role: "tool", tool_call_id: field.dataset.resultOf, content: field.value }));
  }

  // Asking.

  async ask() {
    const turn = { role: "assistant", answers: [], chosen: 0 };
    const prompt = [...this.turns];
    this.turns.push(turn);
    const other = this.form.elements.both.checked ? this.otherOf(this.model) : null;
    await this.busy(() => Promise.all([this.model, ...(other ? [other] : [])].map((model, place) => this.answer(turn, prompt, model, place === 0))));
  }

  /** One more answer to the turn's prompt, by another model. */
  async askOther(place, model) {
    if (this.abort) return;
    await this.busy(() => this.answer(this.turns[place], this.turns.slice(0, place), model, true));
  }

  async busy(work) {
    this.abort = new AbortController();
    following(() => this.draw());
    this.showBusy();
    try {
      await work();
    } finally {
      this.abort = null;
      this.save();
      following(() => this.draw());
      this.showBusy();
    }
  }

  async answer(turn, prompt, model, aloud) {
    const answer = newAnswer(model);
    const body = this.body(model, prompt);
    answer.format = body.response_format?.type ?? null;
    turn.answers.push(answer);
    const place = answerPlace(model);
    this.list.children[this.turns.indexOf(turn)]?.firstElementChild.append(place.whole);
    const onPiece = (text) => {
      place.grown.add(text);
      if (aloud) this.spoken.add(text);
    };
    await complete(body, answer, { signal: this.abort.signal, onPiece });
    if (aloud) this.spoken.end();
    settled(place, answer);
    if (answer.error) announce(answer.error);
  }

  // What is shown.

  draw() {
    this.list.replaceChildren(...this.turns.map((turn, place) => this.drawTurn(turn, place)));
    this.form.querySelector("[data-empty]").hidden = this.turns.length > 0;
  }

  drawTurn(turn, place) {
    if (turn.role === "assistant") return this.drawAnswers(turn, place);
    const title = turn.role === "tool" ? "Result of the tool" : "You";
    const edit = turn.role === "user" && !this.abort ? element("p", { class: "buttons" }, button("Edit", () => this.edit(place))) : null;
    return element("li", {}, element("article", { class: `message ${turn.role}` }, element("h3", { class: "role" }, title), turn.content), edit);
  }

  drawAnswers(turn, place) {
    const side = element("div", { class: `answers${turn.answers.length > 1 ? " several" : ""}` });
    turn.answers.forEach((answer, number) => side.append(this.drawAnswer(turn, place, answer, number)));
    const isLast = place === this.turns.length - 1;
    return element("li", {}, side, isLast && !this.abort ? this.resultFields(turn.answers[turn.chosen]) : null);
  }

  drawAnswer(turn, place, answer, number) {
    const goesOn = turn.answers.length > 1 && turn.chosen === number;
    const made = answerPlace(goesOn ? `${answer.model} \u00b7 the conversation goes on with this` : answer.model);
    made.grown.add(answer.content);
    settled(made, answer);
    const badge = jsonBadge(answer, answer.format);
    if (badge) made.rest.append(element("p", {}, badge));
    if (answer.exchange) made.rest.append(figuresPlace(answer, this.form.dataset.exchanges, () => this.save()));
    if (!this.abort) made.rest.append(this.actions(turn, place, answer, number));
    return made.whole;
  }

  actions(turn, place, answer, number) {
    const row = element("p", { class: "buttons" });
    if (answer.exchange && !answer.error) row.append(...thumbs(answer, () => this.save()));
    if (place === this.turns.length - 1) row.append(button(answer.error ? "Try again" : "Regenerate", () => this.again(place)));
    const other = this.otherOf(answer.model);
    if (other && turn.answers.length === 1) row.append(button(`Ask ${other}, too`, () => this.askOther(place, other)));
    if (turn.answers.length > 1 && turn.chosen !== number) row.append(button("Go on with this one", () => this.choose(turn, number)));
    return row;
  }

  choose(turn, number) {
    turn.chosen = number;
    this.turns.length = this.turns.indexOf(turn) + 1;
    this.save();
    this.draw();
  }

  /** One field for each tool that the answer called. */
  resultFields(answer) {
    if (!answer?.tool_calls.length) return null;
    const fields = answer.tool_calls.map((each, number) => {
      const id = `result-${number}`;
      return element("div", { class: "field" }, element("label", { for: id }, `Result of ${each.function.name}`), element("textarea", { id, rows: "2", "data-result-of": each.id }));
    });
    return element("fieldset", {}, element("legend", {}, "The model waits for its tools"), ...fields, button("Send results", () => this.send(), { class: "primary" }));
  }

  showBusy() {
    const busy = Boolean(this.abort);
    this.form.querySelector("[data-stop]").hidden = !busy;
    this.form.querySelector("[data-send]").disabled = busy;
    if (!busy) (this.list.querySelector("[data-result-of]") ?? this.message).focus({ preventScroll: true });
  }

  showOther() {
    const other = this.otherOf(this.model);
    const place = this.form.querySelector("[data-other]");
    place.hidden = !other;
    if (!other) return;
    const isBase = this.models.find((each) => each.id === this.model)?.base === other;
    this.form.querySelector("[data-switch]").textContent = `Switch to ${isBase ? "its base" : "the tuned"} ${other}`;
  }

  showSchema() {
    this.form.querySelector("[data-schema]").hidden = this.form.elements.format.value !== "json_schema";
  }

  useExample() {
    const field = this.form.elements.tools;
    field.value = field.placeholder;
    this.save();
    field.focus();
  }

  fillCode(event) {
    const wanted = event.target.closest?.("[data-code]");
    if (!wanted) return;
    try {
      const write = wanted.dataset.code === "python" ? asPython : asCurl;
      wanted.dataset.copy = write(this.form.dataset.origin, this.body(this.model, this.asked));
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      event.stopPropagation();
      announce(error.message);
    }
  }

  // Kept for this tab.

  get place() {
    return `chat:${project()}:${this.form.dataset.person}`;
  }

  save() {
    const fields = Object.fromEntries(FIELDS.map((name) => [name, this.form.elements[name].value]));
    try {
      sessionStorage.setItem(this.place, JSON.stringify({ turns: this.turns, fields, both: this.form.elements.both.checked }));
    } catch {
      // The tab has no room for more: the conversation goes on without being kept.
    }
  }

  restore() {
    const kept = JSON.parse(sessionStorage.getItem(this.place) ?? "null");
    if (!kept) return;
    this.turns = kept.turns;
    for (const [name, value] of Object.entries(kept.fields)) {
      const field = this.form.elements[name];
      const isThere = !field.options || [...field.options].some((each) => each.value === value);
      if (isThere && !(name === "model" && this.form.dataset.chosen)) field.value = value;
    }
    this.form.elements.both.checked = kept.both;
  }
}

/** A turn as the API takes it; an answer that never came is left out. */
function onWire(turn) {
  if (turn.role !== "assistant") return [turn];
  const answer = turn.answers[turn.chosen];
  if (!answer || (!answer.content && !answer.tool_calls.length)) return [];
  const calls = answer.tool_calls.length ? { tool_calls: answer.tool_calls } : {};
  return [{ role: "assistant", content: answer.content || null, ...calls }];
}
