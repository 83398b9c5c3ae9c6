"""Judges as a form has them."""

from typing import Any

import msgspec
import pytest

from admin.console import judge_form
from judges.rules.written import AnyRule, problems


def judge(spec: dict[str, Any], watch: dict[str, Any] | None = None) -> dict[str, Any]:
    version = {"spec": spec, "criterion": "helpful"}
    return {"name": "j", "kind": spec["type"], "min_kappa": 0.4, "version": version, "watch": watch}


LLM = {
    "type": "llm", "model": "echo", "panel": ["slow"], "combine": "majority", "prompt": "Be fair.", "reference": True,
    "repeats": 3, "sampling": {"temperature": 0.5}, "structured": False,
    "examples": [{"question": "q", "answer": "a", "result": True, "reason": "", "exchange_id": None}],
}  # fmt: skip


class TestThereAndBack:
    def test_a_model_with_what_the_form_does_not_show(self) -> None:
        assert judge_form.spec_of(judge_form.fields_of(judge(LLM))) == LLM

    def test_rules_in_their_order(self) -> None:
        rules = [{"type": "json"}, {"type": "regex", "pattern": 'ü"', "must": "match"}]
        spec = {"type": "rule", "rules": rules}
        assert judge_form.spec_of(judge_form.fields_of(judge(spec))) == spec

    def test_what_it_watches(self) -> None:
        watch = {"rate": 0.125, "routes": ["way"], "models": ["a", "b"], "metadata": {}, "max_per_hour": 7}
        assert judge_form.watch_of(judge_form.fields_of(judge(LLM, watch))) == {
            name: value for name, value in watch.items() if name != "metadata"
        }
        assert judge_form.watch_of(judge_form.fields_of(judge(LLM))) is None


@pytest.mark.parametrize("type", judge_form.RULES)
def test_every_rule_to_begin_with_is_one(type: str) -> None:
    rule = msgspec.json.decode(judge_form.RULES[type][1], type=AnyRule)
    assert problems([rule]) == []
