"""Every JSON reply that a client of these tests gets is held against OpenAI's schema of that operation."""

import re
from typing import Any

from jsonschema import Draft202012Validator

from tests.contract import SCHEMAS, conforms

_OPERATIONS = [
    (re.compile(re.sub(r"\\\{[^}]+\\\}", "[^/]+", re.escape(name))), operation["responses"])
    for name, operation in SCHEMAS["x-operations"].items()
]


def check(response: Any) -> None:
    """A response hook of the SDK's HTTP client. Raises jsonschema.ValidationError."""
    if _is_json(response):
        response.read()
        _check(response)


async def check_async(response: Any) -> None:
    """The same for the asynchronous client."""
    if _is_json(response):
        await response.aread()
        _check(response)


def _is_json(response: Any) -> bool:
    return response.headers.get("content-type", "").startswith("application/json")


def _check(response: Any) -> None:
    if response.status_code >= 400:
        conforms("ErrorResponse", response.json())
        return
    schema = _schema(f"{response.request.method} {response.request.url.path.removeprefix('/v1')}")
    if schema is not None:
        Draft202012Validator({**schema, "$defs": SCHEMAS["$defs"]}).validate(response.json())


def _schema(operation: str) -> dict[str, Any] | None:
    """None for what OpenAI does not have."""
    for pattern, responses in _OPERATIONS:
        if pattern.fullmatch(operation):
            return next(responses[status] for status in ("200", "201") if status in responses).get("application/json")
    return None
