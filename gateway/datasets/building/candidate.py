"""What selection hands to cleaning: one line that may become one of a dataset, and where it comes from.

Candidates are numbered from 0 in the order of selection and lie on disk (`workplace.py`), so that a million of them take
little memory. Cleaning (`gateway/datasets/cleaning/`) is given `number`, texts and keys, and answers with numbers.
"""

from typing import Any, Literal

import msgspec

Kind = Literal["sft", "preference"]
Signal = Literal["edit", "human", "checked", "unjudged", "example", "vote", "compared", "regenerated", "choices"]
"""Why it was taken. `edit`: a person wrote it; `human`: a person liked it; `checked`: rules and a judge passed it;
`vote`: a person preferred it; `compared`: a judge did, in both orders; `regenerated`, `choices`: answers of one prompt with
scores apart, of several calls or of one."""


class Candidate(msgspec.Struct, kw_only=True):
    kind: Kind
    line: dict[str, Any]
    """As a line of OpenAI's training files: {"messages", "tools"?} or {"input", "preferred_output",
    "non_preferred_output"}. Not redacted yet."""
    question: str
    """Texts of the messages before the answer, system prompts left out: what must not be on both sides of a split."""
    answer: str
    """Text of the answer that is learnt, calls of tools included; of a pair, the chosen one."""
    rejected: str = ""
    """Of a pair."""
    conversation: str
    """Key of the conversation that it is a turn of."""
    end_user: str | None = None
    """Keyed hash."""
    exchange_id: str | None = None
    other_exchange_id: str | None = None
    example_id: str | None = None
    votes: int = 1
    """Of a pair: by how many more people, or judgments of models, the chosen answer was preferred."""
    judgment_ids: list[str] = msgspec.field(default_factory=list[str])
    origin_model: str | None = None
    """Whose answer is learnt; None for one that a person wrote."""
    depth: int = 0
    """Trainings on own answers behind it: 0 for a base model's, a person's or another provider's answer."""
    signal: Signal
