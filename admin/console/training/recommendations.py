"""Settings for a fine-tuning job, recommended from what is wanted and what there is: a decision tree, and each answer says why.

It asks three things: what is to change, what matters most, and (of the file itself) what the examples are. The numbers are
starting points that are usual for LoRA (Hu et al. 2021; Biderman et al. 2024: low ranks learn style and format, knowledge takes
higher ones; more passes over few examples, fewer over many); whoever knows better changes them in the next step.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Change = Literal["style", "classify", "knowledge", "prefer"]
Matters = Literal["quality", "balance", "cost"]

CHANGES: dict[Change, str] = {
    "style": "How it answers: tone, format, rules",
    "classify": "It sorts, labels or extracts",
    "knowledge": "What it knows: a field, products, procedures",
    "prefer": "Which of two answers it gives",
}
MATTERS: dict[Matters, str] = {
    "quality": "The best answers",
    "balance": "A good balance",
    "cost": "Quick and cheap",
}
WORDS: tuple[tuple[Change, str], ...] = (
    ("prefer", r"prefer|better answer|choose between|rank|thumbs"),
    ("classify", r"classif|label|categ|sort|tag|extract|triage|route|spam|sentiment|intent"),
    ("knowledge", r"know|fact|manual|product|document|procedure|polic|domain|medical|legal|faq"),
    ("style", r"tone|style|format|voice|polite|short|json|like our|brand|write"),
)
"""In this order: the first that a goal has a word of."""
RANKS: dict[Change, int] = {"style": 8, "classify": 16, "knowledge": 32, "prefer": 16}
EPOCHS = ((100, 5), (500, 3), (5000, 2))
"""Fewer examples than that -> passes over them; more: one."""
FEW = 50


@dataclass(frozen=True, slots=True)
class Recommended:
    """One setting."""

    name: str
    value: Any
    why: str


@dataclass(frozen=True, slots=True)
class Situation:
    change: Change
    matters: Matters
    examples: int
    pairs: bool
    """The file has preference pairs."""
    continues: bool = False
    """The model was tuned before."""


@dataclass(frozen=True, slots=True)
class Base:
    """A model that a training can begin with."""

    id: str
    tuned: bool
    parameters: int | None
    fits: bool | None
    """Into the memory that there is; None: nobody can tell."""


def base_model(models: Sequence[Base], found: Situation) -> Recommended | None:
    """The model to begin with; None where nothing tells one from the other."""
    fresh = [each for each in models if not each.tuned]
    if len(fresh) == 1:
        return Recommended("base_model", fresh[0].id, "It is the only base model that can be trained here.")
    fitting = sorted(
        (each for each in fresh if each.parameters and each.fits), key=lambda each: (each.parameters, each.id)
    )
    if not fitting:
        return None
    if found.matters == "cost":
        return Recommended("base_model", fitting[0].id, "The smallest: quick and cheap to train and to serve.")
    if found.matters == "quality" or found.change == "knowledge":
        reason = "quality matters most" if found.matters == "quality" else "knowledge takes room"
        return Recommended("base_model", fitting[-1].id, f"The largest that fits into the memory: {reason}.")
    middle = fitting[(len(fitting) - 1) // 2]
    return Recommended("base_model", middle.id, "In the middle of those that fit: neither the slowest nor the weakest.")


def change_in(goal: str) -> Change:
    """What a goal in words is about; style where it says nothing that is known."""
    for change, words in WORDS:
        if re.search(words, goal.lower()):
            return change
    return "style"


def recommended(found: Situation) -> list[Recommended]:
    """Every setting that is not best left to the trainer ("auto")."""
    return [_method(found), _type(found), *_rank(found), _epochs(found), _rate(found), *_beta(found)]


def warnings(found: Situation) -> list[str]:
    """What does not go together, or is little."""
    said: list[str] = []
    if found.change == "prefer" and not found.pairs:
        said.append(
            "To prefer one answer over another takes pairs of answers; this file has single ones, so they are imitated."
        )
    if found.change != "prefer" and found.pairs:
        said.append("The file has pairs of answers: the model learns to prefer one over the other, not to imitate it.")
    if found.examples < FEW:
        said.append(f"{found.examples} examples are few: {FEW} to 100 good ones is where a difference begins to show.")
    if found.change == "knowledge" and found.examples < 500:
        said.append("Knowledge takes many examples. Facts that change are better given in the prompt.")
    return said


def tips(found: Situation) -> list[str]:
    """What cuts the cost."""
    said = ["Stop it when the validation loss rises: the checkpoint before is kept, and can be called."]
    if found.examples > 1000:
        said.insert(0, "Try a tenth of the examples first: if nothing changes, more of the same will not help either.")
    if found.matters != "quality":
        said.append("A shorter context length saves time and memory where answers are short.")
    return said


def _method(found: Situation) -> Recommended:
    if found.pairs:
        return Recommended("method", "dpo", "The examples are pairs of a better and a worse answer.")
    return Recommended("method", "supervised", "The examples are answers to be imitated.")


def _type(found: Situation) -> Recommended:
    if found.matters == "cost":
        why = "An adapter on the 4-bit base takes the least memory; the trainer takes it where it can."
        return Recommended("type", "auto", why)
    why = "An adapter learns as well as all weights do from so many examples, and the base stays as it is."
    return Recommended("type", "lora", why)


def _rank(found: Situation) -> list[Recommended]:
    rank, why = (
        RANKS[found.change],
        {
            "style": "How to answer takes a small adapter.",
            "classify": "Labels take a medium adapter.",
            "knowledge": "New knowledge takes a larger adapter.",
            "prefer": "Preferences take a medium adapter.",
        }[found.change],
    )
    if found.examples < FEW:
        return [Recommended("lora_rank", 8, "So few examples would be learnt by heart with a larger adapter.")]
    if found.matters == "quality" and found.examples >= 1000:
        return [Recommended("lora_rank", min(rank * 2, 64), f"{why} Twice as large, because quality matters most.")]
    return [Recommended("lora_rank", rank, why)]


def _epochs(found: Situation) -> Recommended:
    if found.pairs:
        return Recommended("n_epochs", 1, "Pairs are learnt quickly; more passes make answers worse.")
    usual = next((epochs for below, epochs in EPOCHS if found.examples < below), 1)
    if found.matters == "cost" and usual > 2:
        return Recommended(
            "n_epochs", usual - 1, f"One pass fewer than usual for {found.examples} examples, to be quicker."
        )
    return Recommended("n_epochs", usual, f"Usual for {found.examples:,} examples: fewer examples take more passes.")


def _rate(found: Situation) -> Recommended:
    if found.continues:
        return Recommended(
            "learning_rate_multiplier", 0.5, "The model was tuned before: smaller steps keep what it learnt."
        )
    return Recommended("learning_rate_multiplier", 1, "The automatic learning rate.")


def _beta(found: Situation) -> list[Recommended]:
    if not found.pairs:
        return []
    return [Recommended("beta", 0.1, "The usual hold on the model that training began with.")]
