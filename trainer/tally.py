"""Loss and accuracy as sums over label tokens, which add up over batches of any size."""

from dataclasses import astuple, dataclass
from operator import add
from typing import Any, Literal

import torch

from trainer import devices


@dataclass
class Tally:
    """Sums over label tokens; they stay on the device until `read()`, which is one transfer."""

    sums: torch.Tensor | None = None

    def add(self, outputs: Any, attention_mask: torch.Tensor) -> None:
        self.count(
            -outputs.log_probs.detach().sum(), outputs.is_top1.sum(), outputs.label_mask.sum(), attention_mask.sum()
        )

    def count(self, *sums: torch.Tensor) -> None:
        """Adds to the first fields of `Sums`, in their order."""
        added = torch.stack([one.float() for one in sums])
        self.sums = added if self.sums is None else self.sums + added

    def read(self) -> "Sums":
        """The sums so far, over all devices; starts again at 0."""
        values = [] if self.sums is None else devices.add_up(self.sums).tolist()
        self.sums = None
        return Sums(*values)


@dataclass(frozen=True)
class Sums:
    nll: float = 0.0
    """The loss, added up over label tokens; over pairs where there are any."""
    correct: float = 0.0
    labels: float = 0.0
    tokens: float = 0.0
    """Without padding."""
    pairs: float = 0.0
    """Of a preferred answer and another (DPO)."""
    gained: float = 0.0
    """Pairs whose preferred answer gained more against the reference than the other."""
    margin: float = 0.0
    """By how much, over all pairs."""

    @property
    def loss(self) -> float:
        """Nats per label token, or per pair."""
        return self.nll / max(self.pairs or self.labels, 1.0)

    @property
    def accuracy(self) -> float:
        return self.correct / max(self.labels, 1.0)

    def named(self, prefix: Literal["train", "valid", "full_valid"]) -> dict[str, float]:
        """Fields of `Metrics`."""
        fields = {f"{prefix}_loss": self.loss, f"{prefix}_mean_token_accuracy": self.accuracy}
        if self.pairs and prefix != "valid":
            fields[f"{prefix}_reward_accuracy"] = self.gained / self.pairs
            fields[f"{prefix}_reward_margin"] = self.margin / self.pairs
        return fields

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(*map(add, astuple(self), astuple(other)))
