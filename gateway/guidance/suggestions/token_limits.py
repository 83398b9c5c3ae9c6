"""Answers that end in the middle."""

from collections.abc import Iterator
from statistics import median

from gateway.guidance.material import Material
from gateway.guidance.populations import CUT_OFF
from gateway.guidance.suggestions.wording import share
from gateway.protocol.guidance import Cluster, Suggestion

OFTEN = 0.02
"""Share of the answers."""


def suggestions(cluster: Cluster, material: Material) -> Iterator[Suggestion]:
    if cluster.kind != "cut_off" or cluster.failing.value < OFTEN:
        return
    limits = [each.token_limit for each in material.called if each.finish_reason == CUT_OFF]
    yield Suggestion(
        kind="token_limit",
        title="More tokens for answers, or shorter ones",
        why=f"{share(cluster.failing)} of the answers are cut off. {_asked(limits)}.",
        do="Raise max_tokens (max_completion_tokens) where it is set, or ask for shorter answers in the system prompt.",
        parameters={"model": cluster.models[0].value} if cluster.models and cluster.models[0].value else {},
        snippet="Answer in at most five sentences.",
    )


def _asked(limits: list[int | None]) -> str:
    """What calls that were cut off had asked for themselves."""
    named = [each for each in limits if each]
    if not named:
        return "These calls name no limit"
    count = f"{len(named):,} {'names' if len(named) == 1 else 'name'}"
    return f"Of these {len(limits):,} calls {count} a limit: at most {median(named):,.0f} tokens in the median"
