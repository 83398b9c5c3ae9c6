"""The quality score and its three verdicts (requirements V8, V9)."""

import pytest

from judges.metrics.quality import length_fit, quality


class TestQuality:
    @pytest.mark.parametrize(
        ("accuracy", "judge", "ratio", "score", "verdict"),
        [
            (1.0, 1.0, 1.0, 100.0, "ready"),
            (0.7, 0.55, 1.0, 70.0, "review"),
            (0.7, 0.56, 1.0, 70.4, "ready"),
            (0.5, 0.25, 1.0, 50.0, "review"),
            (0.5, 0.24, 1.0, 49.6, "retrain"),
            (0.0, 0.0, 2.0, 0.0, "retrain"),
        ],
    )
    def test_weights_and_verdicts(
        self, accuracy: float, judge: float, ratio: float, score: float, verdict: str
    ) -> None:
        found = quality(accuracy, judge, ratio)
        assert found.score == pytest.approx(score)
        assert found.verdict == verdict

    def test_says_what_is_low(self) -> None:
        assert quality(0.2, 0.9, 1.5).reasons == [
            "accuracy is low: 0.20",
            "answers are too long: 1.50 times their references",
        ]
        assert quality(0.9, 0.9, 0.5).reasons == ["answers are too short: 0.50 times their references"]

    def test_what_was_not_measured_is_said_and_weighs_nothing(self) -> None:
        found = quality(0.9, None, 1.0)
        assert found.score == pytest.approx(100 * (0.4 * 0.9 + 0.2) / 0.6)
        assert found.reasons == ["judge was not measured"]

    def test_length_alone_is_no_quality(self) -> None:
        found = quality(None, None, 1.0)
        assert (found.score, found.verdict) == (None, None)
        assert found.next_step


class TestLengthFit:
    @pytest.mark.parametrize(
        ("ratio", "fit"), [(0.9, 1.0), (1.1, 1.0), (0.45, 0.5), (2.0, 0.0), (3.0, 0.0), (0.0, 0.0)]
    )
    def test_falls_off_on_both_sides(self, ratio: float, fit: float) -> None:
        assert length_fit(ratio) == pytest.approx(fit)

    def test_what_is_no_ratio_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no ratio"):
            length_fit(float("nan"))
