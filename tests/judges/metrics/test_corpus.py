"""Figures of a whole test set."""

import math

import pytest

from judges.metrics.corpus import bleu, labelling, perplexity, win_rate

ANSWER, REFERENCE = "the cat sat on the mat", "the cat is on the mat"


class TestBleu:
    def test_known_answer_and_its_signature(self) -> None:
        found = bleu([ANSWER], [REFERENCE])
        assert found is not None
        assert found.score == pytest.approx(37.99178, abs=1e-5)
        assert "tok:13a|smooth:exp" in found.signature

    def test_is_no_mean_of_sentences(self) -> None:
        answers, references = [ANSWER, "a small dog"], [REFERENCE, "a small dog ran home today"]
        whole = bleu(answers, references)
        alone = [bleu([one], [other]) for one, other in zip(answers, references, strict=True)]
        assert whole is not None
        assert whole.score != pytest.approx(sum(each.score for each in alone if each) / 2, abs=1)

    def test_chinese_needs_its_tokenizer(self) -> None:
        answer, reference = "今天天气很好我们去公园", "今天天气很好我们去海边"
        plain, chinese = bleu([answer], [reference]), bleu([answer], [reference], "zh")
        assert plain is not None
        assert chinese is not None
        assert plain.score == 0.0
        assert chinese.score > 50

    def test_a_tokenizer_that_would_download_is_refused(self) -> None:
        with pytest.raises(ValueError, match="flores200"):
            bleu([ANSWER], [REFERENCE], "flores200")  # type: ignore[arg-type]

    def test_a_missing_reference_is_refused(self) -> None:
        with pytest.raises(ValueError, match="2 answers against 1"):
            bleu([ANSWER, ANSWER], [REFERENCE])

    def test_nothing_is_none(self) -> None:
        assert bleu([], []) is None


class TestPerplexity:
    def test_known_answer(self) -> None:
        found = perplexity([([math.log(0.5), math.log(0.25), math.log(0.125)], "abc")])
        assert found.value == pytest.approx(4.0)
        assert found.bits_per_byte == pytest.approx(2.0)

    def test_is_weighted_by_tokens(self) -> None:
        found = perplexity([([math.log(0.5)] * 3, "aaa"), ([math.log(0.125)], "b")])
        assert found.value == pytest.approx(math.exp(-(3 * math.log(0.5) + math.log(0.125)) / 4))
        assert found.tokens == 4

    def test_nothing_is_none(self) -> None:
        assert perplexity([]).value is None

    @pytest.mark.parametrize("value", [0.1, math.nan])
    def test_what_is_no_log_probability_is_refused(self, value: float) -> None:
        with pytest.raises(ValueError, match="at most 0"):
            perplexity([([value], "a")])


class TestLabelling:
    def test_is_averaged_over_labels(self) -> None:
        found = labelling(["a", "a", "b", "b"], ["a", "b", "b", "b"])
        assert found.precision == pytest.approx((1 / 2 + 1) / 2)
        assert found.recall == pytest.approx((1 + 2 / 3) / 2)
        assert found.f1 == pytest.approx((2 / 3 + 4 / 5) / 2)

    def test_nothing_is_none(self) -> None:
        assert labelling([], []).f1 is None


class TestWinRate:
    def test_ties_are_half_a_win_and_counted_apart(self) -> None:
        found = win_rate(6, 2, 2)
        assert (found.rate, found.decisive_rate, found.ties) == (0.7, 0.75, 2)

    def test_nothing_is_none(self) -> None:
        assert win_rate(0, 0, 0).rate is None
        assert win_rate(0, 0, 3).decisive_rate is None
