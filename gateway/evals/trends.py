"""Runs of one eval one after the other: is it getting better?"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway.db.tables import EvalRunRow

_step = re.compile(r":ckpt-step-(\d+)$")


@dataclass(frozen=True, slots=True)
class Step:
    """One run beside the one before it."""

    run: EvalRunRow
    step: int | None
    change: float | None
    direction: str


def steps(runs: Sequence[EvalRunRow]) -> list[Step]:
    """Of completed runs in their order."""
    found: list[Step] = []
    before: dict[str, Any] | None = None
    for run in runs:
        score = primary_score((run.result or {}).get("metrics"))
        change, direction = _moved(before, score)
        found.append(Step(run, step_of(run.model or ""), change, direction))
        before = score or before
    return found


def step_of(model: str) -> int | None:
    match = _step.search(model)
    return int(match[1]) if match else None


def primary_score(metrics: dict[str, Any] | None) -> dict[str, Any] | None:
    """The estimate that decides (gateway/evals/figures.py, Estimate); None where nothing was measured."""
    if not metrics:
        return None
    named = [each["pass_rate"] for each in metrics["criteria"] if each["name"] == metrics["primary"]]
    estimate: dict[str, Any] = named[0] if named else metrics["pass_rate"]
    return estimate if estimate["value"] is not None else None


def _moved(before: dict[str, Any] | None, after: dict[str, Any] | None) -> tuple[float | None, str]:
    if before is None or after is None:
        return None, "first" if before is None else "unmeasured"
    change = after["value"] - before["value"]
    if None in (before["low"], before["high"], after["low"], after["high"]):
        return change, "steady"
    if after["low"] > before["high"]:
        return change, "improving"
    return change, "regressing" if after["high"] < before["low"] else "steady"
