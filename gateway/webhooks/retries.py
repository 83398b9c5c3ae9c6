"""When a delivery is tried again, and when a webhook is given up."""

import random
from datetime import timedelta

WAITS = (5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800, 43_200, 57_600, 86_400)
"""Seconds after each try that failed: 13 tries in about three days, as OpenAI does."""
JITTER = 0.1
"""Of each wait, added at random: what failed together does not come back together."""
DISABLED_AFTER = timedelta(days=5)
"""A webhook that took nothing for so long is disabled."""
GONE = 410
"""The receiver says that it wants no more (standardwebhooks.com)."""


def wait_after(attempt: int) -> float | None:
    """Seconds until the next try after the `attempt`-th (from 1) failed; None: it was the last."""
    if attempt > len(WAITS):
        return None
    return WAITS[attempt - 1] * random.uniform(1, 1 + JITTER)  # noqa: S311 no secret
