// What a person says of answers side by side, as judgments.

export const CRITERIA = { clear: "Clarity", accurate: "Accuracy", concise: "Conciseness", rating: "Overall" };
export const LETTERS = ["A", "B", "C", "D"];

/** Pairs of places with what was said of them: the best one over each other one, or a tie, or both bad, of every two. */
export function pairsOf(vote, places) {
  const pairs = places.flatMap((a, number) => places.slice(number + 1).map((b) => [a, b]));
  if (vote === "tie" || vote === "both_bad") return pairs.map(([a, b]) => ({ a, b, value: vote }));
  return pairs.filter((pair) => pair.includes(vote)).map(([a, b]) => ({ a, b, value: a === vote ? "a" : "b" }));
}

/** For POST /v1/judgments. Answer A of a pair is the one that was shown further left.
 *  Args: shown: answers from left to right, those that failed among them; vote: a place, "tie", "both_bad" or null;
 *  ratings: for each place {criterion: 1 to 5}. */
export function judgmentsOf({ shown, vote, ratings, blind }) {
  const places = [...shown.keys()].filter((place) => isAnswer(shown[place]));
  const said = { source: "human", blind };
  const preferences = vote === null ? [] : pairsOf(vote, places).map(({ a, b, value }) => ({
    exchange_id: shown[a].exchange, other_id: shown[b].exchange, criterion: "preference", value, ...said,
    metadata: { order_shown: "ab", columns: String(shown.length), from: "compare" },
  }));
  const rated = places.flatMap((place) => Object.entries(ratings[place] ?? {}).map(([criterion, value]) => ({
    exchange_id: shown[place].exchange, criterion, value, ...said, metadata: { from: "compare" },
  })));
  return [...preferences, ...rated];
}

export const isAnswer = (answer) => Boolean(answer.exchange && !answer.error && !answer.stopped && answer.content);
