"""What came to be in a project, one after the other: datasets, trainings, and the versions of models that they made."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from admin.console.api import Json

Fact = tuple[str, str, Any]
"""What it is, how it is written (a filter of templates), and the value."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One of them."""

    at: int
    kind: str
    """dataset, training or version."""
    name: str
    id: str
    message: str = ""
    """What whoever made it said of it."""
    state: str = ""
    facts: list[Fact] = field(default_factory=list[Fact])


@dataclass(frozen=True, slots=True)
class Sums:
    """Of the trainings that were looked at."""

    trainings: int
    succeeded: int
    models: int
    seconds: float
    tokens: int
    cost_usd: float
    unpriced: int
    """Trainings that ended without a price."""


def entries(jobs: Sequence[Json], models: Sequence[Json], datasets: Sequence[Json]) -> list[Entry]:
    """Newest first. Args: models: of the registry, those that the project made."""
    known = {each["id"]: each for each in jobs}
    found = [*map(_training, jobs), *(_version(each, known) for each in models), *_datasets(datasets)]
    return sorted(found, key=lambda each: each.at, reverse=True)


def sums(jobs: Sequence[Json], models: Sequence[Json]) -> Sums:
    took = [each["actual"] or {} for each in jobs]
    costs = [each["cost_usd"] for each in took if each.get("cost_usd") is not None]
    return Sums(
        trainings=len(jobs),
        succeeded=sum(each["status"] == "succeeded" for each in jobs),
        models=len(models),
        seconds=sum(each.get("seconds") or 0.0 for each in took),
        tokens=sum(each["trained_tokens"] or 0 for each in jobs),
        cost_usd=sum(costs),
        unpriced=sum(bool(each) for each in took) - len(costs),
    )


def _training(job: Json) -> Entry:
    took = job["actual"] or {}
    facts: list[Fact] = [
        ("began with", "", job["model"]),
        ("took", "duration", took.get("seconds")),
        ("cost", "usd", took.get("cost_usd")),
        ("tokens", "number", job["trained_tokens"]),
    ]
    name, goal = job["user_provided_suffix"] or job["id"], (job["metadata"] or {}).get("goal") or ""
    return Entry(job["created_at"], "training", name, job["id"], goal, job["status"].replace("_", " "), _known(facts))


def _version(model: Json, jobs: dict[str, Json]) -> Entry:
    job = jobs.get(model["job_id"] or "") or {}
    last, took = job.get("last_step") or {}, job.get("actual") or {}
    facts: list[Fact] = [
        ("made of", "", model["trained_from"]),
        ("training loss", "loss", last.get("train_loss")),
        ("validation loss", "loss", last.get("full_valid_loss") or last.get("valid_loss")),
        ("cost", "usd", took.get("cost_usd")),
        ("calls in 30 days", "number", model["used"]["requests"]),
    ]
    return Entry(
        model["created_at"] or 0, "version", model["id"], model["id"], model["description"], model["status"], _known(facts)
    )  # fmt: skip


def _datasets(datasets: Sequence[Json]) -> Iterator[Entry]:
    """Their latest versions: a list tells no others."""
    for each in datasets:
        if version := each["latest_version"]:
            facts: list[Fact] = [
                ("rows to train with", "number", version["training_rows"]),
                ("rows to validate", "number", version["validation_rows"]),
            ]
            name = f"{each['name']}, version {version['version']}"
            yield Entry(
                version["created_at"], "dataset", name, each["id"], each["description"], version["status"], _known(facts)
            )  # fmt: skip


def _known(facts: list[Fact]) -> list[Fact]:
    return [each for each in facts if each[2] is not None]
