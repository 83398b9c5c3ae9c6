"""Other settings of a training, and the way back."""

from typing import Any

import pytest

from gateway.protocol.guidance import Suggestion
from tests.gateway.guidance.materials import START, judged, only, training


def settings(**changes: Any) -> list[Suggestion]:
    said = [judged(n, passed=False, model="ft:x") for n in range(5)]
    cluster = only(judged=said, trainings={"ft:x": training(**changes)})
    return [each for each in cluster.suggestions if each.kind == "training_settings"]


class TestSettings:
    def test_overfitting_wants_fewer_epochs(self) -> None:
        [found] = settings(valid_losses=[(10, 1.0), (20, 1.3)])
        assert found.title == "Fewer epochs"
        assert "checkpoint of step 10" in found.do
        assert "fewer than 3 epochs" in found.do
        assert found.parameters == {"model": "ft:x", "job_id": "ftjob-1"}

    def test_what_never_learnt_wants_a_higher_rank(self) -> None:
        [found] = settings(first_loss=2.0, last_loss=1.99)
        assert found.title == "Higher rank or learning rate"
        assert "a rank above 16" in found.do
        assert "multiplier of 2" in found.do

    def test_what_is_known_by_heart_wants_other_data(self) -> None:
        assert [each.title for each in settings(last_loss=0.01)] == ["More varied data"]

    @pytest.mark.parametrize("losses", [(0.69, 0.68), (0.69, 0.01)])
    def test_none_by_the_loss_of_pairs(self, losses: tuple[float, float]) -> None:
        """It begins at ln 2 and falls to nothing where answers are told apart: no nats a token."""
        assert settings(method="dpo", first_loss=losses[0], last_loss=losses[1]) == []

    def test_none_of_a_training_that_learnt(self) -> None:
        assert settings() == []

    def test_none_of_one_that_measured_nothing(self) -> None:
        assert settings(first_loss=None, last_loss=None, valid_losses=[]) == []

    def test_none_of_a_model_that_was_not_trained_here(self) -> None:
        cluster = only(judged=[judged(n, passed=False) for n in range(5)])
        assert "training_settings" not in [each.kind for each in cluster.suggestions]


class TestWayBack:
    def test_after_a_training_that_made_it_worse(self) -> None:
        said = [judged(n, passed=n > 2) for n in range(60)]
        said += [judged(60 + n, passed=n > 30, model="ft:x") for n in range(60)]
        cluster = only(judged=said, trainings={"ft:x": training(created_at=START + 3600.0)})
        [found] = [each for each in cluster.suggestions if each.kind == "roll_back"]
        assert found.parameters == {"model": "ft:x", "job_id": "ftjob-1"}
        assert "5% before (n = 60), 52% since (n = 60)" in found.why

    def test_not_after_one_that_did_not(self) -> None:
        said = [judged(n, passed=n > 2) for n in range(60)]
        said += [judged(60 + n, passed=n > 3, model="ft:x") for n in range(60)]
        cluster = only(judged=said, trainings={"ft:x": training(created_at=START + 3600.0)})
        assert "roll_back" not in [each.kind for each in cluster.suggestions]
