"""How long background work waits, and how often it tries."""

from dataclasses import dataclass

from gateway.fine_tuning.lease import POLL_SECONDS
from trainer.contract import STOP_SECONDS


@dataclass(frozen=True, kw_only=True)
class Pauses:
    """Seconds between tries, and how many; a test makes them short."""

    poll: float = POLL_SECONDS
    """Between two extensions of a lease: a cancelled job is noticed within this time."""
    load: float = 1.0
    load_tries: int = 60
    """How long a finished job waits for an engine that is away before it is told to be loaded later."""
    stop: float = STOP_SECONDS
    budgets: float = 5.0
    """Between two looks for budgets that were made while a job trains."""


PAUSES = Pauses()
