"""Whether something fails more than it did, and what began right before."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.guidance.material import Material
from gateway.guidance.populations import Population, Sighting
from gateway.guidance.shares import among, change
from gateway.protocol.guidance import Change, Since, Trend

LEAST = 10
"""Answers on either side of a moment."""


@dataclass(frozen=True, slots=True)
class _Beginning:
    """Of a model, or of a route's revision."""

    kind: Literal["model", "route_revision"]
    name: str
    at: float
    before: tuple[int, int]
    """Failures, of how many."""
    after: tuple[int, int]
    training_job_id: str | None = None


def trend(population: Population) -> Trend | None:
    """The newer half of the time that was looked at against the older one. None: there is too little, or time says nothing."""
    times = [each.at for each in population.sightings]
    if not population.timed or not times:
        return None
    middle = (min(times) + max(times)) / 2
    before, after = _split(population.sightings, middle)
    if before[1] < LEAST or after[1] < LEAST:
        return None
    found = change(middle, before, after)
    direction = "rose" if found.low > 0 else "fell" if found.high < 0 else "unsure"
    return Trend(direction=direction, change=found)


def since(population: Population, material: Material) -> Since | None:
    """What began before more failed: the beginning with the surest rise. None where no rise is sure, however many
    beginnings were looked at."""
    if not population.timed:
        return None
    beginnings = [*_models(population.sightings, material), *_revisions(population.sightings, material)]
    rises = [(each, _rise(each, len(beginnings))) for each in beginnings]
    sure = [(each, rise) for each, rise in rises if rise.low > 0]
    if not sure:
        return None
    first, rise = max(sure, key=lambda each: (each[1].low, each[0].name))
    return Since(kind=first.kind, name=first.name, change=rise, training_job_id=first.training_job_id)


def _rise(each: _Beginning, looks: int) -> Change:
    return change(each.at, each.before, each.after, among(looks))


def _models(sightings: Sequence[Sighting], material: Material) -> Iterator[_Beginning]:
    """Answers by a model that was trained here, against those by any other before it was there."""
    for model in sorted({each.model for each in sightings if each.model in material.trainings} - {None}):
        assert model is not None
        training = material.trainings[model]
        after = _counted([each for each in sightings if each.model == model])
        before = _counted([each for each in sightings if each.model != model and each.at < training.created_at])
        if before[1] >= LEAST and after[1] >= LEAST:
            yield _Beginning("model", model, training.created_at, before, after, training.job_id)


def _revisions(sightings: Sequence[Sighting], material: Material) -> Iterator[_Beginning]:
    """Answers through one revision of a route, against those through the one before it."""
    through: dict[str, list[Sighting]] = {}
    for each in sightings:
        through.setdefault(each.route or "", []).append(each)
    for route in material.routes:
        numbers = sorted(number for number, _ in route.revisions)
        for number, at in route.revisions:
            earlier = [each for each in numbers if each < number]
            before = _counted(through.get(f"{route.name}@{earlier[-1]}", []) if earlier else [])
            after = _counted(through.get(f"{route.name}@{number}", []))
            if before[1] >= LEAST and after[1] >= LEAST:
                yield _Beginning("route_revision", f"{route.name}@{number}", at, before, after)


def _split(sightings: Sequence[Sighting], at: float) -> tuple[tuple[int, int], tuple[int, int]]:
    return _counted([each for each in sightings if each.at < at]), _counted(
        [each for each in sightings if each.at >= at]
    )


def _counted(sightings: Sequence[Sighting]) -> tuple[int, int]:
    return sum(each.failed for each in sightings), len(sightings)
