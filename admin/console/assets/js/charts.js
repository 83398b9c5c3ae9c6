// Charts: <figure data-chart> with its figures as JSON. Beside each is the same as a table, for who cannot see it.
import uPlot from "uplot";
import { fresh } from "./page.js";

const HEIGHTS = { small: 120, medium: 220, large: 320 };
const shown = new Set();
let isPrinting = false;

export function startCharts(root) {
  for (const figure of fresh(root, "figure[data-chart]", "Chart")) show(figure);
}

/** Draw, or draw anew with other figures: {x, series: [{label, values, unit, kind}], seconds}. */
export function show(figure, figures = JSON.parse(figure.querySelector("script").textContent)) {
  const place = figure.querySelector(".plot");
  figure.chart?.plot.destroy();
  const old = figure.querySelector("details");
  figure.append(asTable(figure, figures, old?.open));
  old?.remove();
  if (!figures.x.length) {
    place.textContent = "Nothing yet.";
    return;
  }
  place.textContent = "";
  const plot = new uPlot(options(figure, figures), [figures.x, ...figures.series.map((each) => each.values)], place);
  const isNew = !figure.chart;
  figure.chart = { plot, figures };
  shown.add(figure);
  if (isNew) listen(figure, place);
}

/** Once for each figure, however often it is drawn anew. */
function listen(figure, place) {
  if (figure.dataset.link) place.addEventListener("click", () => follow(figure));
  new ResizeObserver(() => figure.chart.plot.setSize({ width: place.clientWidth, height: height(figure) })).observe(place);
}

function height(figure) {
  return HEIGHTS[[...figure.classList].find((each) => each in HEIGHTS)] ?? HEIGHTS.medium;
}

/** What a variable of colors.css comes to in the theme that shows, as rgb(): its own text has both themes. Paper is light. */
function color(name) {
  const probe = document.body.appendChild(document.createElement("i"));
  probe.style.colorScheme = isPrinting ? "light" : "";
  probe.style.color = `var(${name})`;
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

/** As wide as the longest of its labels, in pixels. */
function room(plot, labels) {
  return 22 + 7 * Math.max(5, ...(labels ?? []).map((each) => each.length));
}

function faint(color) {
  return color.replace("rgb(", "rgba(").replace(")", ", 0.13)");
}

function options(figure, figures) {
  const axis = { stroke: color("--muted"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false } };
  const isTime = figures.time !== false;
  return {
    width: figure.querySelector(".plot").clientWidth || 300,
    height: height(figure),
    scales: { x: { time: isTime }, y: { range: (plot, low, high) => [Math.min(0, low ?? 0), (high ?? 1) * 1.05 || 1] } },
    axes: [axis, { ...axis, size: room, values: (plot, ticks) => ticks.map((each) => written(each, figures.series[0]?.unit)) }],
    legend: { live: true },
    cursor: { drag: { x: false, y: false } },
    series: [
      figures.xLabel ? { label: figures.xLabel } : {},
      ...figures.series.map((each, at) => ({
        label: each.label,
        stroke: color(`--series-${(at % 6) + 1}`),
        width: 2,
        fill: each.kind === "area" ? faint(color(`--series-${(at % 6) + 1}`)) : undefined,
        paths: each.kind === "bars" ? uPlot.paths.bars({ size: [0.7, 40] }) : undefined,
        points: { show: true, filter: () => alone(each.values) },
        spanGaps: true,
        value: (plot, value) => (value == null ? "–" : written(value, each.unit)),
      })),
    ],
  };
}

/** Values that no line leads to are drawn as points: uPlot asks for their places. */
function alone(values) {
  const known = values.map((value, at) => (value == null ? -1 : at)).filter((at) => at >= 0);
  return known.length < 3 ? known : [];
}

export function written(value, unit) {
  const digits = Math.abs(value) >= 100 || Number.isInteger(value) ? 0 : Math.abs(value) >= 1 ? 2 : 4;
  const isTiny = value !== 0 && Math.abs(value) < 0.001;
  const number = value.toLocaleString(undefined, isTiny ? { maximumSignificantDigits: 3 } : { maximumFractionDigits: digits });
  if (unit === "usd") return `$${number}`;
  if (unit === "share") return `${(value * 100).toFixed(1)}%`;
  return unit ? `${number} ${unit}` : number;
}

/** The exchanges behind the point under the pointer: `link` with {from} and {to}. */
function follow(figure) {
  const { plot, figures } = figure.chart;
  if (plot.cursor.idx == null) return;
  location.assign(behind(figure, figures, figures.x[plot.cursor.idx]));
}

function behind(figure, figures, from) {
  const to = from + (figures.seconds ?? 3600);
  return figure.dataset.link.replace("{from}", from).replace("{to}", to);
}

/** Stays open when the figures move. */
function asTable(figure, figures, isOpen = false) {
  const details = document.createElement("details");
  const summary = document.createElement("summary");
  summary.textContent = "As a table";
  details.append(summary);
  if (isOpen) details.append(rows(figure, figures));
  details.open = isOpen;
  details.addEventListener("toggle", () => details.open && details.childElementCount === 1 && details.append(rows(figure, figures)));
  return details;
}

function rows(figure, figures) {
  const table = document.createElement("table");
  const head = table.createTHead().insertRow();
  for (const text of [figures.xLabel ?? "Time", ...figures.series.map((each) => each.label)]) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = text;
    head.append(cell);
  }
  const body = table.createTBody();
  figures.x.forEach((x, at) => {
    const row = body.insertRow();
    row.insertCell().append(figure.dataset.link ? link(behind(figure, figures, x), name(figures, x)) : name(figures, x));
    for (const each of figures.series) {
      row.insertCell().textContent = each.values[at] == null ? "–" : written(each.values[at], each.unit);
    }
  });
  return table;
}

function name(figures, x) {
  return figures.time === false ? String(x) : new Date(x * 1000).toLocaleString();
}

function link(url, text) {
  const found = document.createElement("a");
  found.href = url;
  found.textContent = text;
  return found;
}

function drawAnew() {
  for (const figure of shown) {
    if (figure.isConnected) show(figure, figure.chart.figures);
    else shown.delete(figure);
  }
}

document.addEventListener("theme", drawAnew);
for (const [name, is] of [["beforeprint", true], ["afterprint", false]]) {
  addEventListener(name, () => {
    isPrinting = is;
    drawAnew();
  });
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAnew);
