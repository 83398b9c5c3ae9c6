"""Webhooks: the SDKs' /v1/webhook_endpoints, also at /v1/webhooks, with deliveries and a switch as our additions."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

EventType = Literal[
    "budget.threshold_reached",
    "budget.exhausted",
    "fine_tuning.job.succeeded",
    "fine_tuning.job.failed",
    "fine_tuning.job.cancelled",
    "eval.run.succeeded",
    "eval.run.failed",
    "eval.run.canceled",
    "judge.lagging",
    "alert.started",
    "alert.ended",
]
EVENT_TYPES: tuple[EventType, ...] = (
    "budget.threshold_reached",
    "budget.exhausted",
    "fine_tuning.job.succeeded",
    "fine_tuning.job.failed",
    "fine_tuning.job.cancelled",
    "eval.run.succeeded",
    "eval.run.failed",
    "eval.run.canceled",
    "judge.lagging",
    "alert.started",
    "alert.ended",
)
"""What is sent; those of budgets, judges and alerts are an extension."""


class WebhookCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    url: str
    event_types: list[str]
    name: str | None = None
    """The URL's host when left out."""


class WebhookUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays."""

    url: str | UnsetType = UNSET
    event_types: list[str] | UnsetType = UNSET
    name: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    """Extension. True after a webhook was disabled: what was not delivered meanwhile is tried again."""


class SecretRotation(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    keep_old_secret_active_for_24_hours: bool = False


class WebhookTestCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    event_type: str | None = None
    """The first of the webhook's types when left out."""


class Webhook(msgspec.Struct, kw_only=True):
    id: str
    object: str = "webhook_endpoint"
    created_at: int
    updated_at: int
    """When its settings or its secret last changed."""
    name: str
    url: str
    event_types: list[str]
    signing_secret: str | UnsetType = UNSET
    """Only in the answer that made it."""
    signing_secret_hint: str
    enabled: bool
    failing_since: int | None
    """When it first failed since the last delivery that was taken."""
    problem: str | None
    """Why it was disabled."""


class WebhookTest(msgspec.Struct, kw_only=True):
    """What came back."""

    object: str = "webhook_endpoint.test"
    webhook_endpoint_id: str
    event_type: str
    success: bool = True
    """Always true: a test that got no answer is an error. Look at `status_code`."""
    status_code: int
    detail: str | None
    """Extension: the beginning of an answer that is not 2xx."""


class EventTypeList(msgspec.Struct, kw_only=True):
    object: str = "list"
    data: list[str]


class WebhookDelivery(msgspec.Struct, kw_only=True):
    """One event for one webhook (extension)."""

    id: str
    object: str = "webhook_endpoint.delivery"
    created_at: int
    event_id: str
    """Sent as `webhook-id`, the same at each try."""
    event_type: str
    status: Literal["pending", "delivered", "failed"]
    """failed: given up."""
    attempts: int
    last_status_code: int | None
    """null where nothing answered."""
    last_error: str | None
    next_attempt_at: int | None
    delivered_at: int | None
    event: dict[str, Any]
    """What is sent."""
