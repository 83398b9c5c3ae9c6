"""What a reviewer is asked, and what they say, as forms have it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from admin.console.api import Json

PREFIX = "value."
MOST_OPTIONS = 9
"""Each has a key."""
SIDES = (
    ("first", "Answer 1 is better"),
    ("second", "Answer 2 is better"),
    ("tie", "Equally good"),
    ("both_bad", "Both are bad"),
)
STRENGTHS = (("", "Not said"), ("1", "Slightly"), ("2", "Clearly"), ("3", "Much"))
TAGS = ("hallucination", "incomplete", "off topic", "too long", "tone", "format", "refusal", "unsafe")
"""Suggestions: any others will do."""
YES_NO = (("true", "Yes"), ("false", "No"))
THUMBS = (("true", "Thumbs up"), ("false", "Thumbs down"))
PLAIN = ("thumbs", "preference")
"""Criteria whose options say everything."""


@dataclass(frozen=True, slots=True)
class Question:
    """One criterion, as a field of the form."""

    name: str
    """Of the field."""
    title: str
    help: str
    options: list[tuple[str, str]]
    """Empty: a number is typed."""
    lowest: float | None = None
    highest: float | None = None


def questions_of(queue: Json) -> list[Question]:
    return [_question(each) for each in queue["criteria"]]


def _question(each: Json) -> Question:
    title = each["name"].replace("_", " ").capitalize()
    options = _options(each)
    told = "" if each["name"] in PLAIN else each["description"]
    return Question(PREFIX + each["name"], title, told, options, each["lowest"], each["highest"])


def _options(each: Json) -> list[tuple[str, str]]:
    if each["kind"] == "pairwise":
        return list(SIDES)
    if each["kind"] == "boolean":
        return list(THUMBS if each["name"] == "thumbs" else YES_NO)
    if each["kind"] == "categorical":
        return [(label, label) for label in each["labels"]]
    low, high = each["lowest"], each["highest"]
    if low == int(low) and high == int(high) and high - low < MOST_OPTIONS:
        return [(str(value), str(value)) for value in range(int(low), int(high) + 1)]
    return []


def decision_of(queue: Json, form: Mapping[str, Any], item: Json | None) -> dict[str, Any]:
    """The body of a decision.

    Args:
        item: to tell an edited answer from one that was left as it is; None when there is no edit in the form.
    """
    given = {each["name"]: _value(each, form.get(PREFIX + each["name"])) for each in queue["criteria"]}
    wanted: dict[str, Any] = {"values": {name: value for name, value in given.items() if value is not None}}
    if tags := [tag.strip() for tag in form.get("tags", "").split(",") if tag.strip()]:
        wanted["tags"] = tags
    if comment := _text(form.get("comment")):
        wanted["comment"] = comment
    if strength := form.get("strength"):
        wanted["strength"] = int(strength) if strength.isdigit() else strength
    if item is not None and (correction := _correction(item, form)) is not None:
        wanted["correction"] = correction
    return wanted


def _value(criterion: Json, raw: str | None) -> Any:
    """What it cannot be goes to the API as it is, which says so."""
    if not raw:
        return None
    if criterion["kind"] == "boolean":
        return {"true": True, "false": False}.get(raw, raw)
    if criterion["kind"] == "numeric":
        try:
            return float(raw) if "." in raw else int(raw)
        except ValueError:
            return raw
    return raw


def _correction(item: Json, form: Mapping[str, Any]) -> Any:
    """The whole message with another text: calls of tools stay. None: nothing was changed."""
    message = item["answers"][0]["message"]
    text = _text(form.get("correction"))
    if not text or text == text_of(message).strip():
        return None
    return message | {"content": text, "refusal": None}


def _text(value: str | None) -> str:
    """Browsers end lines of a form with CR LF."""
    return (value or "").replace("\r\n", "\n").strip()


def text_of(message: Json) -> str:
    """What of a message can be read and edited."""
    content = message.get("content")
    if isinstance(content, list):
        content = "\n".join(part["text"] for part in content if isinstance(part, dict) and "text" in part)
    return content if isinstance(content, str) else message.get("refusal") or ""


def calls_of(message: Json) -> list[str]:
    """The calls of tools in a message, each in one line."""
    calls = [each.get("function") or {} for each in message.get("tool_calls") or ()]
    return [f"{each.get('name')}({each.get('arguments')})" for each in calls]


def summary_of(item: Json) -> str:
    """What was just said, and what judges had said, in one line: for those without scripts."""
    verdicts = [f"{each['criterion']}: {verdict_of(each, item)}" for each in item["verdicts"] or ()]
    return "Kept." + (f" Judges said: {', '.join(verdicts[:5])}." if verdicts else "")


def verdict_of(judgment: Json, item: Json) -> str:
    """What a judgment says, in a word or a number."""
    if judgment["status"] != "ok":
        return judgment["error_code"] or judgment["status"]
    if judgment["preference"] is not None:
        return _preferred(judgment, item)
    value = judgment["label"] if judgment["label"] is not None else judgment["value"]
    if isinstance(value, bool):
        yes, no = ("up", "down") if judgment["criterion"] == "thumbs" else ("yes", "no")
        return yes if value else no
    if isinstance(value, (int, float)):
        return f"{value:g}"
    if value is None and judgment["score"] is not None:
        return f"{judgment['score']:.2f}"
    return str(value or judgment["rationale"] or "edited")


def _preferred(judgment: Json, item: Json) -> str:
    """`a` is the judgment's first answer, wherever the person saw it."""
    if judgment["preference"] not in ("a", "b"):
        return {"both_bad": "both are bad", "tie": "equally good"}[judgment["preference"]]
    which = "" if judgment["preference"] == "a" else "other_"
    return f"answer {_number_of(item, judgment[f'{which}exchange_id'], judgment[f'{which}choice_index'])}"


def subject_of(judgment: Json, item: Json) -> str:
    """Which of two answers a judgment is about."""
    if len(item["answers"]) == 1 or judgment["other_exchange_id"] is not None:
        return ""
    return f" of answer {_number_of(item, judgment['exchange_id'], judgment['choice_index'])}"


def _number_of(item: Json, exchange_id: str, choice_index: int) -> int:
    """Of an answer, as it was shown."""
    first = item["answers"][0]
    return 1 if (first["exchange_id"], first["choice_index"]) == (exchange_id, choice_index) else 2
