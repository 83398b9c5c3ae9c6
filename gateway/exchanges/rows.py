"""What one record becomes in the database: a row of the exchange log, and one of the ledger."""

import re
from operator import attrgetter
from typing import Any

import msgspec

from gateway.exchanges.assemble import assemble
from gateway.exchanges.record import Record
from gateway.kit.clock import from_unix
from gateway.kit.packing import pack

COLUMNS = (
    "id", "created_at", "project_id", "api_key_id", "endpoint", "requested_model", "served_model", "route", "attempts",
    "upstream", "streamed", "outcome", "status", "error", "request", "reply", "reply_id", "input_tokens",
    "cached_input_tokens", "output_tokens", "usage_estimated", "cost_nano", "priced", "duration_ms", "first_token_ms",
    "upstream_ms", "request_metadata", "logging", "purpose", "end_user", "cache_hit",
)  # fmt: skip
"""Of `exchanges`. Written out here and in gateway/metering/: the process that writes the log loads no SQLAlchemy, whose tables
would be three quarters of its memory; tests/gateway/db/test_columns.py compares them."""
LONGEST_REPLY_ID = 512
"""Upstreams choose it, and an index refuses what is longer than 2704 bytes: a longer one names nothing, and holds up nobody."""
_TEXTS = (
    "id", "project_id", "api_key_id", "endpoint", "requested_model", "served_model", "upstream", "outcome", "reply_id",
    "route", "logging", "user_id", "purpose", "end_user",
)  # fmt: skip
_texts = attrgetter(*_TEXTS)
_escaped_nul = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


def storable(each: Record) -> Record:
    """The record without the character NUL, which PostgreSQL's text does not hold. Nearly none has one: all its texts are looked
    at together."""
    texts = _texts(each)
    if "\x00" not in "".join(filter(None, texts)):
        return each
    values = {name: text.replace("\x00", "\ufffd") for name, text in zip(_TEXTS, texts, strict=True) if text}
    return msgspec.structs.replace(each, **values)


def exchange_row(each: Record) -> dict[str, Any]:
    """Every column of `exchanges`, in their order. Raises ValueError, OverflowError, TypeError: it cannot be stored.

    Args: each: as `storable` has it, here and below.
    """
    return {
        "id": each.id,
        "created_at": from_unix(each.created_at),
        "project_id": each.project_id,
        "api_key_id": each.api_key_id,
        "endpoint": each.endpoint,
        "requested_model": each.requested_model,
        "served_model": each.served_model,
        "route": each.route,
        "attempts": storable_json(each.attempts) if each.attempts is not None else None,
        "upstream": each.upstream,
        "streamed": each.streamed,
        "outcome": each.outcome,
        "status": each.status,
        "error": storable_json(each.error) if each.error is not None else None,
        "request": pack(each.request),
        "reply": pack(_whole(each)) if each.reply else each.reply,
        "reply_id": _reply_id(each),
        "input_tokens": each.input_tokens,
        "cached_input_tokens": each.cached_input_tokens,
        "output_tokens": each.output_tokens,
        "usage_estimated": each.usage_estimated,
        "cost_nano": each.cost_nano,
        "priced": each.priced,
        "duration_ms": each.duration_ms,
        "first_token_ms": each.first_token_ms,
        "upstream_ms": each.upstream_ms,
        "request_metadata": _metadata(each),
        "logging": each.logging,
        "purpose": each.purpose,
        "end_user": each.end_user,
        "cache_hit": each.cache_hit,
    }


def _whole(each: Record) -> bytes:
    """The reply as one body; one from the cache is that already, also where it went out as a stream."""
    assert each.reply is not None
    return assemble(each.reply) if each.streamed and not each.cache_hit else each.reply


def _reply_id(each: Record) -> str | None:
    return each.reply_id if each.reply_id and len(each.reply_id) <= LONGEST_REPLY_ID else None


def stored_row(each: Record) -> dict[str, Any] | None:
    """Every column of `stored_completions` but `deleted_at`; None where the caller did not ask for it, or got no whole
    answer."""
    if not each.stored or each.outcome != "completed":
        return None
    return {
        "exchange_id": each.id,
        "project_id": each.project_id,
        "completion_id": _reply_id(each) or each.id,
        "model": each.requested_model,
        "created_at": from_unix(each.created_at),
        "completion_metadata": _metadata(each),
    }


def ledger_row(each: Record, holder: str) -> dict[str, Any] | None:
    """Every column of `ledger`; None for an exchange without usage, which cost nothing.

    Whatever of the cost is in none of its parts (what was recorded before there were any) counts as the request's.
    """
    if each.input_tokens is None:
        return None
    cost = each.cost_nano or 0
    return {
        "id": each.id,
        "created_at": from_unix(each.created_at),
        "kind": "call",
        "project_id": each.project_id,
        "api_key_id": each.api_key_id,
        "user_id": each.user_id,
        "holder": holder,
        "model": each.served_model or "",
        "endpoint": each.endpoint,
        "batch": False,
        "priced": each.priced,
        "input_tokens": each.input_tokens,
        "cached_input_tokens": each.cached_input_tokens or 0,
        "output_tokens": each.output_tokens or 0,
        "device_ms": 0,
        "cost_nano": cost,
        "input_nano": each.input_nano,
        "cached_input_nano": each.cached_input_nano,
        "output_nano": each.output_nano,
        "request_nano": cost - each.input_nano - each.cached_input_nano - each.output_nano,
    }


def _metadata(each: Record) -> str | None:
    return storable_json(msgspec.json.encode(each.request_metadata)) if each.request_metadata else None


def storable_json(value: bytes) -> str:
    """PostgreSQL's jsonb holds no NUL either: the escape is replaced, the same letters behind an escaped backslash are not."""
    text = value.decode()
    return _escaped_nul.sub(r"\1\\ufffd", text) if "\\u0000" in text else text
