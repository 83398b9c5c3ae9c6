"""OpenAI's spend limits and spend alerts: whole cents for each month."""

from typing import Literal

import msgspec

from gateway.errors import InvalidRequest
from gateway.kit.money import NANO
from gateway.protocol.budgets import MOST_USD

CENT = NANO // 100
MOST_RECIPIENTS, LONGEST_ADDRESS, LONGEST_PREFIX = 50, 320, 256


class SpendLimitUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    threshold_amount: int
    """Cents."""
    currency: Literal["USD"]
    interval: Literal["month"]


class Enforcement(msgspec.Struct, kw_only=True):
    status: Literal["inactive", "enforcing"]


class SpendLimit(msgspec.Struct, kw_only=True):
    object: str
    """organization.spend_limit or project.spend_limit."""
    threshold_amount: int
    currency: str = "USD"
    interval: str = "month"
    enforcement: Enforcement


class SpendLimitDeleted(msgspec.Struct, kw_only=True):
    object: str
    deleted: bool = True


class NotificationChannel(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Nobody here sends mail: the channel goes along with the webhook `budget.threshold_reached`."""

    type: Literal["email"]
    recipients: list[str]
    subject_prefix: str | None = None


class SpendAlertFields(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    threshold_amount: int
    """Cents."""
    currency: Literal["USD"]
    interval: Literal["month"]
    notification_channel: NotificationChannel


class SpendAlert(msgspec.Struct, kw_only=True):
    id: str
    object: str
    """organization.spend_alert or project.spend_alert."""
    threshold_amount: int
    currency: str = "USD"
    interval: str = "month"
    notification_channel: NotificationChannel


def nano_of_cents(cents: int, *, lowest: int) -> int:
    """Raises InvalidRequest."""
    if not lowest <= cents <= MOST_USD * 100:
        code = "integer_below_min_value" if cents < lowest else "integer_above_max_value"
        message = f"Invalid 'threshold_amount': expected cents from {lowest} to {MOST_USD * 100:,}, got {cents}."
        raise InvalidRequest(message, param="threshold_amount", code=code)
    return cents * CENT


def check_channel(channel: NotificationChannel) -> NotificationChannel:
    """Raises InvalidRequest."""
    recipients = channel.recipients
    if not 0 < len(recipients) <= MOST_RECIPIENTS:
        raise _refused("recipients", f"1 to {MOST_RECIPIENTS} are needed.")
    for index, each in enumerate(recipients):
        if "@" not in each or len(each) > LONGEST_ADDRESS:
            raise _refused(f"recipients[{index}]", "an email address is expected.")
    if len(channel.subject_prefix or "") > LONGEST_PREFIX:
        raise _refused("subject_prefix", f"at most {LONGEST_PREFIX} characters are taken.")
    return channel


def _refused(field: str, rule: str) -> InvalidRequest:
    param = f"notification_channel.{field}"
    return InvalidRequest(f"Invalid '{param}': {rule}", param=param)
