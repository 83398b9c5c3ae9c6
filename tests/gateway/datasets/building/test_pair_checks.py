"""What speaks against a pair."""

import pytest

from gateway.datasets.building.pair_checks import differ_little, fault_of
from gateway.protocol.recipes import Pairs


class TestDifferLittle:
    @pytest.mark.parametrize(
        ("one", "other", "expected"),
        [
            ("a b c d e f", "a b c d e g", True),
            ("a b c d e f", "v w x y z f", False),
            ("yes", "no", False),
            ("in Bern", "in Rome", True),
            ("東京です", "大阪だよ", False),
        ],
    )
    def test_five_words(self, one: str, other: str, expected: bool) -> None:
        assert differ_little(one, other, 5) is expected

    def test_none_asked_for(self) -> None:
        assert not differ_little("the same", "the same", 0)


class TestFault:
    def test_similarity_just_above_and_below_the_limit(self) -> None:
        rules = Pairs(min_differing_tokens=0)
        text = "abcdefghij" * 10
        assert fault_of(text, text[:-4] + "1234", rules) == "near_identical"
        assert fault_of(text, text[:-6] + "123456", rules) is None

    def test_punctuation_alone_is_compared_as_it_is(self) -> None:
        assert fault_of("!!!", "???", Pairs()) is None
        assert fault_of("!!!", " !!! ", Pairs()) == "identical"
