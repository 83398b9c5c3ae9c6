"""GET, POST and DELETE on /v1/chat/completions: those that were stored (contract section 1, "Stored completions").

POST on the collection itself is a model call (gateway/routes/model_calls.py), which never comes here.
"""

from types import SimpleNamespace
from typing import Any, cast

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, QueryParams, RawBody
from msgspec import UNSET

from gateway.db.pages import fetch_page
from gateway.db.tables import ExchangeRow, StoredCompletionRow
from gateway.exchanges import stored_completions
from gateway.exchanges.stored_completions import StoredFilters
from gateway.kit.clock import now
from gateway.protocol.decode import decode
from gateway.protocol.lists import CursorList, Deleted
from gateway.protocol.metadata import check_metadata
from gateway.protocol.pages import page_of
from gateway.protocol.queries import cursor, mapping, text
from gateway.protocol.stored_completions import StoredMessage, StoredUpdate
from gateway.routes.callers import Caller, Sv
from judges.subject import text_of

PATH = "/v1/chat/completions"
OF_ONE = f"{PATH}/{{completion_id:str}}"
BY_TIME = (StoredCompletionRow.created_at, StoredCompletionRow.exchange_id)
NAMED = SimpleNamespace(id=StoredCompletionRow.completion_id)
"""What a cursor names."""
SHOWN_PARTS = ("text", "image_url")
ASKED = (
    "tool_choice", "seed", "top_p", "temperature", "presence_penalty", "frequency_penalty", "tools", "response_format",
)  # fmt: skip
"""Of the request, shown with what it came to."""

decode_update = msgspec.json.Decoder(StoredUpdate)


@get(PATH)
async def list_stored_completions(sv: Sv, caller: Caller, query: QueryParams) -> CursorList:
    """Oldest first. Filters: model, metadata[key]=value."""
    filters = StoredFilters(model=text(query, "model"), metadata=mapping(query, "metadata"))
    rows = stored_completions.matching(caller.project_id, filters)
    async with sv.database.session() as session:
        page = await fetch_page(session, rows, NAMED, cursor(query, order="asc"), order=BY_TIME)
        exchanges = await stored_completions.exchanges_of(session, page.rows)
    shown = [completion(row, exchange) for row, exchange in zip(page.rows, exchanges, strict=True)]
    ids = [row.completion_id for row in page.rows]
    return CursorList(
        data=shown, first_id=ids[0] if ids else None, last_id=ids[-1] if ids else None, has_more=page.has_more
    )


@get(OF_ONE)
async def retrieve_stored_completion(sv: Sv, caller: Caller, completion_id: FromPath[str]) -> dict[str, Any]:
    async with sv.database.session() as session:
        row = await stored_completions.find(session, caller.project_id, completion_id)
        [exchange] = await stored_completions.exchanges_of(session, [row])
    return completion(row, exchange)


@post(OF_ONE, status_code=200)
async def update_stored_completion(
    sv: Sv, caller: Caller, completion_id: FromPath[str], body: RawBody
) -> dict[str, Any]:
    """Its metadata; the exchange log keeps what was sent."""
    wanted = decode(decode_update, body)
    check_metadata(wanted.metadata)
    async with sv.database.session() as session:
        row = await stored_completions.find(session, caller.project_id, completion_id)
        row.completion_metadata = dict[str, Any](wanted.metadata) if wanted.metadata else None
        [exchange] = await stored_completions.exchanges_of(session, [row])
    return completion(row, exchange)


@delete(OF_ONE, status_code=200)
async def delete_stored_completion(sv: Sv, caller: Caller, completion_id: FromPath[str]) -> Deleted:
    """It is no longer stored. The exchange log still has it: DELETE /v1/exchanges/{id} erases that, too."""
    async with sv.database.session() as session:
        row = await stored_completions.find(session, caller.project_id, completion_id)
        row.deleted_at = now()
    return Deleted(id=completion_id, object="chat.completion.deleted")


@get(f"{OF_ONE}/messages")
async def list_stored_messages(sv: Sv, caller: Caller, completion_id: FromPath[str], query: QueryParams) -> CursorList:
    """What was sent, in the order in which it was."""
    async with sv.database.session() as session:
        row = await stored_completions.find(session, caller.project_id, completion_id)
        [exchange] = await stored_completions.exchanges_of(session, [row])
    sent = _object(exchange.request).get("messages")
    every = [_message(completion_id, number, each) for number, each in enumerate(_list(sent)) if isinstance(each, dict)]
    return page_of(every, cursor(query, order="asc"))


def completion(row: StoredCompletionRow, exchange: ExchangeRow) -> dict[str, Any]:
    """OpenAI's object: the answer as it was given, and what it was asked with."""
    asked, answer = _object(exchange.request), _object(exchange.reply or b"")
    shown: dict[str, Any] = {
        "object": "chat.completion",
        "created": int(row.created_at.timestamp()),
        "model": row.model,
    }
    shown |= answer
    shown["id"] = row.completion_id
    shown["choices"] = [_choice(each) for each in _list(answer.get("choices")) if isinstance(each, dict)]
    shown |= {name: asked.get(name) for name in ASKED}
    return shown | {
        "request_id": row.exchange_id,
        "input_user": asked.get("user"),
        "metadata": row.completion_metadata or {},
    }


def _choice(choice: dict[str, Any]) -> dict[str, Any]:
    """With the keys that upstreams leave out and OpenAI does not."""
    message = choice.get("message")
    whole = {"logprobs": None} | choice
    return whole | {"message": {"refusal": None, "content": None} | message} if isinstance(message, dict) else whole


def _message(completion_id: str, number: int, sent: dict[str, Any]) -> StoredMessage:
    content = sent.get("content")
    parts = [part for part in _list(content) if isinstance(part, dict) and part.get("type") in SHOWN_PARTS]
    name, call_id, calls = sent.get("name"), sent.get("tool_call_id"), sent.get("tool_calls")
    return StoredMessage(
        id=f"{completion_id}-{number}",
        role=str(sent.get("role") or ""),
        content=text_of(sent) if content is not None else None,
        refusal=sent["refusal"] if isinstance(sent.get("refusal"), str) else None,
        name=name if isinstance(name, str) else None,
        content_parts=parts if isinstance(content, list) else None,
        tool_calls=_list(calls) if isinstance(calls, list) else UNSET,
        tool_call_id=call_id if isinstance(call_id, str) else UNSET,
        function_call=sent.get("function_call") or UNSET,
    )


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def _object(body: bytes) -> dict[str, Any]:
    """Empty for what is none: a stored body was accepted by an upstream, whatever it is."""
    try:
        value = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
