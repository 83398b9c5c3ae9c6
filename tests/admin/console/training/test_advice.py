"""Curves with known answers."""

from typing import Any

import pytest

from admin.console.training.advice import NO_VALIDATION, advice, best_checkpoint, smoothed

GIB = 2**30


def curve(*losses: float, total: int = 30, **more: Any) -> list[dict[str, Any]]:
    return [{"step": at + 1, "total_steps": total, "train_loss": loss, **more} for at, loss in enumerate(losses)]


def falling(steps: int = 30, low: float = 0.5) -> list[float]:
    return [low + 2.0 * 0.85**at for at in range(steps)]


def codes(steps: list[dict[str, Any]], **more: Any) -> list[str]:
    return [each.code for each in advice(steps, has_validation=True, **more)]


class TestTraining:
    def test_a_falling_loss_needs_nothing(self) -> None:
        assert codes(curve(*falling())) == []

    def test_one_bad_batch_is_nothing(self) -> None:
        losses = falling()
        losses[20] = 9.0
        assert codes(curve(*losses)) == []

    def test_diverging(self) -> None:
        assert codes(curve(*falling(15), *[3.0 + at for at in range(15)])) == ["diverging"]

    def test_rising_but_below_the_beginning(self) -> None:
        assert codes(curve(*falling(20), *[1.2] * 10)) == ["loss_rising"]

    def test_not_falling(self) -> None:
        assert codes(curve(*[2.0] * 30)) == ["not_falling"]

    def test_not_falling_is_not_said_at_the_very_beginning(self) -> None:
        assert codes(curve(*[2.0] * 16, total=1000)) == []

    def test_known_by_heart(self) -> None:
        assert codes(curve(*falling(30, low=0.001)[:25], *[0.001] * 10)) == ["memorized"]

    def test_too_few_steps_say_nothing(self) -> None:
        assert codes(curve(*[2.0] * 14)) == []


class TestValidation:
    def test_overfitting_names_the_step_to_go_back_to(self) -> None:
        steps = curve(*falling())
        for at, loss in ((9, 1.0), (19, 0.8), (29, 0.95)):
            steps[at]["full_valid_loss"] = loss
        [told] = advice(steps, has_validation=True)
        assert told.code == "overfitting"
        assert "step 20" in told.found
        assert "step 20" in told.action

    def test_of_batches_where_no_epoch_has_ended(self) -> None:
        steps = curve(*falling())
        for at, each in enumerate(steps):
            each["valid_loss"] = 1.0 - 0.02 * min(at, 15) + 0.05 * max(at - 15, 0)
        assert codes(steps) == ["overfitting"]

    def test_a_little_higher_is_no_overfitting(self) -> None:
        steps = curve(*falling())
        for at, loss in ((9, 1.0), (19, 0.8), (29, 0.83)):
            steps[at]["full_valid_loss"] = loss
        assert codes(steps) == []

    def test_without_validation_data_it_is_said(self) -> None:
        assert advice(curve(*falling()), has_validation=False) == [NO_VALIDATION]


class TestMemory:
    @pytest.mark.parametrize(("used", "told"), [(71, []), (72, ["memory_nearly_full"])])
    def test_near_the_limit(self, used: int, told: list[str]) -> None:
        steps = curve(*falling(), memory_bytes=used * GIB, device_memory_bytes=80 * GIB)
        assert codes(steps) == told

    def test_nothing_is_said_where_it_was_not_measured(self) -> None:
        assert codes(curve(1.0)) == []


def test_the_worst_comes_first() -> None:
    steps = curve(*falling(15), *[3.0 + at for at in range(15)], memory_bytes=95, device_memory_bytes=100)
    assert [each.level for each in advice(steps, has_validation=False)] == ["bad", "warn", "info"]


class TestBestCheckpoint:
    def test_is_the_lowest_loss_on_the_whole_validation_file(self) -> None:
        losses = {10: (0.9, 0.1), 20: (0.7, 0.3), 30: (0.8, 0.2)}
        told = [
            {"step_number": at, "metrics": {"full_valid_loss": a, "valid_loss": b}} for at, (a, b) in losses.items()
        ]
        assert best_checkpoint(told) == 20
        assert best_checkpoint([{"step_number": 5, "metrics": {"train_loss": 1.0}}]) is None

    def test_of_equal_ones_the_earlier(self) -> None:
        told = [{"step_number": at, "metrics": {"valid_loss": 0.5}} for at in (30, 10, 20)]
        assert best_checkpoint(told) == 10


def test_smoothing_is_a_running_median() -> None:
    assert smoothed([1, 9, 1, 1, 1, 5]) == [1, 5, 1, 1, 1, 1]
