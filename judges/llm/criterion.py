"""What is judged by, and what a verdict's value means by it."""

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["boolean", "numeric", "categorical", "pairwise"]
KINDS: tuple[Kind, ...] = ("boolean", "numeric", "categorical", "pairwise")
"""Those that a model can judge by; texts and corrected answers come from people."""
POSITIONS = ("first", "second", "tie", "both_bad")
"""What a comparison can come to, in the words of the order in which the two answers are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One version of a criterion, as far as a judge needs it (columns: gateway/db/tables/judgments.py)."""

    name: str
    kind: Kind
    description: str = ""
    lowest: float = 0.0
    highest: float = 1.0
    labels: tuple[str, ...] = ()
    """Best first."""
    passing_labels: tuple[str, ...] = ()
    pass_score: float | None = None
    """The normalised score from which an answer passes."""
    direction: Literal["max", "min"] = "max"

    def schema(self) -> dict[str, Any]:
        """JSON Schema of the value of a verdict."""
        match self.kind:
            case "boolean":
                return {"type": "boolean"}
            case "numeric":
                return {"type": "number", "minimum": self.lowest, "maximum": self.highest}
            case "categorical":
                return {"type": "string", "enum": list(self.labels)}
            case "pairwise":
                return {"type": "string", "enum": list(POSITIONS)}

    def allows(self, value: Any) -> bool:
        """Whether a value fits the schema; nothing is converted."""
        match self.kind:
            case "boolean":
                return isinstance(value, bool)
            case "numeric":
                is_number = isinstance(value, int | float) and not isinstance(value, bool)
                return is_number and self.lowest <= value <= self.highest  # never true of NaN
            case "categorical":
                return isinstance(value, str) and value in self.labels
            case "pairwise":
                return isinstance(value, str) and value in POSITIONS

    def score(self, value: Any) -> float | None:
        """A value that fits, from 0 to 1, more is better; None for a comparison, which scores no single answer."""
        match self.kind:
            case "boolean":
                share = float(value)
            case "numeric":
                share = min(1.0, max(0.0, (value - self.lowest) / (self.highest - self.lowest)))
            case "categorical":
                return 1 - self.labels.index(value) / max(len(self.labels) - 1, 1)
            case "pairwise":
                return None
        return 1 - share if self.direction == "min" else share

    def passes(self, value: Any) -> bool | None:
        """Whether an answer with this value passes; None where the criterion draws no line."""
        score = self.score(value)
        if self.kind == "boolean":
            return score == 1.0
        if self.kind == "categorical":
            return value in self.passing_labels if self.passing_labels else None
        return score >= self.pass_score if score is not None and self.pass_score is not None else None

    def passes_score(self, score: float) -> bool | None:
        """The same of a normalised score, such as the mean of a panel."""
        return score >= self.pass_score if self.pass_score is not None else None
