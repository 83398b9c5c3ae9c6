import math

import pytest
from sacrebleu.metrics.bleu import BLEU

from gateway.evals.item_metrics import beside, stored
from gateway.evals.measuring import measure
from tests.gateway.evals.graded import JUDGE, SAME, figures, graded, run_of


def test_long_texts_have_no_rouge_l() -> None:
    """Its time is the product of both lengths: of two of 800 kB ten seconds, in which the worker does nothing else."""
    short, long = "a b " * 10, "a b " * 20_000
    assert "rouge_l" in beside(short, short).numbers
    for answer, reference in ((short, long), (long, short)):
        found = beside(answer, reference)
        assert set(found.numbers) == {"exact_match", "token_f1", "length_ratio"}
        assert stored(found, None, answer, {})


class TestPassRate:
    def test_with_wilsons_interval(self) -> None:
        """8 of 10: the vector of the statistics' own tests."""
        found = measure(run_of(*[True] * 8, *[False] * 2)).pass_rate
        assert (found.value, found.n, found.clusters) == (0.8, 10, 10)
        assert (found.low, found.high) == (pytest.approx(0.49016, abs=1e-5), pytest.approx(0.94332, abs=1e-5))

    def test_repeats_narrow_nothing(self) -> None:
        """Each item answered ten times, always alike: the interval of one answer each."""
        once = measure(run_of(*[True] * 8, *[False] * 2)).pass_rate
        ten = [graded(number, number < 8, repeat=repeat) for number in range(10) for repeat in range(10)]
        found = measure(figures(ten, repeats=10)).pass_rate
        assert (found.value, found.n, found.clusters) == (0.8, 100, 10)
        assert found.high is not None
        assert found.low is not None
        assert once.high is not None
        assert once.low is not None
        assert found.high - found.low >= (once.high - once.low) * 0.99

    def test_what_could_not_be_graded_is_in_coverage_alone(self) -> None:
        found = measure(run_of(True, True, None, None))
        assert (found.pass_rate.value, found.pass_rate.n, found.coverage) == (1.0, 2, 0.5)

    def test_of_nothing(self) -> None:
        found = measure(run_of(None))
        assert (found.pass_rate.value, found.coverage, found.quality.score) == (None, 0.0, None)


class TestJudge:
    def test_is_the_mean_of_models_alone(self) -> None:
        items = [
            graded(0, True, scores={"same-1": (1.0, True), "judge-1": (0.25, False)}),
            graded(1, True, scores={"same-1": (1.0, True), "judge-1": (0.75, True)}),
            graded(2, True),
        ]
        found = measure(figures(items, criteria=[SAME, JUDGE]))
        assert found.judge is not None
        assert (found.judge.value, found.judge.n) == (0.5, 2)
        assert found.judge.low is not None
        assert 0 <= found.judge.low < 0.5
        assert (found.criteria[1].pass_rate.value, found.criteria[1].score.value) == (0.5, 0.5)


