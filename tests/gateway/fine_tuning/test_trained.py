"""How much was trained."""

from pathlib import Path

import pytest

from gateway.fine_tuning.trained import Tally, Trained, trained_in
from trainer.contract import (
    EVENTS,
    RESULT,
    CheckpointSaved,
    DataSummary,
    Failed,
    Hyperparameters,
    Message,
    Metrics,
    Started,
    StepMetrics,
    Succeeded,
    TrainingEvent,
    encode,
)

NUMBERS = Hyperparameters(
    n_epochs=1,
    batch_size=1,
    learning_rate_multiplier=1,
    learning_rate=1,
    lora_rank=1,
    lora_alpha=1,
    context_length=1,
)
SUMMARY = DataSummary(examples=1, tokens=100, label_tokens=1, truncated=0, skipped=0)


def started(at: float, *, tokens: int = 1000, steps: int = 10) -> Started:
    return Started(
        sequence=1,
        created_at=at,
        hyperparameters=NUMBERS,
        training=SUMMARY,
        total_steps=steps,
        trained_tokens=tokens,
        device="none",
    )


def step(at: float, number: int) -> StepMetrics:
    metrics = Metrics(step=number)
    return StepMetrics(sequence=1, created_at=at, metrics=metrics, total_steps=10, learning_rate=1, tokens_per_second=1)


def saved(at: float, number: int) -> CheckpointSaved:
    return CheckpointSaved(sequence=1, created_at=at, path="x", step=number, epoch=1, metrics=Metrics(step=number))


class TestTally:
    def test_nothing(self) -> None:
        assert Tally().trained == Trained(0, 0)
        assert Tally([Message(sequence=1, created_at=50.0, level="info", message="...")]).trained == Trained(0, 0)

    def test_the_steps_that_it_came_to(self) -> None:
        assert Tally([started(100.0), step(101.0, 1), step(104.5, 4)]).trained == Trained(400, 4_500)

    def test_a_checkpoint_is_a_step_as_well(self) -> None:
        assert Tally([started(100.0), step(101.0, 1), saved(103.0, 3)]).trained == Trained(300, 3_000)

    def test_a_part_of_a_token_is_a_token(self) -> None:
        assert Tally([started(100.0, tokens=100, steps=3), step(100.0, 1)]).trained.tokens == 34

    def test_steps_that_are_trained_again_count_once_and_their_time_twice(self) -> None:
        events = [started(100.0), step(105.0, 5), started(200.0), step(202.0, 4), step(203.0, 5), step(204.0, 6)]
        assert Tally(events).trained == Trained(600, 9_000)

    def test_time_between_two_processes_is_nobodys(self) -> None:
        assert Tally([started(100.0), step(101.0, 1), started(9_000.0)]).trained == Trained(100, 1_000)

    def test_a_clock_that_was_set_back_gives_nothing_back(self) -> None:
        assert Tally([started(100.0), step(50.0, 1), started(20.0), step(21.0, 2)]).trained == Trained(200, 1_000)

    def test_it_does_not_matter_in_how_many_pieces_it_is_told(self) -> None:
        events: list[TrainingEvent] = [started(100.0), step(105.0, 5), started(200.0), step(204.0, 6)]
        pieces = Tally()
        for event in events:
            pieces.add([event])
        assert pieces.trained == Tally(events).trained


class TestTrainedIn:
    def test_a_directory_that_is_gone(self, tmp_path: Path) -> None:
        assert trained_in(tmp_path / "gone") == Trained(0, 0)

    @pytest.mark.parametrize("result", [None, Failed(code="server_error", message="...")])
    def test_what_the_trainer_told(self, tmp_path: Path, result: Failed | None) -> None:
        (tmp_path / EVENTS).write_bytes(b"".join(encode(each) + b"\n" for each in (started(1.0), step(3.0, 2))))
        if result:
            (tmp_path / RESULT).write_bytes(encode(result))
        assert trained_in(tmp_path) == Trained(200, 2_000)

    def test_the_result_of_a_training_that_succeeded(self, tmp_path: Path) -> None:
        (tmp_path / EVENTS).write_bytes(encode(started(1.0)) + b"\n")
        result = Succeeded(trained_tokens=999, steps=10, metrics=Metrics(step=10), seconds=1.2345)
        (tmp_path / RESULT).write_bytes(encode(result))
        assert trained_in(tmp_path) == Trained(999, 1_235)
