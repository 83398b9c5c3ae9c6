"""Everything that can be said to be wrong with a grader before it grades, each problem with its path."""

import math
import re
import types
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast, get_args, get_origin

import msgspec

from judges import formula, templates
from judges.graders import (
    KINDS,
    EvalItem,
    Grader,
    LabelModel,
    Multi,
    Python,
    ScoreModel,
    Single,
    StringCheck,
    TextSimilarity,
    type_of,
)
from judges.messages import parts

MAX_PROBLEMS = 20
MAX_GRADERS = 50
"""In one multi grader: each may be a call to a model or a process."""
MAX_SOURCE_BYTES = 256 * 1000
"""Of a Python grader (OpenAI's guide: "less than 256kB")."""
MISSING = "is missing"
ECHO_LIMIT = 500
"""Characters of the names that a message repeats."""

_located = re.compile(r"(?P<message>.*) - at `\$(?P<path>[^`]*)`")


@dataclass(frozen=True, slots=True)
class Problem:
    path: str
    message: str


class _Shell(msgspec.Struct, kw_only=True, tag_field="type", tag="multi"):
    """A multi grader whose graders are still to be read."""

    name: str = ""
    graders: Any
    calculate_output: str


class InvalidGrader(ValueError):
    """This is not a grader."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"{problem.path}: {problem.message}" for problem in problems))
        self.problems = problems


def parse(raw: Any, path: str = "grader") -> Grader:
    """A grader from its JSON.

    Raises:
        InvalidGrader: fields are missing, unknown or of the wrong type or value; with the first MAX_PROBLEMS of them.
    """
    problems: list[Problem] = []
    grader = _grader(raw, path, problems)
    if grader is None or problems:
        raise InvalidGrader(problems[:MAX_PROBLEMS])
    return grader


def lint(grader: Grader, path: str = "grader") -> list[Problem]:
    """What would fail at every run of a well-formed grader: templates that name nothing, a formula that cannot be read
    or names an unknown variable."""
    if not isinstance(grader, Multi):
        wrong = (Problem(at, message) for at, text in _texts(grader, path) for message in templates.problems(text))
        return list(islice(wrong, MAX_PROBLEMS))
    found = _formula_problems(grader, path)
    for at, inner in _inner(grader, path):
        found += lint(inner, at)
    return found[:MAX_PROBLEMS]


def inner_paths(grader: Grader, path: str = "grader") -> Iterator[tuple[str, Single]]:
    """Every grader that is not a multi grader, with its path."""
    if isinstance(grader, Multi):
        yield from _inner(grader, path)
    else:
        yield path, grader


def _inner(grader: Multi, path: str) -> Iterator[tuple[str, Single]]:
    graders = grader.graders
    if isinstance(graders, dict):
        yield from ((f"{path}.graders.{key}", each) for key, each in graders.items())
    elif isinstance(graders, list):
        yield from ((f"{path}.graders[{number}]", each) for number, each in enumerate(graders))
    else:
        yield f"{path}.graders", graders


def _texts(grader: Single, path: str) -> Iterator[tuple[str, str]]:
    """Every text with templates."""
    match grader:
        case StringCheck() | TextSimilarity():
            yield f"{path}.input", grader.input
            yield f"{path}.reference", grader.reference
        case ScoreModel() | LabelModel():
            for number, item in enumerate(grader.input):
                yield from parts(item.content, f"{path}.input[{number}].content")
        case Python():
            return


def _formula_problems(grader: Multi, path: str) -> list[Problem]:
    at = f"{path}.calculate_output"
    try:
        read = formula.parse(grader.calculate_output)
    except formula.FormulaError as error:
        return [Problem(at, str(error))]
    known = grader.by_variable()
    listed = ", ".join(known)[:ECHO_LIMIT]
    unknown = sorted(read.variables - set(known))[:MAX_PROBLEMS]
    return [Problem(at, f"there is no grader `{name}`; the variables are {listed}") for name in unknown]


def _grader(raw: Any, path: str, problems: list[Problem], *, name: str = "", is_part: bool = False) -> Grader | None:
    """One grader, called `name` if it has none of its own; `is_part` of a multi grader."""
    if not isinstance(raw, dict):
        return _refuse(problems, path, f"expected an object, got {_kind(raw)}")
    fields = cast("dict[str, Any]", raw)
    if "type" not in fields:
        return _refuse(problems, f"{path}.type", MISSING)
    kind = KINDS.get(fields["type"]) if isinstance(fields["type"], str) else None
    if kind is None:
        return _refuse(problems, f"{path}.type", f"expected one of {', '.join(KINDS)}, got {_shown(fields['type'])}")
    if is_part and kind is Multi:
        return _refuse(problems, path, "a multi grader cannot be part of a multi grader")
    grader = _multi(fields, path, problems) if kind is Multi else _struct(kind, fields, path, problems)
    if grader is None:
        return None
    grader.name = grader.name or name or type_of(grader)
    problems += [Problem(f"{path}{at}", message) for at, message in _value_problems(grader)]
    return grader


def _multi(raw: dict[str, Any], path: str, problems: list[Problem]) -> Multi | None:
    before = len(problems)
    shell: _Shell | None = _struct(_Shell, raw, path, problems)
    graders = _graders(raw["graders"], f"{path}.graders", problems) if "graders" in raw else None
    if shell is None or graders is None or len(problems) > before:
        return None
    return Multi(name=shell.name, graders=graders, calculate_output=shell.calculate_output)


def _graders(raw: Any, path: str, problems: list[Problem]) -> Any:
    """One grader, a list of them, or a map."""
    if isinstance(raw, list):
        many = cast("list[Any]", raw)
        if not _has_room(len(many), path, problems):
            return None
        made = [_grader(each, f"{path}[{number}]", problems, is_part=True) for number, each in enumerate(many)]
        names = [each.name for each in made if each is not None]
        for name in sorted({name for name in names if names.count(name) > 1}):
            _refuse(problems, path, f"two graders are named `{name}`: the formula could not tell them apart")
        return made
    if isinstance(raw, dict) and not isinstance(cast("dict[str, Any]", raw).get("type"), str):
        named = cast("dict[str, Any]", raw)
        if not _has_room(len(named), path, problems):
            return None
        return {key: _grader(each, f"{path}.{key}", problems, name=key, is_part=True) for key, each in named.items()}
    return _grader(raw, path, problems, is_part=True)


def _has_room(count: int, path: str, problems: list[Problem]) -> bool:
    """Any more are not looked at: comparing their names takes the square of their number."""
    if not 0 < count <= MAX_GRADERS:
        _refuse(problems, path, f"expected 1 to {MAX_GRADERS} graders, got {count}")
    return 0 < count <= MAX_GRADERS


def _struct(kind: Any, raw: dict[str, Any], path: str, problems: list[Problem]) -> Any:
    """`raw` as a `kind`, field by field, so that each wrong one is named and not only the first."""
    before = len(problems)
    values: dict[str, Any] = {}
    fields = msgspec.structs.fields(kind)
    known = {field.name for field in fields} | ({"type"} if kind.__struct_config__.tag else set())
    problems += [Problem(f"{path}.{name}", "is not known here") for name in raw if name not in known]
    for field in fields:
        if field.name in raw:
            values[field.name] = _value(field.type, raw[field.name], f"{path}.{field.name}", problems)
        elif field.required:
            problems.append(Problem(f"{path}.{field.name}", MISSING))
    return kind(**values) if len(problems) == before else None


def _value(kind: Any, raw: Any, path: str, problems: list[Problem]) -> Any:
    struct = _struct_in(kind)
    if struct is not None and isinstance(raw, dict):
        return _struct(struct, cast("dict[str, Any]", raw), path, problems)
    if get_origin(kind) is list and _struct_in(get_args(kind)[0]) and isinstance(raw, list):
        many = cast("list[Any]", raw)
        return [_value(get_args(kind)[0], each, f"{path}[{number}]", problems) for number, each in enumerate(many)]
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        match = _located.fullmatch(str(error))
        message, deeper = (match["message"], match["path"]) if match else (str(error), "")
        return _refuse(problems, path + deeper, f"{message[0].lower()}{message[1:]}")


def _struct_in(kind: Any) -> Any:
    """The struct that `kind` is, also as `Struct | None`."""
    if get_origin(kind) is types.UnionType:
        members = [each for each in get_args(kind) if each is not types.NoneType]
        kind = members[0] if len(members) == 1 else None
    return kind if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else None


def _value_problems(grader: Grader) -> Iterator[tuple[str, str]]:
    """What types cannot say; path below the grader, message."""
    match grader:
        case ScoreModel():
            yield from _input_problems(grader.input)
            yield from _range_problems(grader.range)
        case LabelModel():
            yield from _input_problems(grader.input)
            yield from _label_problems(grader)
        case Python():
            if (size := len(grader.source.encode("utf-8", "replace"))) >= MAX_SOURCE_BYTES:
                yield ".source", f"has {size} bytes; it must be smaller than {MAX_SOURCE_BYTES}"
            elif not re.search(r"\bgrade\b", grader.source):
                yield ".source", "defines no function `grade(sample, item)`"
        case _:
            return


def _input_problems(items: list[EvalItem]) -> Iterator[tuple[str, str]]:
    if not items:
        yield ".input", "needs at least one message"
    for number, item in enumerate(items):
        try:
            parts(item.content, f".input[{number}].content")
        except ValueError as error:
            yield str(error.args[0]), str(error.args[1])


def _range_problems(range: list[float] | None) -> Iterator[tuple[str, str]]:
    if range is None:
        return
    if len(range) != 2 or not math.isfinite(range[1] - range[0]) or range[0] >= range[1]:
        yield ".range", "expected two numbers, the lower one first"


def _label_problems(grader: LabelModel) -> Iterator[tuple[str, str]]:
    labels = set(grader.labels)
    if not labels or len(labels) < len(grader.labels) or not all(label.strip() for label in labels):
        yield ".labels", "expected at least one label, no two the same and none of them empty"
    if not grader.passing_labels:
        yield ".passing_labels", "needs at least one label"
    for label in grader.passing_labels:
        if label not in labels:
            yield ".passing_labels", f"{_shown(label)} is not among the labels"


def _refuse(problems: list[Problem], path: str, message: str) -> None:
    problems.append(Problem(path, message))


def _kind(raw: Any) -> str:
    names = {type(None): "null", bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list"}
    return names.get(type(raw), "an object")


def _shown(value: Any) -> str:
    return repr(value)[:100]
