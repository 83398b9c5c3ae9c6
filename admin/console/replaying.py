"""A call of the log, made again of another model."""

from typing import Any

from admin.console.api import Api, ApiRefused, Json

ENDPOINTS = ("/chat/completions", "/completions")
NOT_AGAIN = ("stream", "stream_options", "store")
"""The answer is read here, and is kept by nobody but the log."""
NO_TEXTS = "What was asked is not kept, so that it cannot be asked again."


async def replayed(api: Api, exchange: Json, model: str) -> str:
    """The id of the new exchange. Raises ApiRefused: the model did not answer, or there is nothing to ask."""
    request: Any = exchange["request"]
    if not isinstance(request, dict) or exchange["endpoint"] not in ENDPOINTS:
        raise ApiRefused(400, {"message": NO_TEXTS})
    body = {name: value for name, value in request.items() if name not in NOT_AGAIN} | {"model": model}
    answer = await api.send("POST", exchange["endpoint"], body=body)
    if answer.status != 200:
        raise ApiRefused(answer.status, _error(answer.json))
    [id] = [value.decode() for name, value in answer.headers if name == b"x-request-id"]
    return id


def _error(body: Any) -> dict[str, Any]:
    error: Any = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else {}
