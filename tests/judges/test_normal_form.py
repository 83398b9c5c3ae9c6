"""Unicode's normal forms: those of the standard, in a time that no text makes long."""

import unicodedata

import pytest

from judges.normal_form import MOST_MARKS, nfc, nfkc
from tests.judges.ending import at_most


class TestNormalForms:
    @pytest.mark.parametrize(
        "text",
        ["plain", "e\u0301", "\uff21\ufb01", "\u0928\u093f\u0930\u094d\u0926\u0947\u0936" * 20,
         "a" + "\u0301\u0327" * (MOST_MARKS // 2), "\uff76\uff9e" * 100, ""],
    )  # fmt: skip
    def test_are_those_of_the_standard(self, text: str) -> None:
        assert nfc(text) == unicodedata.normalize("NFC", text)
        assert nfkc(text) == unicodedata.normalize("NFKC", text)

    @pytest.mark.parametrize("marks", ["\u0301\u0327", "\uff9e\u0f73", "\u0344\u0327", "\u0f73\u0327"], ids=ascii)
    def test_more_marks_than_a_letter_can_have_end_soon(self, marks: str) -> None:
        with at_most(20):
            nfc("a" + marks * 200_000)
            nfkc("a" + marks * 200_000)

    def test_no_character_is_taken_for_a_letter_that_becomes_a_mark(self) -> None:
        """Whatever begins with a mark once it is taken apart counts as one."""
        with at_most(20):
            nfkc("".join(character for character in map(chr, range(0x110000)) if _begins_with_a_mark(character)) * 200)


def _begins_with_a_mark(character: str) -> bool:
    return unicodedata.combining(unicodedata.normalize("NFKD", character)[0]) > 0
