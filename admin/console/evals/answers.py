"""What came out for one item of an eval, as people read it: what was asked, the answer, and each grader's verdict."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from admin.console import conversation
from admin.console.api import Json
from admin.console.conversation import Said
from admin.console.evals import words
from admin.console.render import decimal, short


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one criterion."""

    name: str
    kind: str
    """In words."""
    rule: str
    """When an answer passes it."""
    outcome: str
    """pass, fail, or error: it could not grade."""
    said: str
    """The score or the label; of an error what went wrong."""
    exchange_id: str | None
    """The call in which a model graded."""


def asked(item: Json) -> list[Said]:
    """The messages; empty where none were sent."""
    return conversation.asked({"messages": item["sample"].get("input") or []})


def question(item: Json, length: int = 160) -> str:
    """In one line: the last thing that was asked, else the item itself."""
    messages = item["sample"].get("input") or []
    text = messages[-1].get("content") if messages else None
    return short(text or plain(item["datasource_item"]), length)


def replies(item: Json) -> list[Said]:
    return conversation.answers({"choices": [{"message": each} for each in item["sample"].get("output") or []]})


def answer(item: Json) -> str:
    """Its text, tool calls with their arguments; empty where there is none."""
    return conversation.text_of_answer({"choices": [{"message": each} for each in item["sample"].get("output") or []]})


def problem(item: Json) -> str:
    """Why there is no answer; empty where there is one."""
    if not item["sample"]:
        return "The answer was erased."
    error = item["sample"].get("error") or {}
    return str(error.get("message") or error.get("code") or "")


def fields(item: Json) -> list[tuple[str, str]]:
    """Of the data."""
    return [(name, plain(value)) for name, value in item["datasource_item"].items()]


def plain(value: Any) -> str:
    return value if isinstance(value, str) else conversation.pretty(value)


def verdicts(criteria: Sequence[Json], item: Json) -> list[Verdict]:
    """In the order of the criteria; of an erased item there are none."""
    return [verdict for each in criteria for verdict in _verdict(each, item)]


def reasons(reply: Any) -> list[str]:
    """What a model that graded gave as its reasons: the steps of its answer, or its words where it has none."""
    text = conversation.text_of_answer(reply)
    try:
        said = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return [text] if text else []
    steps = cast("dict[str, Any]", said).get("steps") if isinstance(said, dict) else None
    if not isinstance(steps, list):
        return [text]
    return [line for step in cast("list[Any]", steps) if (line := _step(step))]


def _verdict(criterion: Json, item: Json) -> Iterator[Verdict]:
    kind = str(words.KINDS.get(criterion["type"], criterion["type"]))
    about = (criterion["name"], kind, words.sentence(criterion))
    for each in item["results"]:
        if each["name"] == criterion["id"]:
            call = (each.get("sample") or {}).get("exchange_id")
            yield Verdict(*about, "pass" if each["passed"] else "fail", _said(criterion, each), call)
    for each in item["errors"]:
        if each["name"] == criterion["id"]:
            yield Verdict(*about, "error", each["message"] or each["code"], each.get("exchange_id"))


def _said(criterion: Json, result: Json) -> str:
    label = (result.get("sample") or {}).get("label")
    if criterion["type"] == "label_model" and label is not None:
        return f"says \u201c{label}\u201d"
    if criterion["type"] == "string_check":
        return "holds" if result["passed"] else "does not hold"
    return f"score {decimal(result['score'], 3).rstrip('0').rstrip('.')}"


def _step(step: Any) -> str:
    if not isinstance(step, dict):
        return str(step)
    found = cast("dict[str, Any]", step)
    told = [str(found[name]).strip() for name in ("description", "conclusion") if found.get(name)]
    return ": ".join(told) if told else conversation.pretty(step)
