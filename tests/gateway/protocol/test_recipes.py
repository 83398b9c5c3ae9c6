"""Recipes on the wire."""

import msgspec
import pytest

from gateway.protocol.recipes import PERSONAL_KINDS, Recipe, stored
from judges.personal_kinds import KINDS


class TestRecipe:
    def test_is_stored_with_every_default_and_read_back_the_same(self) -> None:
        recipe = msgspec.json.decode(b'{"kind": "preference", "caps": {"total": 9}}', type=Recipe)
        kept = stored(recipe)
        assert kept["pairs"]["min_differing_tokens"] == 5
        assert kept["positive"]["unjudged"] is False
        assert msgspec.convert(kept, Recipe) == recipe

    def test_a_typo_is_an_error(self) -> None:
        with pytest.raises(msgspec.ValidationError, match=r"unknown field `kept_aside` - at `\$\.split`"):
            msgspec.json.decode(b'{"kind": "sft", "split": {"kept_aside": 1}}', type=Recipe)

    def test_personal_data_are_those_that_are_found(self) -> None:
        assert set(PERSONAL_KINDS) == set(KINDS)
