"""`{{ item.x }}` and `{{ sample.output_text }}` in the texts of a grader (OpenAI's guide "Graders", "Templating").

A path goes on with `.name`, `[0]` or `["any key"]`. A text is rendered once, from left to right, and what was put in is
never looked at again: braces inside a sample stay what they are.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

from judges.grade import GraderFailed
from judges.sample import Item, Sample

SAMPLE_VARIABLES = ("output_text", "output_json", "output_tools", "choices", "output_audio")
NAMESPACES = ("item", "sample")
MAX_INSERTED = 1_000_000
"""Characters put into the texts of one grader: a long answer that is named ten thousand times would fill the memory."""
MAX_VALUES = 10_000
"""Templates in one text."""
MAX_PROBLEMS = 20
"""Told of one text."""

_STEP = r"""(?:\.\w[\w-]*|\[\s*-?\d{1,18}\s*\]|\[\s*"[^"]*"\s*\]|\[\s*'[^']*'\s*\])"""
_template = re.compile(r"\{\{\s*(?P<path>[^\W\d]\w*" + _STEP + r"*)\s*\}\}")
_opening = re.compile(r"\{\{")
_step = re.compile(r"""\.(\w[\w-]*)|\[\s*(-?\d{1,18})\s*\]|\[\s*"([^"]*)"\s*\]|\[\s*'([^']*)'\s*\]""")
_namespace = re.compile(r"[^\W\d]\w*")
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Rendered:
    """A text with its values in place, and those values, for whoever must tell them from the text around them."""

    text: str
    values: tuple[str, ...] = ()


def render(text: str, sample: Sample, item: Item, *, room: int = MAX_INSERTED) -> Rendered:
    """Put the values in.

    Strings go in as they are, everything else as compact JSON.

    Args:
        room: characters that may be put in.

    Raises:
        GraderFailed: invalid_variable_error for a path that leads nowhere, sample_parse_error for `sample.output_json`
            of a sample that is not JSON, truncated_observation_error for more than `room` or MAX_VALUES.
    """
    namespaces: dict[str, Mapping[str, Any]] = {"item": item, "sample": sample.variables()}
    values: list[str] = []
    left = room

    def insert(match: re.Match[str]) -> str:
        nonlocal left
        values.append(_text(_look_up(match["path"], namespaces)))
        left -= len(values[-1])
        if left < 0 or len(values) > MAX_VALUES:
            raise GraderFailed(
                "truncated_observation_error",
                f"the templates put more than {MAX_INSERTED} characters in, or more than {MAX_VALUES} values into one text",
            )
        return values[-1]

    return Rendered(_template.sub(insert, text), tuple(values))


def look_up(path: str, sample: Sample, item: Item) -> Any:
    """The value itself that `{{ path }}` stands for. Raises GraderFailed like `render`."""
    return _look_up(path, {"item": item, "sample": sample.variables()})


def problems(text: str) -> list[str]:
    """The first MAX_PROBLEMS of what can be said to be wrong with a text before there is anything to put in."""
    wrong = (problem for match in _template.finditer(text) if (problem := _problem(match["path"])))
    found = list(islice(wrong, MAX_PROBLEMS))
    rest = _template.sub(lambda match: "." * len(match[0]), text)
    found += [
        f"'{text[match.start() : match.start() + 40]}' is not a template; "
        'write {{ item.name }}, {{ item.list[0] }}, {{ item["any key"] }} or {{ sample.output_text }}'
        for match in islice(_opening.finditer(rest), MAX_PROBLEMS - len(found))
    ]
    return found


def _problem(path: str) -> str | None:
    namespace, steps = _parts(path)
    if namespace not in NAMESPACES:
        return f"'{{{{ {path} }}}}' has no known namespace; there are item and sample"
    if not steps:
        return f"'{{{{ {path} }}}}' names no variable of {namespace}"
    if namespace == "sample" and steps[0] not in SAMPLE_VARIABLES:
        return f"'{{{{ {path} }}}}' names no variable of sample; there are {', '.join(SAMPLE_VARIABLES)}"
    return None


def _parts(path: str) -> tuple[str, list[str | int]]:
    start = _namespace.match(path)
    assert start is not None
    steps: list[str | int] = []
    for match in _step.finditer(path, start.end()):
        name, index, double, single = match.groups()
        steps.append(int(index) if index is not None else next(x for x in (name, double, single) if x is not None))
    return start[0], steps


def _look_up(path: str, namespaces: Mapping[str, Mapping[str, Any]]) -> Any:
    namespace, steps = _parts(path)
    if problem := _problem(path):
        raise GraderFailed("invalid_variable_error", problem)
    if namespace == "sample" and steps[0] == "output_json" and "output_json" not in namespaces["sample"]:
        raise GraderFailed("sample_parse_error", f"'{{{{ {path} }}}}': the sample is not JSON")
    value: Any = namespaces[namespace]
    for number, step in enumerate(steps):
        try:
            value = _descend(value, step)
        except (KeyError, IndexError, TypeError, ValueError):
            shown = f"{namespace}{''.join(_shown(each) for each in steps[: number + 1])}"
            raise GraderFailed("invalid_variable_error", f"'{{{{ {path} }}}}': there is no {shown}") from None
    return value


def _descend(value: Any, step: str | int) -> Any:
    """One step. Raises KeyError, IndexError, TypeError, ValueError: there is nothing there. A string has no characters to pick."""
    if isinstance(value, Mapping):
        return value[str(step)]
    if isinstance(value, list) and (isinstance(step, int) or step.isdecimal()):
        return value[int(step)]
    raise TypeError


def _shown(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if step.isidentifier() else f'["{step}"]'


def _text(value: Any) -> str:
    return value if isinstance(value, str) else _encode(value).decode()
