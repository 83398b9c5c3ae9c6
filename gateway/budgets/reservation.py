"""Money that is set aside for one call."""

import logging
from collections.abc import Callable, Sequence

from gateway.budgets.account import Account

log = logging.getLogger(__name__)


class Reservation:
    """What a call may cost at most, in every hard budget that it draws on. It is settled exactly once, however the call
    ends: `settle` is a plain function, so nothing can interrupt it.

    Args:
        on_settled: told afterwards of each account of which something may have to go back.
    """

    __slots__ = ("_accounts", "_on_settled", "_settled", "amount")

    def __init__(self, accounts: Sequence[Account], amount: int, on_settled: Callable[[Account], object]) -> None:
        self._accounts = accounts
        self._on_settled = on_settled
        self._settled = False
        self.amount = amount
        """Nano-dollars."""

    def settle(self, cost_nano: int) -> None:
        """Spend what the call came to, 0 where nothing was used, and give back the rest."""
        if self._settled:
            log.error("a reservation was settled twice, the second time with %d nano-dollars", cost_nano)
            return
        self._settled = True
        if cost_nano > self.amount and self._accounts:
            budgets = ", ".join(each.budget.id for each in self._accounts)
            log.warning("a call cost %d nano-dollars, %d were reserved of %s", cost_nano, self.amount, budgets)
        for account in self._accounts:
            if account.settle(self.amount, cost_nano):
                self._on_settled(account)
