"""Rules of a judge, applied after the fact."""

import json
import sys
from typing import Any

import pytest

from gateway.kit.background import Background
from gateway.protocol.judges import RuleSpec
from gateway.rule_processes import RuleProcesses
from gateway.tasks import apply_rules as module
from gateway.tasks.apply_rules import apply_rules
from judges.rules.formats import JsonSchema, Length
from judges.rules.tools import ToolCalls

pytestmark = pytest.mark.anyio

SPEC = RuleSpec(rules=[Length(unit="words", most=3)])
LATE = (
    "import time; from gateway import rule_process as r; check = r.check;"
    "r.check = lambda *asked: (time.sleep(2), check(*asked))[1]; r.main()"
)
"""A process whose rules come to their turn only after others took much more time than they have."""


def doubling(steps: int) -> dict[str, Any]:
    """A small schema that takes 2 ** steps steps."""
    below = {str(step): {"allOf": [{"$ref": f"#/$defs/{step + 1}"}] * 2} for step in range(steps)}
    return {"$ref": "#/$defs/0", "$defs": below | {str(steps): {}}}


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


def reply(*texts: str, **more: Any) -> bytes:
    messages = [{"role": "assistant", "content": text} | more for text in texts]
    return body({"choices": [{"index": place, "message": message} for place, message in enumerate(messages)]})


ASKED = {"messages": [{"role": "user", "content": "Where?"}]}


@pytest.fixture
def rules(background: Background) -> RuleProcesses:
    return RuleProcesses(background, 1, pause_seconds=0.01)


class TestApplyRules:
    async def test_an_answer_that_keeps_them_passes(self, rules: RuleProcesses) -> None:
        opinion = await apply_rules(rules, SPEC, body(ASKED), reply("Behind the museum."), 0)
        assert (opinion.status, opinion.passed, opinion.score) == ("ok", True, 1.0)
        assert opinion.notes == {"rules": [{"rule": "length", "passed": True, "score": 1.0, "found": {"count": 3}}]}

    async def test_each_choice_is_held_alone(self, rules: RuleProcesses) -> None:
        answered = reply("Behind the museum.", "Behind the museum, I think.")
        said = [await apply_rules(rules, SPEC, body(ASKED), answered, choice) for choice in (0, 1)]
        assert [each.passed for each in said] == [True, False]
        assert str(said[1].rationale).startswith("length: ")

    @pytest.mark.parametrize("declared", ["tools", "response_format"])
    async def test_rules_that_hang_are_an_error_and_end(
        self, rules: RuleProcesses, monkeypatch: pytest.MonkeyPatch, declared: str
    ) -> None:
        """Schemas come with the calls: whoever calls could have taken the worker's CPU for ever."""
        monkeypatch.setattr(module, "SECONDS", 0.5)
        call = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
        tool = {"type": "function", "function": {"name": "f", "parameters": doubling(40)}}
        wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": doubling(40)}}
        asked = ASKED | {"tools": [tool], "response_format": wanted}
        spec = RuleSpec(rules=[ToolCalls() if declared == "tools" else JsonSchema()])
        opinion = await apply_rules(rules, spec, body(asked), reply("{}", tool_calls=[call]), 0)
        assert (opinion.status, opinion.error_code, opinion.score) == ("error", "timeout", None)
        assert "longer than 0.5 s" in str(opinion.rationale)
        assert (await apply_rules(rules, SPEC, body(ASKED), reply("Behind the museum."), 0)).passed, (
            "and the next is judged"
        )

    async def test_a_machine_that_is_busy_is_no_fault_of_an_answer(
        self, background: Background, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "SECONDS", 0.5)
        late = RuleProcesses(background, 1, (sys.executable, "-c", LATE))
        assert (await apply_rules(late, SPEC, body(ASKED), reply("Behind the museum."), 0)).passed

    async def test_one_that_ends_its_process_is_an_error(self, background: Background) -> None:
        dying = RuleProcesses(background, 1, (sys.executable, "-m", "tests.fakes.rule_process"), pause_seconds=0.01)
        written = RuleSpec(rules=[{"type": "die"}])  # type: ignore[list-item]
        opinion = await apply_rules(dying, written, body(ASKED), reply("x"), 0)
        assert (opinion.status, opinion.error_code, opinion.score) == ("error", "rule", None)

    async def test_where_none_can_be_started_it_is_tried_again(
        self, background: Background, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.1)
        none = RuleProcesses(background, 1, ("/nowhere/python",), pause_seconds=0.01)
        with pytest.raises(TimeoutError):
            await apply_rules(none, SPEC, body(ASKED), reply("x"), 0)
