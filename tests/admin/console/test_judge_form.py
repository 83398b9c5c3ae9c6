"""Judges as a form has them."""

from typing import Any

from admin.console import judge_form


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

    def test_all_of_its_sampling_also_without_a_temperature(self) -> None:
        """Another spec would be another version, which nobody trusts yet."""
        sampling = {"top_p": 0.9, "seed": 7, "max_completion_tokens": 300, "reasoning_effort": "low"}
        for each in (sampling, {**sampling, "temperature": 0.0}):
            spec = {**LLM, "sampling": each}
            assert judge_form.spec_of(judge_form.fields_of(judge(spec))) == spec

    def test_a_temperature_that_is_taken_out_is_out(self) -> None:
        fields = judge_form.fields_of(judge({**LLM, "sampling": {"temperature": 0.5, "seed": 7}}))
        assert judge_form.spec_of(fields | {"temperature": ""})["sampling"] == {"seed": 7}

    def test_rules_in_their_order(self) -> None:
        rules = [{"type": "json"}, {"type": "regex", "pattern": 'ü"', "must": "match"}]
        spec = {"type": "rule", "rules": rules}
        assert judge_form.spec_of(judge_form.fields_of(judge(spec))) == spec

    def test_what_it_watches(self) -> None:
        metadata = {"team": "support", "of": "a=b"}
        watch = {"rate": 0.125, "routes": ["way"], "models": ["a", "b"], "metadata": metadata, "max_per_hour": 7}
        assert judge_form.watch_of(judge_form.fields_of(judge(LLM, watch))) == watch
        assert judge_form.watch_of(judge_form.fields_of(judge(LLM))) is None
