"""Loss and accuracy as sums over label tokens, which add up over batches of any size."""

from dataclasses import dataclass
from typing import Any, Literal

import torch


@dataclass
class Tally:
    """Sums over label tokens; they stay on the device until `read()`, which is one transfer."""

    sums: torch.Tensor | None = None

    def add(self, outputs: Any, attention_mask: torch.Tensor) -> None:
        sums = torch.stack(
            [
                -outputs.log_probs.detach().sum().float(),
                outputs.is_top1.sum().float(),
                outputs.label_mask.sum().float(),
                attention_mask.sum().float(),
            ]
        )
        self.sums = sums if self.sums is None else self.sums + sums

    def read(self) -> "Sums":
        """The sums so far; starts again at 0."""
        values = [0.0] * 4 if self.sums is None else self.sums.tolist()
        self.sums = None
        return Sums(*values)


@dataclass(frozen=True)
class Sums:
    nll: float = 0.0
    correct: float = 0.0
    labels: float = 0.0
    tokens: float = 0.0
    """Without padding."""

    @property
    def loss(self) -> float:
        """Nats per label token."""
        return self.nll / max(self.labels, 1.0)

    @property
    def accuracy(self) -> float:
        return self.correct / max(self.labels, 1.0)

    def named(self, prefix: Literal["train", "valid", "full_valid"]) -> dict[str, float]:
        """Fields of `Metrics`."""
        return {f"{prefix}_loss": self.loss, f"{prefix}_mean_token_accuracy": self.accuracy}

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(
            self.nll + other.nll, self.correct + other.correct, self.labels + other.labels, self.tokens + other.tokens
        )
