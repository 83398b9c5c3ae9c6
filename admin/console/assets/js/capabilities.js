// What a model or a route can do: nobody tells, so it is tried, with three short questions.
import { complete, newAnswer } from "./completions.js";
import { element } from "./element.js";
import { announce, fresh, project } from "./page.js";

const COLOR = { type: "object", properties: { color: { type: "string" } }, required: ["color"], additionalProperties: false };
const WEATHER = { type: "function", function: { name: "get_weather", description: "The weather of a city", parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] } } };
const MOST = { max_tokens: 60 };

const TRIES = {
  Tools: { ask: "What is the weather in Paris? Use the tool.", body: { tools: [WEATHER] }, holds: (answer) => answer.tool_calls.length > 0 },
  "JSON mode": { ask: "Name a color as JSON, like {\"color\": \"red\"}.", body: { response_format: { type: "json_object" } }, holds: (answer) => parsed(answer) instanceof Object },
  "JSON schema": { ask: "Name a color.", body: { response_format: { type: "json_schema", json_schema: { name: "color", schema: COLOR, strict: true } } }, holds: (answer) => typeof parsed(answer)?.color === "string" },
};

export function startCapabilities(root) {
  for (const place of fresh(root, "[data-capabilities]", "Capabilities")) {
    const select = place.closest("form").elements.model;
    const show = () => draw(place, kept(select.value));
    place.querySelector("button").addEventListener("click", () => find(place, select.value).then(show));
    select.addEventListener("change", show);
    show();
  }
}

async function find(place, model) {
  const trying = place.querySelector("button");
  trying.disabled = true;
  const found = await Promise.all(Object.entries(TRIES).map(async ([name, { ask, body, holds }]) => {
    const answer = await complete({ model, messages: [{ role: "user", content: ask }], ...MOST, ...body }, newAnswer(model));
    return [name, { works: !answer.error && holds(answer), why: answer.error ?? "" }];
  }));
  trying.disabled = false;
  sessionStorage.setItem(`can:${project()}:${model}`, JSON.stringify(Object.fromEntries(found)));
  announce(found.map(([name, { works }]) => `${name}: ${works ? "works" : "does not work"}`).join(", "));
}

const kept = (model) => JSON.parse(sessionStorage.getItem(`can:${project()}:${model}`) ?? "null");

function draw(place, found) {
  place.querySelector("[data-badges]").replaceChildren(...Object.entries(found ?? {}).map(badge));
}

function badge([name, { works, why }]) {
  return element("span", { class: `badge ${works ? "good" : "plain"}`, title: why || null }, `${name}: ${works ? "works" : "not seen"}`);
}

function parsed(answer) {
  try {
    return JSON.parse(answer.content);
  } catch {
    return undefined;
  }
}
