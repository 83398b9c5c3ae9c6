"""A judge whose word should not count yet."""

from collections.abc import Iterator

from gateway.guidance.material import Judge, Judged, Material
from gateway.guidance.shares import proportion
from gateway.guidance.suggestions.wording import share
from gateway.protocol.guidance import Cluster, Proportion, Suggestion

TOO_OFTEN = 0.2
"""Lower end of the share of answers on which people and the judge disagree."""


def suggestions(cluster: Cluster, material: Material) -> Iterator[Suggestion]:
    """Of LLM judges: rules do what they say."""
    judge_id = cluster.subject.judge_id
    if cluster.subject.source != "llm" or judge_id is None:
        return
    versions = {id: each for id, each in material.judges.items() if each.id == judge_id}
    if not versions:
        return
    judge = next(iter(versions.values()))
    disagreement = _disagreement(material.judged, set(versions), cluster.subject.criterion or "", material)
    why = _doubt(judge, disagreement)
    if why is not None:
        yield Suggestion(
            kind="distrust_judge",
            title=f"Do not trust the judge {judge.name} yet",
            why=why,
            do="Hold it against people: have some of these answers reviewed and calibrate it, or sharpen its instructions.",
            parameters={"judge_id": judge.id},
        )


def _doubt(judge: Judge, disagreement: Proportion) -> str | None:
    if judge.kappa_low is not None and judge.kappa_low < judge.wanted_kappa:
        return (
            f"Its agreement with people beyond chance (kappa) is {judge.kappa or 0:.2f}, at least {judge.kappa_low:.2f}"
            f" (n = {judge.n:,}); {judge.wanted_kappa:.2f} is wanted."
        )
    if disagreement.low > TOO_OFTEN:
        return f"People say otherwise in {share(disagreement)} of the answers that both judged."
    if judge.kappa_low is None and not judge.trusted:
        return "It was never held against people, so nobody knows whether its failures are any."
    return None


def _disagreement(judged: list[Judged], versions: set[str], criterion: str, material: Material) -> Proportion:
    """With people's verdicts on the same answers by a criterion of that name; by thumbs where there is none of it."""
    by_judge = {each.exchange_id: each.passed for each in judged if each.judge_version_id in versions}
    people = [each for each in judged if each.source == "human" and each.passed is not None]
    names = {id: each.name for id, each in material.criteria.items()}
    same = [each for each in people if names.get(each.criterion_id) == criterion]
    said = same or [each for each in people if names.get(each.criterion_id) == "thumbs"]
    both = [(by_judge[each.exchange_id], each.passed) for each in said if by_judge.get(each.exchange_id) is not None]
    return proportion(sum(one != other for one, other in both), len(both))
