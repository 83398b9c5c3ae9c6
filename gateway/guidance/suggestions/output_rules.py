"""A rule that holds answers before they leave."""

import json
from collections.abc import Iterator
from typing import Any

from gateway.guidance.material import Judge, Material, Route
from gateway.guidance.suggestions.failures import about, is_of_answers
from gateway.guidance.suggestions.wording import share
from gateway.protocol.guidance import Cluster, Suggestion

RULES: dict[str, dict[str, Any]] = {
    "json": {"type": "json", "object": True},
    "length": {"type": "length", "unit": "words", "most": 200},
    "language": {"type": "language"},
    "citations": {"type": "must_cite_if_claims"},
    "refusal": {"type": "refusal"},
    "repetition": {"type": "repetition"},
    "private": {"type": "personal_data"},
    "tools": {"type": "tool_calls"},
}
"""What can be told without a model (docs/validators.md)."""


def suggestions(cluster: Cluster, material: Material) -> Iterator[Suggestion]:
    """For the route of most failures, where its checks do not say it already."""
    if not is_of_answers(cluster) or not cluster.routes:
        return
    rule = _rule(cluster, material)
    name = (cluster.routes[0].value or "").partition("@")[0]
    route = next((each for each in material.routes if each.name == name), None)
    if rule is None or route is None or rule["type"] in route.rules:
        return
    yield _suggestion(cluster, route, rule)


def _suggestion(cluster: Cluster, route: Route, rule: dict[str, Any]) -> Suggestion:
    rules = json.dumps([rule], ensure_ascii=False)
    return Suggestion(
        kind="output_rule",
        title=f"A check on the route {route.name}",
        why=f"It fails in {share(cluster.routes[0].failing)} of its answers, and the route lets them all leave unchecked.",
        do="Add the rule to the checks of the route: flag shows how often it breaks, block withholds such answers.",
        parameters={"route": route.name, "route_id": route.id, "rule": rule["type"], "rules_json": rules},
        snippet=rules,
    )


def _rule(cluster: Cluster, material: Material) -> dict[str, Any] | None:
    """The one that failed, as its judge has it written down; else the one that is about the same."""
    judge = _judge(cluster, material)
    own = next((each for each in judge.rules if each.get("type") == cluster.subject.tag), None) if judge else None
    return own or RULES.get(about(cluster) or "")


def _judge(cluster: Cluster, material: Material) -> Judge | None:
    wanted = cluster.subject.judge_id
    return next((each for each in material.judges.values() if wanted and each.id == wanted), None)
