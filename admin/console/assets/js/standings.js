// What comparisons come to: a table, and the same to take along.
import { element } from "./element.js";
import { count, dollars, mean, percent, seconds, wilson } from "./figures.js";
import { CRITERIA, isAnswer, pairsOf } from "./votes.js";

const POINTS = { a: 1, b: 0, tie: 0.5, both_bad: 0.5 };
const HEADS = ["Model", "Prompts voted", "Win rate (95% interval)", "Best", ...Object.values(CRITERIA), "First token", "Total", "Tokens out", "Cost"];

/** For each model what was measured; of several pairs of one prompt the mean counts once, so repeats narrow nothing. */
export function standings(models, comparisons) {
  return models.map((model, number) => {
    const own = comparisons.map((each) => ({ each, place: each.order.indexOf(number), answer: each.answers[number] }));
    const answered = own.filter(({ answer }) => answer && isAnswer(answer));
    const points = answered.map(({ each, place }) => pointsOf(each, place)).filter((value) => value !== null);
    const winRate = mean(points);
    return {
      model,
      voted: points.length,
      win_rate: winRate,
      interval: winRate === null ? null : wilson(winRate, points.length),
      best: own.filter(({ each, place }) => each.vote === place).length,
      ratings: Object.fromEntries(Object.keys(CRITERIA).map((name) => [name, ratingsOf(answered, name)])),
      first_ms: mean(answered.map(({ answer }) => answer.first)),
      total_ms: mean(answered.map(({ answer }) => answer.total)),
      tokens: mean(answered.map(({ answer }) => answer.usage?.completion_tokens)),
      cost_nano: mean(answered.map(({ answer }) => answer.cost)),
      failed: own.filter(({ answer }) => answer?.error).length,
    };
  });
}

function pointsOf(comparison, place) {
  if (comparison.vote === null) return null;
  const shown = comparison.order.map((number) => comparison.answers[number]);
  const places = [...shown.keys()].filter((each) => isAnswer(shown[each]));
  return mean(pairsOf(comparison.vote, places).filter(({ a, b }) => a === place || b === place).map(({ a, value }) => (a === place ? POINTS[value] : 1 - POINTS[value])));
}

function ratingsOf(answered, name) {
  const given = answered.map(({ each, place }) => each.ratings[place]?.[name]).filter((value) => value !== undefined);
  return { mean: mean(given), n: given.length };
}

export function standingsTable(rows) {
  const cells = (row) => [
    count(row.voted),
    row.interval ? `${percent(row.win_rate)} (${percent(row.interval[0])} to ${percent(row.interval[1])})` : "\u2013",
    count(row.best),
    ...Object.keys(CRITERIA).map((name) => rated(row.ratings[name])),
    seconds(row.first_ms),
    seconds(row.total_ms),
    row.tokens === null ? "\u2013" : row.tokens.toFixed(1),
    dollars(row.cost_nano),
  ];
  const head = element("tr", {}, ...HEADS.map((text, place) => element("th", { scope: "col", class: place ? "number" : null }, text)));
  const body = rows.map((row) => element("tr", {}, element("th", { scope: "row", class: "nowrap" }, row.model, row.failed ? element("span", { class: "note" }, ` ${row.failed} failed`) : null), ...cells(row).map((text) => element("td", { class: "number" }, text))));
  return element("table", {}, element("caption", { class: "hidden" }, "Standings"), element("thead", {}, head), element("tbody", {}, ...body));
}

const rated = ({ mean: value, n }) => (n ? `${value.toFixed(2)} (n=${n})` : "\u2013");

/** One line for each answer. */
export function linesOf(models, comparisons) {
  return comparisons.flatMap((each, number) => each.order.map((model, place) => {
    const answer = each.answers[model] ?? {};
    return {
      prompt_number: number + 1,
      prompt: JSON.stringify(each.prompt),
      model: models[model],
      place_shown: place + 1,
      answer: answer.content ?? "",
      error: answer.error ?? "",
      vote: each.vote === null ? "" : each.vote === place ? "best" : typeof each.vote === "string" ? each.vote : "not best",
      ...Object.fromEntries(Object.keys(CRITERIA).map((name) => [name, each.ratings[place]?.[name] ?? ""])),
      first_ms: answer.first ?? "",
      total_ms: answer.total ?? "",
      prompt_tokens: answer.usage?.prompt_tokens ?? "",
      completion_tokens: answer.usage?.completion_tokens ?? "",
      cost_nano: answer.cost ?? "",
      exchange_id: answer.exchange ?? "",
      blind: each.blind,
    };
  }));
}

export function csvOf(lines) {
  const names = Object.keys(lines[0] ?? {});
  return [names, ...lines.map((line) => names.map((name) => line[name]))].map((row) => row.map(cell).join(",")).join("\r\n");
}

/** A spreadsheet would take a text that begins so for a formula (OWASP, CSV Injection). */
function cell(value) {
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
