"""Money for a call: what it can cost is reserved of its budgets before it is sent."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.budgets.book import Cover
from gateway.budgets.reservation import Reservation
from gateway.errors import ModelNotFound, PriceMissing
from gateway.metering.bounds import bound
from gateway.metering.prices import Price
from gateway.protocol.envelope import Envelope
from gateway.routing.plan import Plan
from gateway.services import Services


@dataclass(frozen=True, slots=True)
class Funds:
    """What a call may spend, and how it is kept to that."""

    reservation: Reservation
    plan: Plan
    """Without models that have no price: nobody knows what they would cost."""
    prices: Mapping[str, Price]
    """Of its models, as they were when the money was reserved: they are what it is charged."""
    limits: Mapping[str, int]
    """Model -> the tokens that its answer may have, where the call leaves that open."""


async def fund(
    sv: Services, cover: Cover, plan: Plan, envelope: Envelope, body: bytes, created_at: float
) -> Funds | None:
    """Reserve what a call can cost; None where no hard budget covers it.

    Raises:
        PriceMissing: no model that may answer has a price.
        InvalidRequest: it names a limit that says nothing.
        BudgetExhausted, BudgetBusy, Unavailable: see gateway/budgets/service.py.
    """
    if not cover.hard:
        sv.budgets.note(cover, created_at)
        return None
    prices = _prices(sv, plan, created_at)
    if not prices:
        raise PriceMissing(plan.name)
    wanted = bound(envelope, body, prices, sv.settings.budgets)
    priced = _priced(plan, prices)
    reservation = await sv.budgets.reserve(cover, created_at, wanted)
    return Funds(reservation, priced, prices, wanted.limits(reservation.amount))


def _prices(sv: Services, plan: Plan, created_at: float) -> dict[str, Price]:
    """Of the models that may answer, as far as they have one."""
    prices: dict[str, Price] = {}
    for candidate in (*plan.targets, *plan.fallbacks):
        deployment = candidate.deployment
        if price := sv.prices.find(deployment.model, deployment.base_model, created_at):
            prices[deployment.model] = price
    return prices


def _priced(plan: Plan, prices: Mapping[str, Price]) -> Plan:
    candidates = (*plan.targets, *plan.fallbacks)
    if all(each.deployment.model in prices for each in candidates):
        return plan
    try:
        return plan.among(prices.__contains__)
    except ModelNotFound:  # a fallback without the model that it is for
        raise PriceMissing(plan.name) from None
