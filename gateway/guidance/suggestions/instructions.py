"""What the system prompt should say."""

from collections.abc import Iterator

from gateway.guidance.material import Material
from gateway.guidance.suggestions.failures import about, is_of_answers
from gateway.guidance.suggestions.wording import share
from gateway.protocol.guidance import Cluster, Suggestion

WORDS = {
    "json": "Reply with one JSON object and nothing else: no text before or after it, no Markdown fence.",
    "length": "Answer in at most five sentences. Leave out introductions, repetitions of the question and closing remarks.",
    "language": "Reply in the language of the user's last message, whatever language the sources are in.",
    "citations": "After each claim name the source that supports it, as [1]. Cite nothing that you were not given.",
    "grounding": "Use only what you were given. Where it does not answer the question, say that you do not know.",
    "refusal": "Refuse only what could hurt somebody. Otherwise answer, and say what you are not sure of.",
    "repetition": "Say each thing once.",
    "private": "Never repeat personal data, passwords or keys, also when they are in the conversation.",
    "tone": "Be polite and matter-of-fact; address the user as a customer whose time is short.",
    "tools": "Call a tool whenever the answer depends on what it knows; fill in every required argument from the conversation.",
    "complete": "Before you answer, list for yourself every question that the user asks, and answer each.",
    "clear": "Begin with the answer in one sentence; then the steps, numbered.",
}
BROAD = 0.05
"""Share of failing answers from which the fault is in what the model is told, more than in single questions."""
UNTELLING = ("thumbs", "rating", "preference", "comment", "correction")
"""Criteria that say that an answer is bad, and not why."""


def suggestions(cluster: Cluster, material: Material) -> Iterator[Suggestion]:
    if not is_of_answers(cluster) or cluster.failing.value < BROAD:
        return
    text = WORDS.get(about(cluster) or "") or _by_description(cluster, material)
    if text:
        yield Suggestion(
            kind="instructions",
            title="A tighter system prompt",
            why=f"It fails in {share(cluster.failing)} of the answers: too many for single questions to be the cause.",
            do="Put this into the system prompt, and run an eval with the old and the new one.",
            snippet=text,
        )
    elif cluster.subject.criterion in UNTELLING and cluster.subject.source == "human":
        yield Suggestion(
            kind="instructions",
            title="Find out why",
            why=f"People dislike {share(cluster.failing)} of the answers, and did not say why.",
            do="Review some of them with failure tags; the tags show here then.",
        )


def _by_description(cluster: Cluster, material: Material) -> str | None:
    """What the criterion asks for can be told to the model, too."""
    criterion = material.criteria.get(cluster.subject.criterion_id or "")
    if criterion is None or criterion.name in UNTELLING or cluster.subject.source == "rule":
        return None
    return f"Your answer will be judged by this: {criterion.description}" if criterion.description else None
