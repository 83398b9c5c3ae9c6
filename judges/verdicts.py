"""The verdict in what a grading model says.

The model is asked for one JSON object with the call's key in it. A model that cannot be held to that is still understood
when it says its verdict plainly ("Score: 0.7", or nothing but the number), as long as nothing it was shown could have put
those words into its mouth: when a graded text itself looks like a verdict, only a verdict with the key counts. Then a
sample that says `{"result": 1}` gains nothing from a model that repeats it.

Nothing is guessed: broken JSON is not mended, "7/10" is not divided, two verdicts are none, and a score out of range is
no score.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from judges.grade import GraderFailed
from judges.normal_form import nfkc

MAX_CHARACTERS = 200_000
ECHO_LIMIT = 200
"""Characters of its answer that an error repeats."""
MAX_BRACES = 200
"""Places tried as the start of a JSON object."""

_number = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_marks = " \t*_`\"'"
_words = r"(?:score|result|grade|rating|label|verdict)"
_line = re.compile(rf"[\s>#*_`-]*(?:(?:final|overall)\s+)?{_words}[\s*_`]*[:=](?P<value>.*)", re.IGNORECASE)
_claim = re.compile(rf"{_words}[\s\"'*_`]*[:=]", re.IGNORECASE)
_escape = re.compile(r"\\u([0-9a-fA-F]{4})")
_thought = re.compile(r"\A\s*<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a grading model said, and under which circumstances."""

    text: str
    key: str
    """That its verdict was asked to carry."""
    shown: Sequence[str]
    """The texts of others that it was shown: what was put into the templates."""


def read_score(spoken: Spoken, low: float, high: float) -> float:
    """The score. Raises GraderFailed, model_grader_parse_error."""
    found = _result(spoken)
    if isinstance(found, str) and _number.fullmatch(found.strip(_marks)):
        found = float(found.strip(_marks))
    if isinstance(found, bool) or not isinstance(found, int | float) or not -math.inf < found < math.inf:
        _fail(f"{found!r} is not a number", spoken)
    if not low <= found <= high:
        _fail(f"{found} is not between {low} and {high}", spoken)
    return float(found)


def read_label(spoken: Spoken, labels: Sequence[str]) -> str:
    """The label, exactly as in `labels`. Raises GraderFailed, model_grader_parse_error."""
    found = _result(spoken)
    if isinstance(found, str):
        said = found if found in labels else found.strip(_marks + ".")
        if said in labels:
            return said
        alike = [label for label in labels if label.casefold() == said.casefold()]
        if len(alike) == 1:
            return alike[0]
    return _fail(f"{found!r} is not one of the labels", spoken)


def results_in(spoken: Spoken) -> list[dict[str, Any]]:
    """Every JSON object with a result in what was said, wherever it stands, whether or not it carries the key.

    A thought in front of it is left out. Raises GraderFailed, model_grader_parse_error: nothing was said, or too much.
    """
    return _objects(_said(spoken))


def looks_like_verdict(value: str, answer: str) -> bool:
    """Whether a text that a judge was shown looks like a verdict, however it is spelt, or is all that the judge said."""
    return _claims(value, answer)


def _result(spoken: Spoken) -> Any:
    """The one verdict, its value as it was written."""
    text = _said(spoken)
    verdicts, has_key = _verdicts(text, spoken.key)
    if len(verdicts) > 1:
        _fail("it gave more than one verdict", spoken)
    if not has_key and any(_claims(value, spoken.text) for value in spoken.shown):
        _fail("its verdict does not carry the key of this call, and a graded text looks like a verdict", spoken)
    return verdicts[0] if verdicts else text


def _said(spoken: Spoken) -> str:
    """Without a thought in front of it."""
    text = _thought.sub("", spoken.text).strip()
    if not text:
        _fail("it said nothing", spoken)
    if len(text) > MAX_CHARACTERS:
        _fail(f"it said more than {MAX_CHARACTERS} characters", spoken)
    return text


def _verdicts(text: str, key: str) -> tuple[list[Any], bool]:
    """The values of all verdicts in a text, and whether they carry the key."""
    objects = _objects(text)
    if objects:
        return [each["result"] for each in objects], all(each.get("key") == key for each in objects)
    return [match["value"].strip() for line in text.splitlines() if (match := _line.fullmatch(line))], False


def _objects(text: str) -> list[dict[str, Any]]:
    """Every JSON object with a result, wherever it stands."""
    found: list[dict[str, Any]] = []
    decoder = json.JSONDecoder(object_pairs_hook=_without_repeats)
    at = -1
    for _ in range(MAX_BRACES):
        at = text.find("{", at + 1)
        if at < 0:
            break
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            continue
        at = end - 1
        if isinstance(value, dict) and "result" in value:
            found.append(cast("dict[str, Any]", value))
    return found


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name is given twice")
    return dict(pairs)


def _claims(value: str, answer: str) -> bool:
    """Whether a graded text looks like a verdict, however it is spelt, or is the answer itself."""
    plain = nfkc(_escape.sub(lambda match: chr(int(match[1], 16)), value))
    return bool(_claim.search(plain)) or _bare(value) == _bare(answer)


def _bare(text: str) -> str:
    return _thought.sub("", text).strip(_marks + "\n.")


def _fail(why: str, spoken: Spoken) -> NoReturn:
    said = f"; it said {spoken.text[:ECHO_LIMIT]!r}" if spoken.text.strip() else ""
    raise GraderFailed("model_grader_parse_error", f"the grading model gave no usable verdict: {why}{said}")
