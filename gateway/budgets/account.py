"""What this process may still spend in one window of one budget, in memory."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.budgets.book import Budget
from gateway.budgets.windows import Window
from gateway.errors import Refusal

FOREVER = float("inf")
UNKNOWN = -1


@dataclass(slots=True)
class Verdict:
    """A refusal that holds for a moment, so that a storm of calls does not ask the database each time."""

    refusal: Callable[[], Refusal]
    """A new one for each call."""
    needs: int
    """Calls that need less may fare better."""
    until: float
    """By the event loop's clock."""


@dataclass(slots=True, eq=False)
class Account:
    """The lease of one window. All in nano-dollars; `spent` + `reserved` <= `granted`, unless an upstream sent more than
    was asked for.

    What can be reserved here is never more than the database says: memory gives up first and takes last.
    """

    budget: Budget
    window: Window
    granted: int = 0
    """May be spent by this process in the whole window, what it has spent included."""
    spent: int = 0
    """By calls that have ended, posted to the ledger or not yet."""
    reserved: int = 0
    """By calls under way."""
    written: int = 0
    """What the database has as `granted`, as far as is known; UNKNOWN where a change of it may have come to be, or not."""
    renewals: int = 0
    """How often the budget changed."""
    used_at: float = 0.0
    """When a call was last here (time.monotonic)."""
    wanted_until: float = 0.0
    """Until then others lack money here: what is not needed goes back at once."""
    verdict: Verdict | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by the call that waits for money; the others queue behind it, so none is starved by smaller ones."""
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while the lease in the database is changed."""
    changed: asyncio.Event | None = None
    """Of the call whose turn it is, while it waits: set when something came free."""
    starts: float = field(init=False)
    ends: float = field(init=False)
    """The window as Unix seconds."""

    def __post_init__(self) -> None:
        self.starts = self.window.starts_at.timestamp()
        self.ends = self.window.ends_at.timestamp() if self.window.ends_at else FOREVER

    @property
    def slack(self) -> int:
        """What can be reserved at once; below 0 after an upstream sent too much."""
        return self.granted - self.spent - self.reserved

    @property
    def used(self) -> int:
        return self.spent + self.reserved

    def reserve(self, amount: int) -> int:
        self.reserved += amount
        return amount

    def free(self, amount: int) -> None:
        """Take back what was reserved and is not needed."""
        if amount:
            self.reserved -= amount
            self._tell()

    def settle(self, amount: int, cost: int) -> bool:
        """End a reservation of `amount` with what it came to.

        Returns:
            Whether something may have to go back: others lack money, or more was spent than is granted.
        """
        self.reserved -= amount
        self.spent += cost
        self.verdict = None
        if self.changed is not None:
            self.changed.set()
        return self.wanted_until > 0 or self.granted < self.spent + self.reserved

    def renew(self, budget: Budget) -> None:
        """The budget changed: nothing that was leased under its old limit is handed out any more."""
        self.budget = budget
        self.renewals += 1
        self.drop_slack()
        self._tell()

    def drop_slack(self) -> int:
        """Keep what is in use, and all of that; the new `granted`, which the database is still to be told."""
        self.granted = self.used
        return self.granted

    def adopt(self, posted: int) -> None:
        """The ledger knows of more than we do: calls that began before this process knew of the budget."""
        self.spent = max(self.spent, posted)

    def _tell(self) -> None:
        self.verdict = None
        if self.changed is not None:
            self.changed.set()
