// How figures are written.

const DASH = "\u2013";
const COUNT = new Intl.NumberFormat("en");

export function seconds(ms) {
  if (ms === null || ms === undefined) return DASH;
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
}

export const count = (value) => (value === null || value === undefined ? DASH : COUNT.format(value));

/** Dollars of nano-dollars: to the cent and, of what is less, to three digits that count. */
export function dollars(nano) {
  if (nano === null || nano === undefined) return DASH;
  const usd = nano / 1e9;
  if (usd === 0) return "$0";
  if (usd >= 1) return `$${COUNT.format(Number(usd.toFixed(2)))}`;
  return `$${usd.toFixed(Math.min(9, 2 - Math.floor(Math.log10(usd))))}`;
}

export const percent = (share) => (share === null || share === undefined ? DASH : `${(100 * share).toFixed(1)}%`);

/** Mean of what is there; null of nothing. */
export function mean(values) {
  const there = values.filter((each) => each !== null && each !== undefined);
  return there.length ? there.reduce((sum, each) => sum + each, 0) / there.length : null;
}

/** Wilson's 95% interval of a mean between 0 and 1 of `n` values (E. B. Wilson, 1927); null of none. */
export function wilson(share, n) {
  if (!n) return null;
  const z = 1.959964, square = z * z;
  const middle = (share + square / (2 * n)) / (1 + square / n);
  const half = (z / (1 + square / n)) * Math.sqrt((share * (1 - share)) / n + square / (4 * n * n));
  return [Math.max(0, middle - half), Math.min(1, middle + half)];
}

/** Of an answer, once the log has told its cost. */
export function figuresOf(answer) {
  const tokens = answer.usage ? `${count(answer.usage.prompt_tokens)} in, ${count(answer.usage.completion_tokens)} out` : DASH;
  return [
    ["First token", seconds(answer.first)],
    ["Total", seconds(answer.total)],
    ["Tokens", tokens],
    ["Cost", answer.cost === undefined ? "\u2026" : dollars(answer.cost)],
  ];
}
