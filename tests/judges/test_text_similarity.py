"""Text metrics against values that were computed once with nltk 3.10.4, rouge-score 0.1.2 and sacreBLEU 2.6.0."""

import pytest
import sacrebleu
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

from judges.grade import GraderFailed
from judges.graders import Metric
from judges.meteor import meteor
from judges.string_check import check
from judges.text_similarity import _METRICS, MAX_CHARACTERS, similarity
from judges.words import words

CAT = ("the cat sat on the mat", "the cat is on the mat")
GUIDE = (
    "It is a guide to action which ensures that the military always obeys the commands of the party",
    "It is a guide to action that ensures that the military will forever heed Party commands",
)
STEMS = ("runs cats ensuring obey the parties", "running cat ensures obeys the party")
METRICS: list[Metric] = list(_METRICS)


class TestKnownAnswers:
    @pytest.mark.parametrize(
        ("metric", "pair", "expected"),
        [
            ("bleu", CAT, 0.3799178), ("bleu", GUIDE, 0.4118039),
            ("gleu", CAT, 0.5), ("gleu", GUIDE, 0.4393939),
            ("gleu", ("the the the the the the the", "the cat is on the mat"), 0.0909091),
            ("meteor", CAT, 0.8066667), ("meteor", GUIDE, 0.6944444),
            ("rouge_1", CAT, 0.8333333), ("rouge_2", CAT, 0.6), ("rouge_3", CAT, 0.25), ("rouge_4", CAT, 0.0),
            ("rouge_l", CAT, 0.8333333), ("rouge_1", GUIDE, 0.7058824), ("rouge_2", GUIDE, 0.5),
            ("rouge_3", GUIDE, 0.4), ("rouge_4", GUIDE, 0.2857143), ("rouge_5", GUIDE, 0.1538462), ("rouge_l", GUIDE, 0.6470588),
            ("cosine", CAT, 0.875), ("cosine", ("a b", "a c"), 0.5), ("cosine", ("a a b", "a b"), 0.9486833),
            ("fuzzy_match", ("fuzzy wuzzy was a bear", "fuzzy wuzzy was a bear"), 1.0),
            ("fuzzy_match", ("Fuzzy WUZZY!", "fuzzy wuzzy"), 1.0), ("fuzzy_match", ("wuzzy fuzzy", "fuzzy wuzzy"), 0.95),
        ],
    )  # fmt: skip
    def test_is(self, metric: Metric, pair: tuple[str, str], expected: float) -> None:
        assert similarity(metric, *pair) == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize("pair", [CAT, GUIDE, ("It's 3.5%, isn't it?", "it is 3.5 %"), ("Да, конечно.", "Да, да.")])
    def test_bleu_is_sacrebleus(self, pair: tuple[str, str]) -> None:
        assert similarity("bleu", *pair) == pytest.approx(sacrebleu.sentence_bleu(pair[0], [pair[1]]).score / 100)

    def test_stems_match_in_meteor(self) -> None:
        """Every word by its stem or itself, in one chunk: 1 - 0.5 * (1/6)^3. nltk says the same without WordNet."""
        assert similarity("meteor", *STEMS) == pytest.approx(1 - 0.5 / 6**3)
        assert meteor(["running"], ["ran"]) == 0


