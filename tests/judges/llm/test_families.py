"""Judges and their kin (pitfall 3)."""

import pytest

from judges.llm.families import kinship


@pytest.mark.parametrize(
    ("judge", "candidate", "expected"),
    [
        ("gpt-4o", "gpt-4o", "same_model"),
        ("starter", "ft:starter:tuneway:support:abcdefgh", "same_base"),
        ("ft:starter:tuneway::12345678", "ft:starter:tuneway:support:abcdefgh:ckpt-step-10", "same_base"),
        ("gpt-4o", "ft:gpt-4o-mini:org::x", "same_family"),
        ("meta-llama/Llama-3.1-8B", "llama-guard-3", "same_family"),
        ("Qwen/Qwen3-8B", "ft:Qwen/Qwen3-0.6B:org:s:x", "same_family"),
        ("claude-sonnet-4", "gpt-4o", None),
        ("starter", "other", None),
        ("my-model", "my-model-2", None),
    ],
)
def test_kinship(judge: str, candidate: str, expected: str | None) -> None:
    assert kinship(judge, candidate) == expected
    assert kinship(candidate, judge) == expected
