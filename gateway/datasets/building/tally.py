"""Counts of what was looked at, taken and left out, with a few examples of each reason."""

from dataclasses import dataclass, field

from gateway.protocol.dataset_versions import Dropped

SHOWN = 5
"""Examples of a reason."""

REASONS: dict[str, str] = {
    "unjudged": "Nobody said anything of the answer.",
    "no_positive_signal": "What was said of the answer is no sign that it is good.",
    "untrusted_judge": "Only a judge passed it whose agreement with people was not shown (positive.allow_untrusted).",
    "vetoed": "A person said that it is not good.",
    "condition_not_met": "It does not meet the recipe's criteria.",
    "deleted": "It was deleted while the dataset was built.",
    "not_text": "There are images, audio or files in it, or its bodies are no chat.",
    "empty_answer": "The answer is empty.",
    "cut_off": "The answer was cut off by a limit of tokens or a filter.",
    "too_many_turns": "The conversation has more turns than turns.max_turns.",
    "too_deep": "More trainings lie behind the model that answered than self_training.max_depth.",
    "unusable": "No line of a training file can be made of it.",
    "part_of_longer": "A later call of the same conversation, which is taken, contains it.",
    "tie": "Both answers are as good as each other.",
    "contradictory": "Of the same two answers the other one was preferred, as often or more often.",
    "circular": "Preferences go round in a circle (A over B, B over C, C over A), and this one is of the weakest in it.",
    "single_candidate": "There is one answer of the prompt with a score, so nothing to compare it with.",
    "no_common_criterion": "The answers were not judged by the same version of any criterion.",
    "liked": "A person liked the answer with the lower scores, and not the other one.",
    "margin": "Their scores are closer than pairs.min_margin.",
    "different_prompts": "The two answers answer different prompts.",
    "one_order_only": "The judge saw the answers in one order only.",
    "not_taken": "The other answer is none that the recipe takes, or it was deleted.",
    "identical": "Both answers are the same but for case, white space and punctuation.",
    "near_identical": "The answers are more alike than pairs.max_similarity.",
    "few_differing_tokens": "The answers differ by fewer words than pairs.min_differing_tokens.",
    "refusal_chosen": "The preferred answer is a refusal (pairs.allow_refusals).",
    "length_balance": "Left out so that the longer answer is not chosen too often (pairs.balance_length).",
    "contaminated": "A test suite contains it.",
    "duplicate": "It is in the dataset already.",
    "near_duplicate": "Nearly the same is in the dataset already.",
    "user_cap": "There are enough rows of this user (caps.per_user).",
    "topic_cap": "There are enough rows about this (caps.per_topic).",
    "total_cap": "There are enough rows (caps.total).",
    "self_training_share": "Models that were trained here wrote too much of the dataset (self_training.max_share).",
}
"""Why something is not in a dataset, and what that means."""


@dataclass
class Reason:
    count: int = 0
    examples: list[dict[str, str]] = field(default_factory=list[dict[str, str]])


@dataclass
class Tally:
    """What became of everything."""

    considered: int = 0
    """Answers, or pairs of them, that could have become rows."""
    reasons: dict[str, Reason] = field(default_factory=dict[str, Reason])

    def drop(self, reason: str, **where: str | None) -> None:
        """Args: where: names of ids, for an example."""
        assert reason in REASONS, reason
        dropped = self.reasons.setdefault(reason, Reason())
        dropped.count += 1
        if len(dropped.examples) < SHOWN:
            dropped.examples.append({name: value for name, value in where.items() if value is not None})


def dropped_of(tally: Tally) -> list[Dropped]:
    """The most frequent reason first."""
    ordered = sorted(tally.reasons.items(), key=lambda item: (-item[1].count, item[0]))
    return [
        Dropped(reason=name, meaning=REASONS[name], count=reason.count, examples=reason.examples)
        for name, reason in ordered
    ]
