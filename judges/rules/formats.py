"""Rules on the form of an answer: json, json_schema, regex, length, language (applied in detection.py)."""

import json
import math
from typing import Any, Literal

from judges.rules import patterns
from judges.rules.languages import KNOWN
from judges.rules.rule import Outcome, Rule, RuleFailed, verdict
from judges.subject import Subject
from judges.words import words

FENCE = "```"


def read_json(text: str, *, fenced: bool) -> Any:
    """Raises ValueError."""
    try:
        return json.loads(_unfenced(text) if fenced else text, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _unfenced(text: str) -> str:
    """Without a Markdown fence around all of it."""
    first, _, rest = text.strip().partition("\n")
    word = first.removeprefix(FENCE).strip()
    if not first.startswith(FENCE) or not rest.endswith(FENCE) or (word and not (word.isascii() and word.isalpha())):
        return text
    return rest.removesuffix(FENCE)


def _finite(number: str) -> float:
    """Numbers beyond a double become infinite, which no schema can be held against."""
    if math.isinf(value := float(number)):
        raise ValueError(f"the number {number[:20]} is too large")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


class Json(Rule, frozen=True, tag="json"):
    """The whole answer is one JSON value."""

    fenced: bool = False
    """A Markdown fence around it is allowed."""
    object: bool = False
    """It must be an object."""

    def problems(self) -> list[str]:
        return []

    def check(self, subject: Subject) -> Outcome:
        try:
            value = read_json(subject.text, fenced=self.fenced)
        except ValueError as error:
            return verdict(False, f"The answer is no JSON: {error}.")
        if self.object and not isinstance(value, dict):
            return verdict(False, "The answer is JSON, but no object.")
        return verdict(True, "The answer is JSON.")


class JsonSchema(Rule, frozen=True, tag="json_schema"):
    """The whole answer is JSON that fits a schema."""

    schema: dict[str, Any] | None = None
    """Left out: the schema of the call's own response_format."""
    fenced: bool = False

    def problems(self) -> list[str]:
        from judges.rules import schemas  # jsonschema, in no process that only stores other rules

        wrong = schemas.problem(self.schema) if self.schema is not None else None
        return [f"schema: {wrong}"] if wrong else []

    def check(self, subject: Subject) -> Outcome:
        schema = self.schema if self.schema is not None else _asked_for(subject)
        try:
            value = read_json(subject.text, fenced=self.fenced)
        except ValueError as error:
            return verdict(False, f"The answer is no JSON: {error}.")
        from judges.rules import schemas  # as above

        faults = schemas.faults(schema, value)
        return verdict(not faults, faults[0] if faults else "The answer fits its schema.", faults=len(faults))


def _asked_for(subject: Subject) -> dict[str, Any]:
    """Raises RuleFailed."""
    wanted: Any = (subject.response_format or {}).get("json_schema")
    schema = wanted.get("schema") if isinstance(wanted, dict) else None
    if not isinstance(schema, dict):
        raise RuleFailed("the rule has no schema, and the call asked for none (response_format)")
    return schema


class Regex(Rule, frozen=True, tag="regex"):
    """The answer matches a pattern, or must not."""

    pattern: str
    """Of Python's `regex`; `(?i)` at its start ignores case, `\\A...\\Z` takes the whole answer."""
    must: Literal["match", "not_match"] = "match"

    def problems(self) -> list[str]:
        wrong = patterns.problem(self.pattern, "pattern")
        return [wrong] if wrong else []

    def check(self, subject: Subject) -> Outcome:
        there = patterns.search(self.pattern, subject.text)
        said = "matches" if there else "does not match"
        return verdict(there == (self.must == "match"), f"The answer {said} the pattern.")


class Length(Rule, frozen=True, tag="length"):
    """The answer has so many characters or words."""

    unit: Literal["characters", "words"] = "characters"
    """Characters of scripts without spaces count as words."""
    least: int = 0
    most: int | None = None

    def problems(self) -> list[str]:
        if self.least < 0 or (self.most is not None and self.most < self.least):
            return ["most: it is at least `least`, and neither is negative."]
        return []

    def check(self, subject: Subject) -> Outcome:
        text = subject.text.strip()
        count = len(text) if self.unit == "characters" else len(words(text))
        fits = self.least <= count and (self.most is None or count <= self.most)
        return verdict(fits, f"The answer has {count} {self.unit}.", count=count)


class Language(Rule, frozen=True, tag="language"):
    """The answer is in one of these languages."""

    languages: tuple[str, ...] = ()
    """ISO 639-1 codes. Empty: the language of the question."""
    least_words: int = 4
    """Of fewer words nobody can tell: they pass."""

    def problems(self) -> list[str]:
        unknown = [code for code in self.languages if code not in KNOWN]
        return [f"languages: '{unknown[0][:20]}' is none of {', '.join(sorted(KNOWN))}."] if unknown else []
