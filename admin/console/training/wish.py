"""What somebody has said so far of a fine-tuning job that they set up step by step: it lies in the URL."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from admin.console.training.recommendations import Recommended

SETTINGS = (
    "type",
    "lora_rank",
    "lora_alpha",
    "n_epochs",
    "batch_size",
    "learning_rate_multiplier",
    "beta",
    "context_length",
    "packing",
    "gradient_checkpointing",
)
FIELDS = ("goal", "change", "matters", "data", "model", "suffix", "seed", *SETTINGS)
HYPERPARAMETERS = ("n_epochs", "batch_size", "learning_rate_multiplier", "beta")
ADAPTERS_ALONE = ("lora_rank", "lora_alpha")
AUTO = "auto"
MOST_OF_A_GOAL = 512
"""Characters of a value in a job's metadata."""


@dataclass(frozen=True, slots=True)
class Wish:
    values: Mapping[str, str] = field(default_factory=dict[str, str])
    """Of FIELDS, those that are filled in."""

    @classmethod
    def of(cls, form: Mapping[str, Any]) -> "Wish":
        given = {name: str(form.get(name) or "").strip() for name in FIELDS}
        return cls({name: value for name, value in given.items() if value})

    def __getattr__(self, name: str) -> str:
        return self.values.get(name, "")

    @property
    def training_file(self) -> str:
        """`data` is the id of a file, or those of a dataset's two files with a comma between."""
        return self.data.partition(",")[0]

    @property
    def validation_file(self) -> str:
        return self.data.partition(",")[2]

    def beside(self, names: Iterable[str]) -> dict[str, str]:
        """What a form carries along that asks for `names`."""
        asked = set(names)
        return {name: value for name, value in self.values.items() if name not in asked}

    def filled(self, recommended: Iterable[Recommended]) -> "Wish":
        """With what is recommended where nothing was said."""
        told = {each.name: str(each.value) for each in recommended if each.name in SETTINGS}
        return Wish(told | dict(self.values))

    def body(self, method: str) -> dict[str, Any]:
        """Of POST /v1/fine_tuning/jobs, and of its estimate. Args: method: supervised or dpo."""
        skipped = [*(ADAPTERS_ALONE if self.type == "full" else ()), *(() if method == "dpo" else ("beta",))]
        said = {name: _value(self.values[name]) for name in SETTINGS if name in self.values and name not in skipped}
        hyperparameters = {name: value for name, value in said.items() if name in HYPERPARAMETERS}
        body: dict[str, Any] = {
            "model": self.model,
            "training_file": self.training_file,
            "method": {"type": method, method: {"hyperparameters": hyperparameters}},
            "training": {name: value for name, value in said.items() if name not in HYPERPARAMETERS},
        }
        if self.validation_file:
            body["validation_file"] = self.validation_file
        if self.suffix:
            body["suffix"] = self.suffix
        if self.seed:
            body["seed"] = _value(self.seed)
        if self.goal:
            body["metadata"] = {"goal": self.goal[:MOST_OF_A_GOAL]}
        return body


def _value(text: str) -> Any:
    """A number or a yes as JSON has it; anything else as it is, for the API to refuse by its name."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
