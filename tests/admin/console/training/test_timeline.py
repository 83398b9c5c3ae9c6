"""What came to be in a project, in order."""

from typing import Any

from admin.console.training.timeline import entries, sums


def job(id: str, at: int, **more: Any) -> dict[str, Any]:
    usual = {"actual": None, "trained_tokens": None, "metadata": None, "user_provided_suffix": None, "last_step": None}
    return {"id": id, "created_at": at, "status": "succeeded", "model": "base", **usual, **more}


def model(id: str, at: int, **more: Any) -> dict[str, Any]:
    usual = {"job_id": None, "trained_from": "base", "description": "", "status": "active", "used": {"requests": 0}}
    return {"id": id, "created_at": at, **usual, **more}


class TestEntries:
    def test_newest_first_of_all_kinds(self) -> None:
        version = {"version": 2, "created_at": 20, "training_rows": 9, "validation_rows": None, "status": "ready"}
        datasets = [
            {"id": "dataset_1", "name": "tickets", "description": "ours", "latest_version": version},
            {"id": "dataset_2", "name": "none", "description": "", "latest_version": None},
        ]
        found = entries([job("ftjob-1", 10)], [model("ft:base:x", 30)], datasets)
        assert [(each.at, each.kind, each.name) for each in found] == [
            (30, "version", "ft:base:x"),
            (20, "dataset", "tickets, version 2"),
            (10, "training", "ftjob-1"),
        ]
        assert found[1].facts == [("rows to train with", "number", 9)]

    def test_a_version_says_what_its_training_measured_and_cost(self) -> None:
        trained = job(
            "ftjob-1", 10, actual={"seconds": 60.0, "cost_usd": 0.5}, last_step={"train_loss": 0.7, "valid_loss": 0.9},
            metadata={"goal": "label tickets"}, user_provided_suffix="shop",
        )  # fmt: skip
        version, training = entries([trained], [model("m", 30, job_id="ftjob-1", description="shorter")], [])
        assert version.message == "shorter"
        assert ("validation loss", "loss", 0.9) in version.facts
        assert ("cost", "usd", 0.5) in version.facts
        assert (training.name, training.message) == ("shop", "label tickets")
        assert ("took", "duration", 60.0) in training.facts


class TestSums:
    def test_what_was_measured_is_added_up_and_the_rest_is_counted(self) -> None:
        jobs = [
            job("a", 1, actual={"seconds": 60.0, "cost_usd": 0.5}, trained_tokens=100),
            job("b", 2, actual={"seconds": 30.0, "cost_usd": None}, trained_tokens=50),
            job("c", 3, status="failed"),
        ]
        found = sums(jobs, [model("m", 1)])
        assert (found.trainings, found.succeeded, found.models) == (3, 2, 1)
        assert (found.seconds, found.tokens, found.cost_usd, found.unpriced) == (90.0, 150, 0.5, 1)
