// A review queue by keyboard: the next item is fetched while one reads, and shown at once. What was said is sent behind it; what
// is refused comes back to the screen with everything that was filled in.
import { announce, csrf, fresh } from "./page.js";
import { ReviewForm } from "./review_form.js";
import { pressed } from "./review_keys.js";

export function startReview(root) {
  for (const place of fresh(root, "[data-review]", "Review")) new Review(place).start();
}

class Review {
  constructor(place) {
    this.place = place;
    this.url = place.dataset.review;
    this.form = null;
    /** The next item on its way, as HTML. */
    this.ahead = null;
    /** Items whose decision is on its way: id -> promise. */
    this.pending = new Map();
    /** The last of them. */
    this.sending = Promise.resolve();
    this.lastId = null;
    /** Between two items. */
    this.isMoving = false;
  }

  start() {
    this.place.addEventListener("submit", (event) => this.submitted(event));
    document.addEventListener("keydown", (event) => pressed(this, event));
    const dialog = document.getElementById("review-keys");
    for (const button of document.querySelectorAll("[data-review-keys]")) {
      button.hidden = false;
      button.addEventListener("click", () => dialog.showModal());
    }
    window.addEventListener("beforeunload", (event) => this.pending.size && event.preventDefault());
    this.opened();
  }

  submitted(event) {
    const form = event.target;
    const act = form.matches("[data-review-form]") ? () => this.complete()
      : form.matches("[data-review-skip]") ? () => this.skip()
      : form.matches("[data-review-undo]") ? () => this.undo()
      : form.matches("[data-review-next]") ? () => this.next(new FormData(form))
      : null;
    if (!act) return;
    event.preventDefault();
    act();
  }

  // --- what the keys do ---

  complete() {
    if (!this.form?.form || !this.form.isComplete()) return;
    this.leave(`items/${this.form.id}`, new FormData(this.form.form), "Kept.");
  }

  skip() {
    if (this.form?.form) this.leave(`items/${this.form.id}/skip`, new FormData(), "Skipped.");
  }

  async undo() {
    await Promise.all(this.pending.values());
    const body = new FormData();
    if (this.lastId) body.set("item_id", this.lastId);
    this.ahead = null;
    const answer = await this.ask("undo", body);
    if (!answer.ok) {
      if (this.form) this.ahead = this.fetchAhead();
      return this.tell(answer.message);
    }
    this.lastId = null;
    this.part("told")?.replaceChildren();
    this.show(answer.parts, "Taken back.");
  }

  /** The button that begins, before the browser has given it the focus, or once it has lost it; false where there is none. */
  begin() {
    const form = this.place.querySelector("[data-review-next]");
    form?.requestSubmit();
    return form !== null;
  }

  async next(body = new FormData()) {
    const answer = await this.ask("next", body);
    if (answer.ok) this.show(answer.parts);
    else this.tell(answer.message);
  }

  openKeys() {
    document.getElementById("review-keys").showModal();
  }

  toggleDifferences() {
    this.place.querySelector("[data-word-diff]")?.click();
  }

  // --- what goes on behind them ---

  /** Go on to the next item at once, and send what was said of this one behind it. */
  async leave(path, body, done) {
    const left = { article: this.form.article, form: this.form };
    const ahead = this.ahead ?? this.fetchAhead();
    this.form = null;
    this.ahead = null;
    const sent = this.send(path, body);
    this.pending.set(left.form.id, sent);
    this.isMoving = true;
    const next = await ahead;
    this.isMoving = false;
    if (next.ok) this.show(next.parts, done);
    else this.tell(next.message);
    const answer = await sent;
    this.pending.delete(left.form.id);
    if (!answer.ok) return this.comeBack(left, answer);
    left.form.forgetDraft();
    this.lastId = left.form.id;
    this.put(answer.parts, ["told", "progress"]);
    // With the last word said, nothing is left, or what others have left meanwhile.
    if (!this.isMoving && !this.form && !this.pending.size) await this.next();
  }

  /** One after the other: the latest decision is the one that is taken back. */
  send(path, body) {
    this.sending = this.sending.then(() => this.ask(path, body, { keepalive: true }));
    return this.sending;
  }

  /** A decision that was refused, or did not arrive: its item is on the screen again, as it was. */
  comeBack(left, answer) {
    const item = this.part("item");
    if (answer.parts?.has("item")) this.put(answer.parts, ["item", "progress"]);
    else item.replaceChildren(left.article);
    this.ahead = null;
    this.opened();
    this.tell(answer.message);
  }

  show(parts, done = "") {
    this.put(parts, ["item", "progress"]);
    this.opened();
    const heading = this.place.querySelector("#item-heading");
    heading?.focus();
    window.scrollTo({ top: 0 });
    announce(`${done} ${heading?.textContent ?? ""}`.trim());
  }

  /** There is another item on the screen. */
  opened() {
    const article = this.place.querySelector("[data-item]");
    this.form = article ? new ReviewForm(article) : null;
    if (this.form?.form) this.ahead = this.fetchAhead();
  }

  fetchAhead() {
    const body = new FormData();
    body.set("besides", [...this.pending.keys(), this.form?.id].filter(Boolean).join(","));
    return this.ask("next", body);
  }

  /** What went wrong, above the item. */
  tell(message) {
    this.part("item").querySelector(":scope > .notice")?.remove();
    const notice = document.createElement("p");
    notice.className = "notice bad";
    notice.setAttribute("role", "alert");
    notice.textContent = message;
    this.part("item").prepend(notice);
  }

  part(name) {
    return this.place.querySelector(`[data-part="${name}"]`);
  }

  put(parts, names) {
    for (const name of names) if (parts.has(name)) this.part(name)?.replaceChildren(...parts.get(name).cloneNode(true).childNodes);
  }

  /** Post a form to the page's own URLs; parts of the page come back. Never raises. */
  async ask(path, body, options = {}) {
    const fields = new URLSearchParams(body);
    fields.set("_csrf", csrf());
    try {
      const answer = await fetch(`${this.url}/${path}`, { method: "POST", body: fields, headers: { "hx-request": "true" }, ...options });
      const away = answer.headers.get("hx-redirect");
      if (away) location.assign(away);
      return partsOf(await answer.text(), answer.ok);
    } catch {
      return { ok: false, message: "The gateway cannot be reached. What you said is still here: try again.", parts: null };
    }
  }
}

function partsOf(html, ok) {
  const made = new DOMParser().parseFromString(html, "text/html");
  const parts = new Map([...made.querySelectorAll("[data-part]")].map((each) => [each.dataset.part, each]));
  const refusal = made.querySelector("[role=alert]") ?? made.querySelector("main p, .empty p, body p");
  return { ok, parts, message: refusal?.textContent.trim() || "This could not be kept. Try again." };
}

