"""A call may say what no training file can hold, or Python cannot: that costs its row, and never the build."""

import logging
from collections.abc import Generator
from contextlib import contextmanager

from gateway.datasets.building.tally import Tally

log = logging.getLogger(__name__)

UNUSABLE = (ValueError, OverflowError, RecursionError, TypeError)
"""Half a character, a number of 80 digits, JSON that is nested too deep, a field of another type."""


@contextmanager
def counted(tally: Tally, **where: str | None) -> Generator[None]:
    """The body is left where it cannot go on with what a call says. Args: where: names of ids, for an example."""
    try:
        yield
    except UNUSABLE as error:
        log.info("%s is left out of a dataset: %s", where, type(error).__name__)  # no word of it
        tally.drop("unusable", **where)