class TestEveryMetric:
    @pytest.mark.parametrize("metric", METRICS)
    @pytest.mark.parametrize(
        "text",
        [
            GUIDE[0],
            "Привет, большой и очень старый мир",
            "我喜欢吃苹果和香蕉",
            "吾輩は猫である。名前はまだ無い",
            "मैं घर जा रहा हूँ अभी",
            "ฉันรักเธอ",
        ],
    )
    def test_equal_texts_of_any_script_are_alike(self, metric: Metric, text: str) -> None:
        assert similarity(metric, text, text) == pytest.approx(1, abs=0.01)

    @pytest.mark.parametrize("metric", METRICS)
    def test_unlike_texts_are_unlike(self, metric: Metric) -> None:
        assert similarity(metric, "aaa bbb ccc ddd eee fff", "ggg hhh iii jjj kkk lll") < 0.25

    @pytest.mark.parametrize("metric", METRICS)
    @pytest.mark.parametrize(
        ("pair", "expected"), [(("", ""), 1), (("", "word"), 0), (("word", ""), 0), ((" ", "\n"), 1)]
    )
    def test_nothing(self, metric: Metric, pair: tuple[str, str], expected: float) -> None:
        if (metric, pair) == ("fuzzy_match", (" ", "\n")):
            expected = 0  # two different texts of which nothing is left to compare
        assert similarity(metric, *pair) == expected

    @pytest.mark.parametrize("metric", METRICS)
    def test_is_within_0_and_1(self, metric: Metric) -> None:
        for pair in (GUIDE, GUIDE[::-1], ("a", "a a a a a a"), ("!?", "?!"), ("\x00", "a"), ("🙂", "🙂🙃")):
            assert 0 <= similarity(metric, *pair) <= 1

    @pytest.mark.parametrize("pair", [("a" * (MAX_CHARACTERS + 1), "a"), ("a", "a" * (MAX_CHARACTERS + 1))])
    def test_too_long_a_text_is_not_cut(self, pair: tuple[str, str]) -> None:
        with pytest.raises(GraderFailed) as error:
            similarity("rouge_1", *pair)
        assert error.value.failure.flag == "truncated_observation_error"

    def test_a_fuzzy_match_that_would_take_minutes_is_not_tried(self) -> None:
        with pytest.raises(GraderFailed, match="shorten the texts") as error:
            similarity("fuzzy_match", "ab " * 4000, "ba" * 10_000)
        assert error.value.failure.flag == "truncated_observation_error"
        with pytest.raises(GraderFailed, match="for 11999 characters within 25000"):
            similarity("fuzzy_match", "ab " * 4000 + " " * 13_000, "ba" * 12_500)

    def test_a_fuzzy_match_of_long_texts_of_about_one_length(self) -> None:
        assert similarity("fuzzy_match", "one two " * 6000, "one two " * 5000) > 0.8

    def test_texts_are_not_kept_in_memory(self) -> None:
        similarity("bleu", *CAT)
        assert Tokenizer13a.__call__.cache_info().currsize == 0


class TestRougeOfShortTexts:
    def test_is_0_as_in_rouge_score(self) -> None:
        assert similarity("rouge_2", "yes", "yes") == 0


class TestWords:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("It's a well-known FACT_1.", ["it", "s", "a", "well", "known", "fact", "1"]),
            ("Straße, ÉTÉ e\u0301te\u0301", ["straße", "été", "été"]),
            ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
            ("我喜欢 GPT-4", ["我", "喜", "欢", "gpt", "4"]),
            ("", []),
        ],
    )
    def test_of_any_script(self, text: str, expected: list[str]) -> None:
        assert words(text) == expected


class TestStringCheck:
    @pytest.mark.parametrize(
        ("operation", "text", "reference", "expected"),
        [
            ("eq", "Paris", "Paris", 1), ("eq", "Paris", "paris", 0), ("eq", "Paris ", "Paris", 0),
            ("ne", "Paris", "Paris", 0), ("ne", "Paris", "paris", 1),
            ("like", "It is Paris.", "Paris", 1), ("like", "It is paris.", "Paris", 0), ("like", "Paris", "It is Paris.", 0),
            ("ilike", "It is PARIS.", "paris", 1), ("ilike", "STRASSE", "straße", 1), ("ilike", "Rome", "paris", 0),
            ("like", "a%b", "%", 1), ("like", "ab", "%", 0),
        ],
    )  # fmt: skip
    def test_is(self, operation: str, text: str, reference: str, expected: float) -> None:
        assert check(operation, text, reference) == expected  # type: ignore[arg-type]
