// The comparison lab: prompts one after the other, each answered by two to four models, and what is said of the answers.
import { systemOf, settingsOf, Unreadable } from "./call_settings.js";
import { Comparison } from "./comparison.js";
import { element } from "./element.js";
import { announce, fresh, headers, Refused } from "./page.js";
import { beginningOf, MOST, ofFile, ofLines } from "./prompts.js";
import { csvOf, linesOf, standings, standingsTable } from "./standings.js";

export function startCompare(root) {
  for (const place of fresh(root, "[data-compare]", "Compare")) new Lab(place);
}

class Lab {
  constructor(place) {
    this.place = place;
    this.form = place.querySelector("form");
    this.at = 0;
    this.comparisons = [];
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.start();
    });
    this.on("next", () => this.next());
    this.on("finish", () => this.finish());
    this.on("again", () => this.show("setup"));
    this.on("csv", () => this.save("csv", "text/csv", csvOf(linesOf(this.models, this.asked))));
    this.on("json", () => this.save("json", "application/json", JSON.stringify({ models: standings(this.models, this.asked), answers: linesOf(this.models, this.asked) }, null, 2)));
    document.addEventListener("keydown", (event) => this.key(event));
    window.addEventListener("beforeunload", (event) => this.isOpen && event.preventDefault());
  }

  on(name, act) {
    this.part(name).addEventListener("click", act);
  }

  part(name) {
    return this.place.querySelector(`[data-${name}]`);
  }

  get current() {
    return this.comparisons[this.at];
  }

  /** Those that somebody saw. */
  get asked() {
    return this.comparisons.slice(0, this.at + 1);
  }

  get isOpen() {
    return !this.part("lab").hidden;
  }

  async start() {
    const problem = this.part("problem");
    problem.hidden = true;
    try {
      this.models = this.chosenModels();
      for (const model of this.models) settingsOf(this.form, model);
      this.prompts = await this.chosenPrompts();
    } catch (error) {
      if (error instanceof Unreadable) return announce(error.message);
      problem.textContent = error.message;
      problem.hidden = false;
      return problem.focus();
    }
    this.at = 0;
    this.comparisons = [];
    this.show("lab");
    this.open();
  }

  chosenModels() {
    const names = ["model_a", "model_b", "model_c", "model_d"].map((name) => this.form.elements[name].value).filter(Boolean);
    if (names.length < 2) throw new Error("Choose at least two models or routes.");
    return names;
  }

  async chosenPrompts() {
    const { prompt, lines, file, project_file: projectFile } = this.form.elements;
    const found = file.files[0] ? ofFile(file.files[0].name, await file.files[0].text()) : projectFile.value ? await this.promptsOf(projectFile) : lines.checked ? ofLines(prompt.value) : prompt.value.trim() ? [[{ role: "user", content: prompt.value.trim() }]] : [];
    if (!found.length) throw new Error(file.files[0] || projectFile.value ? "There is no prompt in this file." : "Write a prompt, or choose a file of prompts.");
    if (found.length === MOST) announce(`The first ${MOST} prompts are compared.`);
    return found;
  }

  async promptsOf(select) {
    const answer = await fetch(`/v1/files/${encodeURIComponent(select.value)}/content`, { headers: headers() });
    if (!answer.ok) throw new Refused(answer.status, (await answer.json().catch(() => ({}))).error);
    return ofFile(select.selectedOptions[0].dataset.filename, await beginningOf(answer));
  }

  /** The comparison that is next, begun and shown; the one after it begins once this one has its answers. */
  open() {
    const comparison = this.begun(this.at);
    this.part("place").replaceChildren(comparison.whole);
    this.part("progress").textContent = `Prompt ${this.at + 1} of ${this.prompts.length}`;
    this.part("next").textContent = this.at + 1 < this.prompts.length ? "Next prompt" : "Results";
    this.part("next").focus({ preventScroll: true });
    comparison.run().then(() => this.comparisons[this.at] === comparison && this.at + 1 < this.prompts.length && this.isOpen && this.begun(this.at + 1).run());
  }

  begun(place) {
    this.comparisons[place] ??= new Comparison(this.prompts[place], {
      models: this.models,
      settings: (model) => settingsOf(this.form, model),
      system: systemOf(this.form),
      blind: this.form.elements.blind.checked,
      exchanges: this.place.dataset.exchanges,
      changed: () => this.part("results").hidden || this.tally(),
    });
    return this.comparisons[place];
  }

  next() {
    this.current.leave();
    if (this.at + 1 >= this.prompts.length) return this.finish();
    this.at += 1;
    this.open();
  }

  finish() {
    for (const each of this.comparisons) each.leave();
    this.show("results");
    this.tally();
    this.part("results").querySelector("h2").focus();
  }

  tally() {
    this.part("table").replaceChildren(standingsTable(standings(this.models, this.asked)));
    const voted = this.asked.filter((each) => each.vote !== null).length;
    this.part("told").textContent = `${voted} of ${this.asked.length} prompts have a vote.`;
  }

  show(name) {
    for (const each of ["setup", "lab", "results"]) this.part(each).hidden = each !== name;
  }

  save(end, type, text) {
    const url = URL.createObjectURL(new Blob([text], { type }));
    element("a", { href: url, download: `comparison.${end}` }).click();
    URL.revokeObjectURL(url);
  }

  key(event) {
    if (!this.isOpen || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog")) return;
    const column = "1234".indexOf(event.key);
    if (column >= 0 && column < this.models.length) this.current.say(column);
    else if (event.key === "t") this.current.say("tie");
    else if (event.key === "x") this.current.say("both_bad");
    else if (event.key === "n") this.next();
  }
}
