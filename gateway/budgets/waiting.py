"""A call for which the lease does not suffice: what it waits for, and when it is refused."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from gateway.budgets.account import Account, Verdict
from gateway.budgets.exhaustion import is_used_up
from gateway.budgets.leases import State, Wish
from gateway.budgets.leasing import Leasing
from gateway.budgets.refusals import busy, exhausted, unchecked
from gateway.errors import Refusal, Unavailable

RETRY_SECONDS = 0.1
"""How often a call that waits looks at the database again; what comes free in this process wakes it at once."""
VERDICT_SECONDS = 0.25
GRACE_SECONDS = 1.0
"""For the database to answer a call whose time to wait is over."""


class Demand(Protocol):
    """What a call may cost, in nano-dollars: `least` <= `enough` <= `most`. All are the same for a call that says how
    long its answer may be; one that leaves it open takes `most` if it can, waits for `enough`, and in the end takes
    whatever pays `least`."""

    @property
    def most(self) -> int: ...
    @property
    def enough(self) -> int: ...
    @property
    def least(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """A demand, as far as the budgets before this one have left it."""

    most: int
    enough: int
    least: int


@dataclass(slots=True)
class Waiting:
    """One call at one account.

    Args:
        deadline: until when it waits for others (clock of the event loop).
    """

    account: Account
    asked: Asked
    deadline: float
    leasing: Leasing

    async def take(self) -> int:
        """Reserve; the amount. Raises BudgetExhausted, BudgetBusy or Unavailable."""
        account = self.account
        self._heed_verdict()
        try:
            async with asyncio.timeout_at(self.deadline):
                await account.turn.acquire()
        except TimeoutError:
            raise busy(account.budget) from None
        try:
            self._heed_verdict()
            return await self._take()
        finally:
            account.changed = None
            account.turn.release()

    async def _take(self) -> int:
        account, asked, floor = self.account, self.asked, self.asked.enough
        while account.slack < asked.most:
            account.changed = changed = asyncio.Event()
            last = self._now >= self.deadline
            state = await self._extend(Wish(asked.most, floor))
            if account.slack >= floor:
                break
            if state is not None and state.limit - state.spent < asked.least:
                if is_used_up(state.limit, state.spent):
                    self.leasing.tell_used_up(account)
                raise self._remember(partial(exhausted, account.budget, account.window, state.limit, state.spent))
            hope = account.reserved > 0 or (state is not None and state.held > 0)
            if hope and not last:
                await self._wait(changed)
            elif floor > asked.least:
                floor = asked.least
            elif state is None:
                raise self._remember(partial(unchecked, account.budget))
            else:
                raise busy(account.budget, state.limit)
        return account.reserve(min(account.slack, asked.most))

    async def _extend(self, wish: Wish) -> State | None:
        """None: the database is away."""
        try:
            return await self.leasing.extend(self.account, wish, deadline=max(self.deadline, self._now + GRACE_SECONDS))
        except Unavailable:
            return None

    async def _wait(self, changed: asyncio.Event) -> None:
        """Until something came free here, or it is time to look at the database again."""
        try:
            async with asyncio.timeout_at(min(self.deadline, self._now + RETRY_SECONDS)):
                await changed.wait()
        except TimeoutError:
            return

    def _heed_verdict(self) -> None:
        """Raise what another call was told a moment ago, where this one would be told the same."""
        verdict, account = self.account.verdict, self.account
        if verdict is None or self.asked.least < verdict.needs or self.asked.least <= account.slack:
            return
        if verdict.until <= self._now:
            account.verdict = None
            return
        raise verdict.refusal()

    def _remember(self, refusal: Callable[[], Refusal]) -> Refusal:
        self.account.verdict = Verdict(refusal, self.asked.least, self._now + VERDICT_SECONDS)
        return refusal()

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()
