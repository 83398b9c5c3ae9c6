"""From what was gathered to what to do: findings, each with a suggestion, and a score.

The thresholds are those of the guided fine-tuning that this report is modelled on: more than 5 % missing values, more than
2 % duplicates, 10:1 between input and output, fewer than 100 examples, more than a million, inputs under 10 tokens, outputs
over 1000.

The score starts at 100. Unusable examples cost 20 points and 80 times their share more; fewer than ten examples cost 50;
each other warning costs 10, a note 2.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.datasets.quality import Mark, Quality
from gateway.protocol.datasets import Finding, Format, SuggestedSplit, Tokens

MIN_EXAMPLES = 10
"""OpenAI's least."""
FEW, MANY = 100, 1_000_000
MISSING, DUPLICATES, REPEATED = 0.05, 0.02, 0.10
IMBALANCE = 10.0
SHORT_INPUT, LONG_OUTPUT = 10, 1000
MIXED = (0.01, 0.80)
"""Share of answers in another script than their question: below, it is chance; above, it is a translation task."""
VALIDATION_SHARE = 0.2


@dataclass(frozen=True)
class Told:
    """What is said of examples with a mark. `{n}` is their number."""

    level: str
    message: str
    suggestion: str
    threshold: float = 0.0
    """Share that must be exceeded for `level`; below it is a note."""


MARKS: dict[str, Told] = {
    "missing_values": Told(
        "warn", "{n} with an empty question or answer",
        "Fill them in or remove them: the model would learn to answer nothing.", MISSING,
    ),
    "encoding": Told(
        "warn", "{n} with damaged or unreadable characters",
        "Export the source again as UTF-8, or repair the texts: the model would learn to write such characters.", 0.01,
    ),
    "no_user": Told(
        "warn", "{n} without a user message",
        "Add the question: some models' chat templates refuse such conversations, and nothing is asked in them.",
    ),
    "trailing": Told(
        "info", "{n} with messages after the last answer",
        "What comes after the last answer is never learnt; cut it off to train faster.",
    ),
    "unanswered_calls": Told(
        "warn", "{n} with a tool call that is followed by something else than its result",
        "Add the tool message: a model that is served never sees such a conversation.",
    ),
    "same_answers": Told(
        "warn", "{n} with the same preferred and non-preferred answer",
        "Remove them: there is nothing to prefer.",
    ),
}  # fmt: skip


def findings_of(quality: Quality, tokens: Tokens, *, examples: int, bad: Mark, wanted: Format) -> list[Finding]:
    """Everything worth telling, the worst first. `examples` counts the bad ones too."""
    found = [*_size(examples, bad), *_marked(quality), *_repeats(quality), *_lengths(quality, tokens, wanted)]
    order = {"error": 0, "warn": 1, "info": 2}
    return sorted(found, key=lambda finding: order[finding.level])


def score_of(findings: list[Finding]) -> int:
    """0 to 100, as the module says."""
    points = 100.0
    for finding in findings:
        if finding.code == "bad_examples":
            points -= 20 + 80 * finding.share
        elif finding.level == "error":
            points -= 50
        else:
            points -= 10 if finding.level == "warn" else 2
    return max(0, round(points))


def suggested_split(good: int) -> SuggestedSplit | None:
    """80/20, when that leaves enough to train on."""
    validation = round(good * VALIDATION_SHARE)
    if not validation or good - validation < MIN_EXAMPLES:
        return None
    return SuggestedSplit(training=good - validation, validation=validation)


def _size(examples: int, bad: Mark) -> Iterator[Finding]:
    if bad.count:
        yield _finding(
            "bad_examples", "error", f"{_examples(bad.count)} that cannot be used", "Mend or remove them; each problem says how.",
            examples, bad,
        )  # fmt: skip
    good = Mark(examples - bad.count)
    if good.count < MIN_EXAMPLES:
        message = f"only {_examples(good.count)}, and training needs at least {MIN_EXAMPLES}"
        yield _finding("few_examples", "error", message, "Add more; 100 or more is a good start.", examples, good)
    elif good.count < FEW:
        message = f"only {_examples(good.count)}; results get dependable from about {FEW}"
        yield _finding("few_examples", "warn", message, "Add more varied examples.", examples, good)
    elif good.count > MANY:
        message = f"{_examples(good.count)}: training takes long"
        yield _finding(
            "many_examples", "info", message, "Try a part of them first; more is seldom better.", examples, good
        )


