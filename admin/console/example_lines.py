"""Lines of training files as a person reads and writes them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from admin.console.api import ApiRefused
from admin.console.conversation import Said, asked


@dataclass(frozen=True, slots=True)
class Passage:
    """Some messages of a line. `title`: of a pair, which of its three parts."""

    title: str
    messages: list[Said]


def passages(line: Any) -> list[Passage]:
    """Of anything that a line may be; nothing where there are no messages in it."""
    if not isinstance(line, Mapping):
        return []
    values = cast("Mapping[str, Any]", line)
    if "input" in values:
        outputs = {"Preferred": "preferred_output", "Not preferred": "non_preferred_output"}
        rest = [Passage(title, asked({"messages": values.get(name)})) for title, name in outputs.items()]
        return [Passage("Asked", asked(values["input"])), *rest]
    said = asked(values)
    return [Passage("", said)] if said else []


def written(form: Mapping[str, Any]) -> dict[str, Any]:
    """The line that the fields of a form make. Raises ApiRefused: the JSON cannot be read."""
    if text := str(form.get("line") or "").strip():
        return _of_json(text)
    prompt = [_message("system", form.get("system")), _message("user", form.get("question"))]
    messages = [each for each in prompt if each["content"]]
    answer = _message("assistant", form.get("answer"))
    if rejected := str(form.get("rejected") or "").strip():
        return {
            "input": {"messages": messages},
            "preferred_output": [answer],
            "non_preferred_output": [_message("assistant", rejected)],
        }
    return {"messages": [*messages, answer]}


def fields(line: Any) -> dict[str, str]:
    """Of the form; as JSON where it is more than a question and an answer."""
    values = {"system": "", "question": "", "answer": "", "rejected": "", "line": ""}
    messages = line.get("input", line).get("messages", [])
    by_role = {each.get("role"): each.get("content") for each in messages}
    answers = {"answer": "preferred_output", "rejected": "non_preferred_output"}
    if "input" in line:
        by_role |= {name: (line.get(key) or [{}])[0].get("content") for name, key in answers.items()}
    else:
        by_role["answer"] = by_role.pop("assistant", None)
    found = {"question": by_role.get("user"), **{name: by_role.get(name) for name in ("system", "answer", "rejected")}}
    simple = {name: text for name, text in found.items() if isinstance(text, str)}
    if written(simple) == line:
        return values | simple
    return values | {"line": json.dumps(line, indent=2, ensure_ascii=False)}


def _message(role: str, text: Any) -> dict[str, str]:
    return {"role": role, "content": str(text or "").strip()}


def _of_json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ApiRefused(400, {"message": f"The line is no JSON: {error}.", "param": "line"}) from None
    if not isinstance(found, dict):
        raise ApiRefused(400, {"message": "A line is a JSON object.", "param": "line"})
    return cast("dict[str, Any]", found)