class TestReferences:
    def test_bleu_is_that_of_the_whole_set(self) -> None:
        """Summed from what each item counted; sacreBLEU on all texts at once says the same."""
        answers = ["the cat sat on the mat", "a house on the hill", "it rains"]
        references = ["the cat is on the mat", "the house on a hill", "it rains today"]
        items = [
            graded(n, True, metrics=stored(beside(a, r), None, a, {}))
            for n, (a, r) in enumerate(zip(answers, references, strict=True))
        ]
        found = measure(figures(items)).bleu
        assert found is not None
        assert found.value == pytest.approx(BLEU().corpus_score(answers, [references]).score)
        assert found.low is not None
        assert found.high is not None
        assert found.low <= found.value <= found.high

    def test_one_pair_is_the_known_vector(self) -> None:
        answer, reference = "the cat sat on the mat", "the cat is on the mat"
        found = measure(figures([graded(0, True, metrics=stored(beside(answer, reference), None, answer, {}))]))
        assert found.bleu is not None
        assert found.bleu.value == pytest.approx(37.99178, abs=1e-5)
        assert (found.bleu.low, found.bleu.high) == (None, None)
        assert found.rouge_l is not None
        assert found.rouge_l.value == pytest.approx(5 / 6)
        assert found.token_f1 is not None
        assert found.token_f1.value == pytest.approx(0.75)

    def test_long_answers_raise_an_alert(self) -> None:
        items = [graded(n, True, metrics=stored(beside("a b c d", "a b"), None, "", {})) for n in range(3)]
        found = measure(figures(items)).length_ratio
        assert found is not None
        assert (found.median, found.share_longer) == (2.0, 1.0)
        assert found.alert is not None

    def test_few_short_references_are_labels(self) -> None:
        said = ["spam", "ham", "ham", "ham"]
        right = ["spam", "spam", "ham", "ham"]
        items = [
            graded(n, True, metrics=stored(beside(a, r), None, a, {}))
            for n, (a, r) in enumerate(zip(said, right, strict=True))
        ]
        found = measure(figures(items)).labels
        assert found is not None
        assert (found.labels, found.n) == (2, 4)
        assert found.precision == pytest.approx((1 + 2 / 3) / 2)
        assert found.recall == pytest.approx((0.5 + 1) / 2)

    def test_sentences_are_not(self) -> None:
        items = [graded(n, True, metrics=stored(beside("x", f"sentence {n}"), None, "x", {})) for n in range(4)]
        assert measure(figures(items)).labels is None


class TestPerplexity:
    def test_weighs_tokens_and_not_answers(self) -> None:
        """p = .5, .25 and .125: 4.0, however they are spread over answers."""
        logs = [math.log(p) for p in (0.5, 0.25, 0.125)]
        items = [
            graded(0, True, metrics=stored(None, (logs[0],), "ab", {})),
            graded(1, True, metrics=stored(None, tuple(logs[1:]), "cdef", {})),
        ]
        found = measure(figures(items)).perplexity
        assert found is not None
        assert (found.value, found.tokens) == (pytest.approx(4.0), 3)
        assert found.bits_per_byte == pytest.approx(6 / 6)


class TestSteadiness:
    def test_flips_and_passes(self) -> None:
        verdicts = {0: (True, True), 1: (True, False), 2: (False, False), 3: (True, None)}
        items = [graded(n, passed, repeat=r) for n, each in verdicts.items() for r, passed in enumerate(each)]
        found = measure(figures(items, repeats=2)).steadiness
        assert found is not None
        assert (found.k, found.items) == (2, 3)
        assert found.pass_at_k == pytest.approx(2 / 3)
        assert found.pass_all_k == pytest.approx(1 / 3)
        assert found.flip_rate == pytest.approx(1 / 3)

    def test_is_none_without_repeats(self) -> None:
        assert measure(run_of(True, False)).steadiness is None


class TestQuality:
    def test_the_three_verdicts(self) -> None:
        """0.4 accuracy + 0.4 judge + 0.2 length."""

        def of(share: int, judge: float) -> tuple[float | None, str | None]:
            items = [
                graded(
                    n,
                    n < share,
                    scores={"same-1": (float(n < share), n < share), "judge-1": (judge, judge > 0.5)},
                    metrics=stored(beside("a b", "a b"), None, "", {}),
                )
                for n in range(10)
            ]
            found = measure(figures(items, criteria=[SAME, JUDGE])).quality
            return found.score, found.verdict

        assert of(9, 0.8) == (pytest.approx(88.0), "ready")
        assert of(5, 0.5) == (pytest.approx(60.0), "review")
        assert of(2, 0.2) == (pytest.approx(36.0), "retrain")

    def test_reasons_name_what_is_low(self) -> None:
        found = measure(run_of(True, False, False)).quality
        assert any("accuracy is low" in reason for reason in found.reasons)
        assert any("judge was not measured" in reason for reason in found.reasons)
        assert found.next_step
