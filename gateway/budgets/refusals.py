"""What a caller hears when a budget does not pay for a call. It tells of the caller's own budgets only."""

from gateway.budgets.book import Budget
from gateway.budgets.windows import Window
from gateway.errors import BudgetBusy, BudgetExhausted, Unavailable
from gateway.kit.money import format_usd

SCOPES = {"organization": "organization's", "project": "project's", "api_key": "key's"}
PERIODS = {"day": "a day", "week": "a week", "month": "a month", "total": "in total"}


def exhausted(budget: Budget, window: Window, limit: int, spent: int) -> BudgetExhausted:
    """Nothing that is still under way can change it."""
    left = limit - spent
    if left > 0:
        state = f"has ${format_usd(left)} left, and this call could cost more"
        mend = "Ask for fewer tokens, or ask"
    else:
        state, mend = "is used up", "Ask"
    anew = f" It starts anew at {window.ends_at:%Y-%m-%dT%H:%M:%SZ}." if window.ends_at else ""
    return BudgetExhausted(f"{_named(budget, limit)} {state}.{anew} {mend} an administrator to raise it.")


def busy(budget: Budget, limit: int | None = None) -> BudgetBusy:
    """What is left is reserved for calls under way."""
    return BudgetBusy(
        f"{_named(budget, budget.limit if limit is None else limit)} has too little left that is not reserved for calls "
        "under way. They give back what they do not use; please retry."
    )


def unchecked(budget: Budget) -> Unavailable:
    """PostgreSQL is away."""
    return Unavailable(
        f"{_named(budget, budget.limit)} cannot be checked, because the database cannot be reached, and what this server "
        "had set aside of it is used up; please retry."
    )


def _named(budget: Budget, limit: int) -> str:
    return f"Your {SCOPES[budget.scope]} budget of ${format_usd(limit)} {PERIODS[budget.period]}"
