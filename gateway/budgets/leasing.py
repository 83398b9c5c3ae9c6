"""Taking more of a window, and giving back, for one process. What was begun is ended also when the call that asked for
it is gone: memory must know what the database was told."""

import asyncio
import logging
import platform
from collections.abc import Coroutine
from typing import Any, TypeVar

from gateway.budgets import exhaustion
from gateway.budgets.account import UNKNOWN, Account
from gateway.budgets.beats import beat, register
from gateway.budgets.leases import State, Taken, Wish, extend, lower
from gateway.budgets.opening import open_window
from gateway.db.database import Database
from gateway.errors import Unavailable

log = logging.getLogger(__name__)
T = TypeVar("T")

WANTED_SECONDS = 5.0
"""So long after others lacked money, nothing is leased ahead and nothing is kept that is not needed."""
LINGER_SECONDS = 0.02
"""What a call did not need goes back after this, where others lack money: a burst gives back once."""


class Leasing:
    """Args:
    holder: the name of this process in the ledger.
    """

    def __init__(self, database: Database, holder: str) -> None:
        self._database = database
        self._holder = holder
        self._working: set[asyncio.Task[Any]] = set()
        self._registered = False
        self._giving: set[int] = set()
        """Accounts of which something will go back soon."""

    async def extend(self, account: Account, wish: Wish, *, deadline: float) -> State:
        """Try to have `wish` free in the account, and tell what the window is like.

        Args:
            deadline: by the event loop's clock.

        Raises:
            Unavailable: the database cannot be reached, or did not answer until then.
        """
        try:
            async with asyncio.timeout_at(deadline):
                return await asyncio.shield(self._spawn(self._extend(account, wish)))
        except TimeoutError:
            raise Unavailable("The database did not answer in time.") from None

    async def open(self, account: Account) -> None:
        """Make the window, unless it is there."""
        async with self._database.raw() as connection:
            await open_window(connection, account.budget.id, account.window)

    def tell_used_up(self, account: Account) -> None:
        """In the background: the call that is refused does not wait for it. The next one that is refused tells it, too."""
        self._spawn(self._tell_used_up(account))

    async def give_back(self, account: Account) -> None:
        """Keep what is in use.

        Raises:
            Unavailable: the database cannot be reached, and calls may go on from what there is; or it went away in the
                middle, then memory has given it up and the next call of this tells.
        """
        async with account.writing:
            if account.used == account.granted == account.written:
                return
            async with self._database.raw() as connection:
                account.drop_slack()
                granted = await lower(connection, self._holder, account)
            account.written = granted

    def give_back_soon(self, account: Account) -> None:
        """In a moment, if nobody here has needed it until then."""
        if id(account) not in self._giving:
            self._giving.add(id(account))
            self._spawn(self._give_back_soon(account))

    async def beat(self) -> bool:
        """Say that this process runs, so that nobody takes it for dead.

        Returns:
            False: somebody has, and its leases are gone.

        Raises:
            Unavailable: the database cannot be reached.
        """
        if not self._registered:
            return True
        async with self._database.raw() as connection:
            known = await beat(connection, self._holder)
        self._registered = known
        return known

    async def close(self) -> None:
        """Wait for what is being written."""
        await asyncio.gather(*self._working, return_exceptions=True)

    async def _tell_used_up(self, account: Account) -> None:
        async with self._database.raw() as connection:
            await exhaustion.tell(connection, account)

    async def _give_back_soon(self, account: Account) -> None:
        try:
            await asyncio.sleep(LINGER_SECONDS)
        finally:
            self._giving.discard(id(account))
        await self.give_back(account)

    async def _extend(self, account: Account, wish: Wish) -> State:
        async with account.writing:
            taken = await self._take(account, wish)
            if taken is None:
                await self.open(account)
                taken = await self._take(account, wish)
            if taken is None:
                raise Unavailable("The budget has just been removed; please retry.")
            return taken.state

    async def _take(self, account: Account, wish: Wish) -> Taken | None:
        exact = account.wanted_until > asyncio.get_running_loop().time()
        renewals = account.renewals
        try:
            async with self._database.raw() as connection:
                if not self._registered:
                    await register(connection, self._holder, platform.node())
                taken = await extend(connection, self._holder, account, wish, exact=exact)
        except BaseException:  # the answer to the commit may be what was lost: then nobody uses what is leased
            account.written = UNKNOWN
            raise
        self._registered = True
        if taken is not None:
            account.written = taken.granted
            if account.renewals == renewals:  # else it may have been leased under a limit that is no more
                account.granted += taken.added
        return taken

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._working.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._working.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, Unavailable):
            log.error("a lease could not be changed", exc_info=error)
