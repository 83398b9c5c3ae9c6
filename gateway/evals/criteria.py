"""The testing criteria of an eval: graders with an id, and when a reward is a pass."""

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.protocol.evals import Metrics
from judges.graders import Grader, LabelModel, Python, ScoreModel, Single, StringCheck, TextSimilarity, type_of
from judges.messages import parts
from judges.model_graders import DEFAULT_RANGE
from judges.validation import parse

_sample = re.compile(r"\{\{\s*sample\b")
_item = re.compile(r"\{\{\s*item\b")
HALF = 0.5


@dataclass(frozen=True, slots=True)
class Criterion:
    """One of an eval's."""

    id: str
    """As OpenAI makes them: its name and a UUID."""
    grader: Single

    @property
    def name(self) -> str:
        return self.grader.name

    @property
    def type(self) -> str:
        return type_of(self.grader)

    @property
    def is_judge(self) -> bool:
        """Whether a model grades."""
        return isinstance(self.grader, ScoreModel | LabelModel)

    def passes(self, reward: float) -> bool:
        """Whether a reward is a pass: from the threshold on; whatever says yes or no, when it says yes."""
        return reward >= self.threshold()

    def threshold(self) -> float:
        """The least reward that is a pass.

        Where none is named, a score model passes from the middle of its range, Python from one half.
        """
        match self.grader:
            case TextSimilarity(pass_threshold=named) | Python(pass_threshold=named):
                return HALF if named is None else named
            case ScoreModel(pass_threshold=named):
                return sum(self.scale()) / 2 if named is None else named
            case _:
                return 1.0

    def score(self, reward: float) -> float:
        """The reward from 0 to 1: a score model's is a place in its range; what Python returns beyond is the nearer end."""
        low, high = self.scale()
        return min(1.0, max(0.0, (reward - low) / (high - low)))

    def scale(self) -> tuple[float, float]:
        """Lowest and highest reward. Python may leave it."""
        if isinstance(self.grader, ScoreModel):
            low, high = self.grader.range or DEFAULT_RANGE
            return low, high
        return 0.0, 1.0

    def needs_sample(self) -> bool:
        """Whether it looks at an answer. What Python looks at is not known."""
        return any(_sample.search(text) for text in _texts(self.grader))


def with_id(grader: Grader) -> dict[str, Any]:
    """As it is stored and shown."""
    return msgspec.to_builtins(grader) | {"id": f"{grader.name}-{uuid.uuid4()}"}


def read(stored: Iterable[dict[str, Any]]) -> list[Criterion]:
    """What was stored, as graders."""
    found: list[Criterion] = []
    for each in stored:
        grader = parse({name: value for name, value in each.items() if name != "id"})
        found.append(Criterion(each["id"], grader))  # type: ignore[arg-type]
    return found


def reference(criteria: Iterable[Criterion], metrics: Metrics) -> str | None:
    """The template of the right answer: the one that was named, or what the first criterion compares the answer with."""
    if metrics.reference is not None:
        return metrics.reference
    for each in criteria:
        match each.grader:
            case StringCheck(operation="ne"):
                continue
            case StringCheck(input=said, reference=right) | TextSimilarity(input=said, reference=right):
                if _sample.search(said) and _item.search(right) and not _sample.search(right):
                    return right
            case _:
                continue
    return None


def _texts(grader: Single) -> list[str]:
    match grader:
        case StringCheck() | TextSimilarity():
            return [grader.input, grader.reference]
        case ScoreModel() | LabelModel():
            return [text for each in grader.input for _, text in parts(each.content, "")]
        case _:
            return []
