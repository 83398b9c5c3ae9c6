"""docs/validators.md tells of every rule, with every parameter and an example that works."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from judges.rules.run import check
from judges.rules.written import AnyRule, problems, type_of
from judges.subject import Subject

PAGE = (Path(__file__).parents[2] / "docs" / "validators.md").read_text()
SECTIONS: dict[str, str] = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL))
KINDS: dict[str, Any] = {type_of(kind): kind for kind in get_args(AnyRule)}


def examples(text: str) -> list[Any]:
    return [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]


def test_every_rule_is_told() -> None:
    assert list(SECTIONS) == list(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_so_is_every_parameter(name: str) -> None:
    told = SECTIONS[name] + f"`{name}`"  # a grader's is called grader
    assert [each for each in KINDS[name].__struct_fields__ if f"`{each}`" not in told] == []


@pytest.mark.parametrize("name", KINDS)
def test_its_example_can_be_applied(name: str) -> None:
    [example] = examples(SECTIONS[name])
    rules = msgspec.convert([example], list[AnyRule])
    assert type_of(rules[0]) == name
    assert problems(rules) == []
    [verdict] = check(rules, Subject(messages=[], answer={"role": "assistant", "content": "An answer."}))
    assert not verdict.failed, verdict.rationale


def test_the_list_is_sound() -> None:
    first = examples(PAGE.split("## The rules")[0])[0]
    assert problems(msgspec.convert(first, list[AnyRule])) == []
