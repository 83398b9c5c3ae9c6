"""One answer beside its reference."""

import pytest

from judges.metrics.answers import exact_match, length_ratio, raw_match, rouge_l, token_f1

ANSWER, REFERENCE = "the cat sat on the mat", "the cat is on the mat"


class TestMetrics:
    def test_known_answers(self) -> None:
        assert token_f1(ANSWER, REFERENCE) == 0.75
        assert rouge_l(ANSWER, REFERENCE) == pytest.approx(0.83333, abs=1e-5)
        assert exact_match("The  Cat!", "cat") == 1.0
        assert raw_match("The  Cat!", "cat") == 0.0

    @pytest.mark.parametrize("text", ["Привет, мир", "我喜欢苹果", "สวัสดีครับ", "नमस्ते दुनिया"])
    def test_equal_texts_are_equal_in_every_script(self, text: str) -> None:
        assert token_f1(text, text) == rouge_l(text, text) == exact_match(text, text) == 1.0

    def test_nothing_against_nothing_and_against_something(self) -> None:
        assert token_f1("", "") == token_f1("the", "a") == 1.0
        assert token_f1("", "cat") == token_f1("cat", "") == 0.0

    def test_length_ratio(self) -> None:
        assert length_ratio("one two three", "one two") == 1.5
        assert length_ratio("one", "") is None
