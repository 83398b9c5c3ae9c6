"""Clusters of failures: by what failed, and of each by which model, route, topic and metadata, since when, and why perhaps."""

from collections.abc import Callable, Sequence
from hashlib import blake2b

import msgspec

from gateway.guidance.changes import since, trend
from gateway.guidance.concentrations import concentrations
from gateway.guidance.material import Material
from gateway.guidance.populations import PEOPLE, Population, Sighting, populations
from gateway.guidance.shares import proportion
from gateway.guidance.topics import topics
from gateway.protocol.guidance import Cluster, Example, LookedAt, Part, Report, Topic

LEAST = 2
"""Failures of a cluster: one is an exchange, no pattern."""
MOST = 30
MOST_PARTS = 10
EXAMPLES = 5


def report(material: Material) -> Report:
    """Everything but suggestions and texts. What touches most answers and people comes first; what a judge says whose
    agreement with people was not shown comes last."""
    kept = [each for each in populations(material) if len(each.failures) >= LEAST]
    kept.sort(key=lambda each: (each.trusted is False, -len(each.failures), -_end_users(each), each.title))
    times = [each.at for each in (*material.judged, *material.called, *material.tested)]
    looked_at = LookedAt(
        judgments=len(material.judged),
        calls=len(material.called),
        replies=sum(each.finish_reason is not None for each in material.called),
        eval_items=len(material.tested),
        since=int(min(times)) if times else None,
        complete=material.complete,
    )
    return Report(
        looked_at=looked_at, clusters=[_cluster(each, material) for each in kept[:MOST]], missing=_missing(material)
    )


def _cluster(population: Population, material: Material) -> Cluster:
    failures = sorted(population.failures, key=lambda each: (-each.at, each.id))
    alike, compared = topics(failures, material.questions)
    return Cluster(
        id=_id(population),
        kind=population.kind,
        title=population.title,
        subject=population.subject,
        trusted=population.trusted,
        failing=proportion(len(failures), len(population.sightings)),
        end_users=_end_users(population),
        models=_parts(population.sightings, lambda each: each.model),
        routes=_parts([each for each in population.sightings if each.route], lambda each: each.route),
        topics=[Topic(n=len(group), of=compared, example=_example(group[0])) for group in alike],
        concentrations=concentrations(population.sightings),
        examples=[_example(each) for each in failures[:EXAMPLES]],
        first_seen=int(failures[-1].at),
        last_seen=int(failures[0].at),
        trend=trend(population),
        since=since(population, material),
    )


def _id(population: Population) -> str:
    subject = population.subject
    named = (
        population.kind, subject.source, subject.criterion_id, subject.judge_id, subject.tag, subject.code, subject.outcome, subject.model,
        subject.eval_id, subject.criterion,
    )  # fmt: skip
    return "cluster_" + blake2b(msgspec.json.encode(named), digest_size=8).hexdigest()


def _parts(sightings: Sequence[Sighting], named: Callable[[Sighting], str | None]) -> list[Part]:
    """Those with failures, the most first."""
    every: dict[str | None, list[Sighting]] = {}
    for each in sightings:
        every.setdefault(named(each), []).append(each)
    counted = [(name, sum(each.failed for each in group), len(group)) for name, group in every.items()]
    worst = sorted((each for each in counted if each[1]), key=lambda each: (-each[1], each[2], each[0] or ""))
    return [Part(value=name, failing=proportion(n, of)) for name, n, of in worst[:MOST_PARTS]]


def _example(each: Sighting) -> Example:
    return Example(
        created_at=int(each.at),
        model=each.model,
        exchange_id=each.exchange_id,
        eval_id=each.eval_id,
        run_id=each.run_id,
        output_item_id=each.id if each.eval_id else None,
    )


def _end_users(population: Population) -> int:
    return len({each.end_user for each in population.sightings if each.failed and each.end_user})


def _missing(material: Material) -> list[str]:
    sources = {each.source for each in material.judged}
    there = {
        "calls": bool(material.called),
        "judgments": bool(sources),
        "people": PEOPLE in sources,
        "rules": "rule" in sources,
        "judges": "llm" in sources,
        "evals": bool(material.tested),
    }
    return [name for name, is_there in there.items() if not is_there]