def _marked(quality: Quality) -> Iterator[Finding]:
    for code, told in MARKS.items():
        mark = quality.marks.get(code)
        if mark:
            level = told.level if mark.count > told.threshold * quality.examples else "info"
            message = told.message.format(n=_examples(mark.count))
            yield _finding(code, level, message, told.suggestion, quality.examples, mark)
    mark = quality.marks.get("language_mismatch")
    if mark and mark.count > MIXED[0] * quality.examples:
        task = mark.count >= MIXED[1] * quality.examples
        suggestion = "Fine for translation." if task else "Check them: the model would answer in either, unpredictably."
        message = f"{_examples(mark.count)} with the answer in another script than the question"
        yield _finding(
            "language_mismatch", "info" if task else "warn", message, suggestion, quality.examples, mark
        )  # fmt: skip


def _repeats(quality: Quality) -> Iterator[Finding]:
    exact = Mark(quality.exact.repeats, quality.exact.lines)
    if exact.count:
        level = "warn" if exact.count > DUPLICATES * quality.examples else "info"
        message = f"{_examples(exact.count)} repeated word for word"
        suggestion = "Keep one of each: repeated examples are learnt by heart, at the cost of the others."
        yield _finding("duplicates", level, message, suggestion, quality.examples, exact)
    near = Mark(quality.repeated_answers, quality.answers.lines)
    if near.count > REPEATED * quality.examples:
        message = f"{near.count:,} answers are nearly the same as another example's"
        suggestion = "Vary the answers, or keep fewer of a kind, unless a fixed wording is the aim."
        yield _finding("repeated_answers", "warn", message, suggestion, quality.examples, near)


def _lengths(quality: Quality, tokens: Tokens, wanted: Format) -> Iterator[Finding]:
    if not quality.examples:
        return
    every = Mark(quality.examples)
    given, learnt = tokens.mean_input, tokens.mean_output / (2 if wanted == "preference" else 1)
    longer, shorter = max(given, learnt), max(min(given, learnt), 1.0)
    if longer > IMBALANCE * shorter:
        which = "inputs are" if given > learnt else "answers are"
        message = f"{which} {longer / shorter:.0f} times as long as the other side ({given:.0f} to {learnt:.0f} tokens)"
        suggestion = "Shorten the long side, or make sure that the short side says all it should."
        yield _finding("length_imbalance", "warn", message, suggestion, quality.examples, every)
    if given < SHORT_INPUT:
        message = f"inputs have {given:.1f} tokens on average"
        yield _finding("short_inputs", "warn", message, "Give the model more to go by.", quality.examples, every)
    if learnt > LONG_OUTPUT:
        message = f"answers have {learnt:.0f} tokens on average"
        suggestion = "Shorter answers train faster and are cut less often; split them if you can."
        yield _finding("long_outputs", "warn", message, suggestion, quality.examples, every)
    if tokens.over_long:
        over = Mark(tokens.over_long, quality.over_long_lines(tokens))
        message = f"{_examples(over.count)} longer than the context of {tokens.context_length:,} tokens"
        suggestion = "They are cut at the end; shorten or split them so that the answer is not lost."
        yield _finding("over_long", "warn", message, suggestion, quality.examples, over)


def _finding(code: str, level: str, message: str, suggestion: str, examples: int, mark: Mark) -> Finding:
    return Finding(
        code=code,
        level=level,  # pyright: ignore[reportArgumentType]
        message=message,
        suggestion=suggestion,
        count=mark.count,
        share=round(mark.count / examples, 4) if examples else 0.0,
        lines=mark.lines,
    )


def _examples(count: int) -> str:
    return f"{count:,} example" if count == 1 else f"{count:,} examples"
