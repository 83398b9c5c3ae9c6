"""Money for a call: what it can cost is reserved of its budgets before it is sent."""

from collections.abc import Mapping

import msgspec

from gateway.budgets.book import Cover
from gateway.budgets.reservation import Reservation
from gateway.errors import ModelNotFound, PriceMissing
from gateway.metering.bounds import bound
from gateway.metering.prices import Price
from gateway.protocol.envelope import Envelope
from gateway.routing.plan import Plan
from gateway.services import Services


class Funds(msgspec.Struct, frozen=True):
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
    priced, prices = _priced(sv, plan, created_at)
    wanted = bound(envelope, body, prices, sv.settings.budgets)
    reservation = await sv.budgets.reserve(cover, created_at, wanted)
    return Funds(reservation, priced, prices, wanted.limits(reservation.amount))


def _priced(sv: Services, plan: Plan, created_at: float) -> tuple[Plan, dict[str, Price]]:
    """The plan without models that have no price, and the prices of the others. Raises PriceMissing."""
    prices: dict[str, Price] = {}
    complete = True
    for candidates in (plan.targets, plan.fallbacks):
        for candidate in candidates:
            deployment = candidate.deployment
            if price := sv.prices.find(deployment.model, deployment.base_model, created_at):
                prices[deployment.model] = price
            else:
                complete = False
    if complete and prices:
        return plan, prices
    return _among(plan, prices), prices


def _among(plan: Plan, prices: Mapping[str, Price]) -> Plan:
    try:
        if prices:
            return plan.among(prices.__contains__)
    except ModelNotFound:  # a fallback without the model that it is for
        pass
    raise PriceMissing(plan.name)
