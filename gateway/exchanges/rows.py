"""What one record becomes in the database: a row of the exchange log, and one of the ledger."""

import re
from typing import Any

import msgspec

from gateway.db.tables import ExchangeRow
from gateway.exchanges.assemble import assemble
from gateway.exchanges.record import Record
from gateway.kit.clock import from_unix

COLUMNS = tuple(column.key for column in ExchangeRow.__table__.columns)
_escaped_nul = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


def exchange_row(each: Record) -> dict[str, Any]:
    """Every column of `exchanges`. Raises ValueError, OverflowError, TypeError: it cannot be stored."""
    values: dict[str, Any] = msgspec.structs.asdict(each) | {
        "created_at": from_unix(each.created_at),
        "error": storable_json(each.error) if each.error is not None else None,
        "attempts": storable_json(each.attempts) if each.attempts is not None else None,
        "reply": assemble(each.reply) if each.streamed and each.reply else each.reply,
        "request_metadata": storable_json(msgspec.json.encode(each.request_metadata))
        if each.request_metadata
        else None,
    }
    return {name: _text(values[name]) for name in COLUMNS}


def stored_row(each: Record) -> dict[str, Any] | None:
    """Every column of `stored_completions` but `deleted_at`; None where the caller did not ask for it, or got no whole
    answer."""
    if not each.stored or each.outcome != "completed":
        return None
    values: dict[str, Any] = {
        "exchange_id": each.id,
        "project_id": each.project_id,
        "completion_id": each.reply_id or each.id,
        "model": each.requested_model,
        "created_at": from_unix(each.created_at),
        "completion_metadata": storable_json(msgspec.json.encode(each.request_metadata))
        if each.request_metadata
        else None,
    }
    return {name: _text(value) for name, value in values.items()}


def ledger_row(each: Record, holder: str) -> dict[str, Any] | None:
    """Every column of `ledger`; None for an exchange without usage, which cost nothing.

    Whatever of the cost is in none of its parts (what was recorded before there were any) counts as the request's.
    """
    if each.input_tokens is None:
        return None
    cost = each.cost_nano or 0
    values: dict[str, Any] = {
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
    return {name: _text(value) for name, value in values.items()}


def _text(value: Any) -> Any:
    """PostgreSQL's text holds no NUL character."""
    return value.replace("\x00", "\ufffd") if isinstance(value, str) else value


def storable_json(value: bytes) -> str:
    """Nor does its jsonb: the escape is replaced, the same letters behind an escaped backslash are not."""
    return _escaped_nul.sub(r"\1\\ufffd", value.decode())
