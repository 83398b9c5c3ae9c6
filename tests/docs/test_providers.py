"""docs/providers.md says what the code does: its settings load, and fields are refused and dropped as it lists them."""

import re
from pathlib import Path
from typing import Any

import pytest

from gateway.settings import load
from gateway.upstreams.anthropic.dialect import VERSION
from gateway.upstreams.anthropic.reply import FINISH_REASONS
from gateway.upstreams.anthropic.request import DEFAULT_MAX_TOKENS, EFFORTS
from gateway.upstreams.anthropic.turns import CONTINUE, OPENING
from tests.gateway.upstreams.anthropic.translated import refused, translated

PAGE = (Path(__file__).parents[2] / "docs" / "providers.md").read_text()
WRONG: dict[str, Any] = {
    "n": 2,
    "logprobs": True,
    "top_logprobs": 1,
    "logit_bias": {"1": 1},
    "audio": {"voice": "alloy", "format": "wav"},
    "web_search_options": {},
    "tool_choice": {"type": "allowed_tools"},
}


def named(beginning: str) -> list[str]:
    """The fields that a paragraph names."""
    [paragraph] = [each for each in PAGE.split("\n\n") if each.startswith(beginning)]
    return re.findall(r"`([a-z_]+)`", paragraph)


def test_the_settings_load(tmp_path: Path) -> None:
    block = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert block is not None
    (tmp_path / "tuneway.toml").write_text(block[1])
    anthropic, openai = load(tmp_path / "tuneway.toml", {"ANTHROPIC_API_KEY": "a", "OPENAI_API_KEY": "b"}).upstreams
    assert (anthropic.kind, anthropic.served_names) == ("anthropic", {"smart": "claude-opus-5-5"})
    assert (openai.kind, openai.organization, openai.project) == ("openai", "org-...", "proj_...")


def test_fields_are_dropped() -> None:
    fields = [field for field in named("Dropped") if field != "name"]
    assert "temperature" in fields
    for field in fields:
        assert translated(**{field: {"content": "x"}}) == translated(), field
    assert translated({"role": "user", "content": "hello", "name": "anna"}) == translated()


def test_fields_are_refused() -> None:
    fields = named("Refused")
    assert [field for field in WRONG if field not in fields] == []
    for field, value in WRONG.items():
        assert refused(**{field: value}).param == field


def test_numbers_and_words() -> None:
    assert f"{DEFAULT_MAX_TOKENS:,}" in PAGE
    assert f"The API version is {VERSION};" in PAGE
    assert f'"{OPENING}"' in PAGE
    assert f'"{CONTINUE}"' in PAGE
    assert {effort for effort, sent in EFFORTS.items() if effort != sent} == {"none", "minimal"}


@pytest.mark.parametrize("reason", FINISH_REASONS)
def test_every_stop_reason_is_told(reason: str) -> None:
    [row] = [
        line for line in PAGE.splitlines() if line.startswith("| stop_reason") and f"`{reason}`" in line.split("|")[1]
    ]
    assert row.split("|")[2].startswith(f" finish_reason `{FINISH_REASONS[reason]}`")
