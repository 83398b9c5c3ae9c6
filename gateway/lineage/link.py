"""One way in which something comes of something else."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Query = Any
"""A select of ids. It may give one more than once; one that may give a million gives them in the order of an index, so
that the first few are read without the rest."""
Find = Callable[[str, str], Query]
"""Project and id of the one side -> ids of the other."""


@dataclass(frozen=True)
class Link:
    type: str
    """Of the edge, from what was there first to what came of it."""
    kind: str
    """Of the other side's nodes."""
    find: Find
