// One answer of a model on the page: its text while it comes, then what it called, what it cost, and what is thought of it.
import { button, element } from "./element.js";
import { exchangeOf } from "./completions.js";
import { figuresOf } from "./figures.js";
import { announce, call } from "./page.js";
import { growing } from "./streaming_text.js";

/** A place for an answer: `text` grows; `settle` shows the rest once it has ended. */
export function answerPlace(title) {
  const text = element("div", { class: "answer-text" });
  const rest = element("div", { class: "answer-rest" });
  const whole = element("article", { class: "message assistant", "aria-busy": "true" }, element("h3", { class: "role" }, title), text, rest);
  const grown = growing(text);
  return { whole, text, rest, grown };
}

/** Everything but the figures that the log tells later. */
export function settled(place, answer) {
  place.grown.end();
  place.whole.removeAttribute("aria-busy");
  if (answer.error) place.rest.append(element("p", { class: "notice bad", role: "alert" }, answer.error));
  if (answer.stopped) place.rest.append(element("p", { class: "note" }, "Stopped."));
  if (!answer.error && !answer.stopped && !answer.content && !answer.tool_calls.length) {
    place.rest.append(element("p", { class: "note" }, "The model said nothing."));
  }
  for (const each of answer.tool_calls) place.rest.append(toolCall(each));
}

function toolCall(each) {
  return element("div", { class: "tool-call" }, element("p", { class: "note" }, "Calls ", element("code", {}, each.function.name)), element("pre", { tabindex: "0", "aria-label": `Arguments of ${each.function.name}` }, indented(each.function.arguments)));
}

function indented(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/** Latency, tokens and cost, and the way to the exchange. Filled again when the log knows the cost. */
export function figuresPlace(answer, exchanges, changed = () => {}) {
  const place = element("dl", { class: "answer-figures" });
  const fill = () => place.replaceChildren(...figuresOf(answer).map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))), ...link(answer, exchanges));
  fill();
  if (answer.cost === undefined) {
    learn(answer).then(() => {
      fill();
      changed();
    });
  }
  return place;
}

const learning = new WeakMap();

/** Cost, and usage where the stream told none; asked once. */
export function learn(answer) {
  if (!learning.has(answer)) learning.set(answer, ask(answer));
  return learning.get(answer);
}

async function ask(answer) {
  const known = await exchangeOf(answer);
  answer.cost = known?.cost_nano ?? null;
  if (known?.usage && !answer.usage) {
    answer.usage = { prompt_tokens: known.usage.input_tokens, completion_tokens: known.usage.output_tokens };
  }
  return answer;
}

function link(answer, exchanges) {
  if (!answer.exchange) return [];
  return [element("div", {}, element("dt", {}, "Log"), element("dd", {}, element("a", { href: `${exchanges}/${answer.exchange}` }, "Exchange")))];
}

/** Whether the answer is JSON, where that was asked for. */
export function jsonBadge(answer, format) {
  if (!format || answer.error || !answer.content) return null;
  let good = true;
  try {
    JSON.parse(answer.content);
  } catch {
    good = false;
  }
  return element("span", { class: `badge ${good ? "good" : "bad"}` }, good ? "Valid JSON" : "Not JSON");
}

/** Two buttons, of which one is pressed at most. */
export function thumbs(answer, changed) {
  const made = { up: null, down: null };
  const show = () => Object.entries(made).forEach(([name, each]) => each.setAttribute("aria-pressed", String(answer.thumbs === name)));
  const say = async (name) => {
    try {
      await call("POST", "/v1/feedback", { completion_id: answer.exchange, thumbs: name });
      answer.thumbs = name;
      show();
      changed();
      announce("Your feedback is kept.");
    } catch (error) {
      announce(error.message);
      made[name].after(element("span", { class: "note", role: "alert" }, error.message));
    }
  };
  made.up = button("Good answer", () => say("up"));
  made.down = button("Bad answer", () => say("down"));
  show();
  return [made.up, made.down];
}
