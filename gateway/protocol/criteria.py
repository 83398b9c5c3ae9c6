"""/v1/criteria (an extension): what answers are judged by."""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

Kind = Literal["boolean", "numeric", "categorical", "pairwise", "edit", "text"]
Direction = Literal["max", "min"]
Level = Literal["exchange", "conversation"]


class CriterionSpec(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What a criterion is, without its version: the body of POST /v1/criteria."""

    name: str
    """The same in all versions: letters, digits, `_`, `.` and `-`, at most 64."""
    kind: Kind
    description: str = ""
    """What a person or a model is told to judge by."""
    lowest: float | None = None
    """Of a numeric one: the end of the scale; 0 when left out."""
    highest: float | None = None
    """1 when left out."""
    labels: list[str] | None = None
    """Of a categorical one, best first."""
    passing_labels: list[str] | None = None
    """Those with which an answer passes; left out, none passes or fails."""
    pass_score: float | None = None
    """Of a numeric one: the score (0 to 1, more is better) from which an answer passes."""
    direction: Direction = "max"
    """max: more is better. min: less is."""
    level: Level = "exchange"


class CriterionUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Of the next version; what is left out stays. Name and kind stay always."""

    description: str | UnsetType = UNSET
    lowest: float | UnsetType | None = UNSET
    highest: float | UnsetType | None = UNSET
    labels: list[str] | UnsetType | None = UNSET
    passing_labels: list[str] | UnsetType | None = UNSET
    pass_score: float | UnsetType | None = UNSET
    direction: Direction | UnsetType = UNSET
    level: Level | UnsetType = UNSET


class Criterion(msgspec.Struct, kw_only=True):
    """One version. It is never changed: judgments by one version are never pooled with those by another."""

    id: str
    object: str = "criterion"
    created_at: int
    created_by: str
    """An api key; empty for one that came with Tuneway."""
    name: str
    version: int
    kind: str
    description: str
    lowest: float | None
    highest: float | None
    labels: list[str] | None
    passing_labels: list[str] | None
    pass_score: float | None
    direction: str
    level: str
    archived_at: int | None
