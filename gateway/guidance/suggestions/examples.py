"""More data on what fails, and examples in the prompt until there is enough to train on."""

from collections.abc import Iterator

from gateway.guidance.material import Material
from gateway.guidance.suggestions.failures import is_of_answers
from gateway.guidance.suggestions.wording import share
from gateway.protocol.guidance import Cluster, Part, Suggestion, Topic

TOPIC = 0.2
"""Of the failures, about nearly the same question."""
LEAST = 3
FEW = 50
"""Failures; from there on a training learns more than a prompt can hold (docs/fine-tuning.md)."""


def suggestions(cluster: Cluster, material: Material) -> Iterator[Suggestion]:
    if not is_of_answers(cluster):
        return
    yield from _metadata(cluster)
    topic = cluster.topics[0] if cluster.topics else None
    if topic and topic.n >= LEAST and topic.n >= TOPIC * topic.of:
        yield _topic(cluster, topic)
    elif not cluster.concentrations and cluster.failing.n >= FEW:
        yield _all(cluster)
    if cluster.failing.n < FEW:
        yield from _few_shot(cluster, material)


def _metadata(cluster: Cluster) -> Iterator[Suggestion]:
    for each in cluster.concentrations[:2]:
        named = f"{each.key}={each.value}"
        yield Suggestion(
            kind="more_data",
            title=f"More data on {named}",
            why=f"It fails in {share(each.failing)} of these calls, and in {share(each.elsewhere)} of all others;"
            f" {each.share_of_failures.value:.0%} of the failures are here.",
            do="Have answers to such calls corrected or approved, and build a dataset of them.",
            parameters=_where(cluster) | {"metadata": named},
        )


def _topic(cluster: Cluster, topic: Topic) -> Suggestion:
    return Suggestion(
        kind="more_data",
        title="More data on the question that fails most",
        why=f"{topic.n:,} of {topic.of:,} compared failures answer nearly the same question.",
        do="Correct some of these answers, and build a dataset with them; keep others of them in an eval.",
        parameters=_where(cluster),
    )


def _all(cluster: Cluster) -> Suggestion:
    return Suggestion(
        kind="more_data",
        title="More data on what fails",
        why=f"{cluster.failing.n:,} answers failed, spread over many questions: enough to learn from.",
        do="Have a sample of them corrected in a review queue, and build a dataset of the corrections.",
        parameters=_where(cluster),
    )


def _few_shot(cluster: Cluster, material: Material) -> Iterator[Suggestion]:
    worst = _route_of(cluster)
    for route in material.routes:
        if worst is not None and route.name == worst and not route.few_shot:
            yield Suggestion(
                kind="few_shot",
                title=f"Show examples on the route {route.name}",
                why=f"{cluster.failing.n:,} failures are few to train on; good answers in the prompt work from the first.",
                do="Write some good answers as training examples, validate them, and let the route show those most alike.",
                parameters={"route": route.name, "route_id": route.id},
            )


def _where(cluster: Cluster) -> dict[str, str]:
    """Of the calls to take answers from: the route of most failures, and what they must pass."""
    found: dict[str, str] = {}
    route = _route_of(cluster)
    if route:
        found["route"] = route
    if cluster.subject.criterion and cluster.kind == "judgment":
        found["criterion"] = cluster.subject.criterion
    return found


def _route_of(cluster: Cluster) -> str | None:
    worst: Part | None = cluster.routes[0] if cluster.routes else None
    return (worst.value or "").partition("@")[0] or None if worst else None
