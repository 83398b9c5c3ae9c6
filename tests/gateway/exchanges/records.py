"""Exchanges for tests."""

from typing import Any

import msgspec

from gateway.exchanges import record
from gateway.exchanges.record import Record

PLAIN = Record(
    id="req_1",
    created_at=1_795_219_200.25,
    project_id="proj_1",
    api_key_id="key_1",
    endpoint="/chat/completions",
    requested_model="m",
    served_model="m",
    upstream="fake",
    streamed=False,
    outcome="completed",
    status=200,
    error=None,
    request=b'{"model": "m"}',
    reply=b'{"id": "chatcmpl-1"}',
    reply_id="chatcmpl-1",
    input_tokens=12,
    cached_input_tokens=4,
    output_tokens=4,
    usage_estimated=False,
    cost_nano=82_000,
    priced=True,
    duration_ms=12.5,
    first_token_ms=None,
    upstream_ms=11.5,
    request_metadata={"team": "a"},
)


def exchange(id: str, **changes: Any) -> Record:
    return msgspec.structs.replace(PLAIN, id=id, **changes)


def encoded(id: str, **changes: Any) -> bytes:
    return record.encode(exchange(id, **changes))
