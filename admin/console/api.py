"""The public API, as the person who asked for a page may use it.

Calls stay within the process and take the way of any other: the same routes, roles, checks and audit log. So a page can do
nothing that the API cannot do, and a forged form is refused where a forged call would be.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from http.cookies import Morsel, SimpleCookie
from typing import Any
from urllib.parse import quote, unquote, urlencode

import msgspec
from litestar import Request
from litestar.datastructures import Cookie

from gateway.access import page_memory

PASSED_ON = (b"cookie", b"host", b"origin", b"sec-fetch-site", b"user-agent", b"x-forwarded-for", b"x-forwarded-proto")
"""Headers of the page's request that say who asks, and from where."""
JSON = "application/json"
Json = Any


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API answered, whatever it was."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    @property
    def json(self) -> Json:
        return msgspec.json.decode(self.body) if self.body else None

    @property
    def cookies(self) -> list[Cookie]:
        """To be passed on."""
        lines = [value.decode() for name, value in self.headers if name == b"set-cookie"]
        return [_cookie(morsel) for line in lines for morsel in SimpleCookie(line).values()]


class ApiRefused(Exception):
    """An OpenAI error object. The message is a sentence for people."""

    def __init__(self, status: int, error: Mapping[str, Any]) -> None:
        super().__init__(str(error.get("message") or f"The API answered {status}."))
        self.status = status
        self.code: str | None = error.get("code")
        self.param: str | None = error.get("param")


@dataclass(slots=True)
class Api:
    """Of one request for a page."""

    request: Request[Any, Any, Any]
    project_id: str | None = None
    """In whose name calls of models, files, jobs and datasets are made."""
    csrf: str | None = None
    """What a form or script proved itself with; pages that only read have none."""
    authorization: str | None = None
    """A key instead of the session."""
    _memory: dict[Any, Any] = field(default_factory=dict[Any, Any], repr=False)
    """Of who asks (gateway/access/page_memory.py)."""

    async def get(self, path: str, **query: Any) -> Json:
        """The object. Raises ApiRefused."""
        return _json(await self.send("GET", path, query=query))

    async def find(self, path: str, **query: Any) -> Json | None:
        """Like `get`; None for what is not there."""
        try:
            return await self.get(path, **query)
        except ApiRefused as refused:
            if refused.status == 404:
                return None
            raise

    async def every(self, path: str, *, most: int = 1000, **query: Any) -> list[Json]:
        """All objects of a list, page after page, up to `most`. Raises ApiRefused."""
        found: list[Json] = []
        while True:
            page = await self.get(path, **{"limit": 100} | query)
            found += page["data"]
            if not page.get("has_more") or len(found) >= most or not page["data"]:
                return found[:most]
            query["after"] = page["data"][-1]["id"]

    async def post(self, path: str, body: Any = None, **query: Any) -> Json:
        """Raises ApiRefused."""
        return _json(await self.send("POST", path, query=query, body=body if body is not None else {}))

    async def delete(self, path: str, **query: Any) -> Json:
        """Raises ApiRefused."""
        return _json(await self.send("DELETE", path, query=query))

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        content: tuple[str, bytes] | None = None,
    ) -> Answer:
        """Any call.

        Args:
            path: below /v1, as in "/files".
            query: None leaves a parameter out, a list repeats it.
            body: becomes JSON.
            content: its type and the bytes, instead.
        """
        kind, raw = content or (JSON, msgspec.json.encode(body) if body is not None else b"")
        return await _call(self.request, self.scope(method, path, query or {}, kind, len(raw)), raw)

    def scope(
        self, method: str, path: str, query: Mapping[str, Any], content_type: str = JSON, length: int = 0
    ) -> dict[str, Any]:
        """What the service is called with, by ASGI. Args: length: of the body, in bytes."""
        headers = [*self._headers(content_type), (b"content-length", str(length).encode())]
        scope = _scope(self.request, method, f"/v1{path}", _query(query), headers)
        scope["state"] = {page_memory.NAME: self._memory}
        return scope

    def _headers(self, content_type: str) -> list[tuple[bytes, bytes]]:
        own = {
            "content-type": content_type,
            "openai-project": self.project_id,
            "x-csrf-token": self.csrf,
            "authorization": self.authorization,
        }
        passed = [each for each in self.request.scope["headers"] if each[0] in PASSED_ON]
        return [*passed, *((name.encode(), value.encode()) for name, value in own.items() if value)]


async def at_once(*calls: Awaitable[Any]) -> list[Any]:
    """Several calls together, in their order. Raises what the first of them raised."""
    return list(await asyncio.gather(*calls))


def path_of(*parts: str) -> str:
    """A path of the API, each part quoted: `path_of("files", id)`."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def _cookie(morsel: "Morsel[str]") -> Cookie:
    return Cookie(
        key=morsel.key,
        value=morsel.value,
        path=morsel["path"],
        max_age=int(morsel["max-age"]),
        httponly=bool(morsel["httponly"]),
        secure=bool(morsel["secure"]),
        samesite="lax",
    )


def _json(answer: Answer) -> Json:
    if answer.status >= 400:
        try:
            error = msgspec.json.decode(answer.body)["error"]
        except (ValueError, KeyError, TypeError):
            error = {}
        raise ApiRefused(answer.status, error)
    return answer.json


def _query(query: Mapping[str, Any]) -> str:
    pairs: list[tuple[str, str]] = []
    for name, value in query.items():
        for each in value if isinstance(value, (list, tuple)) else [value]:
            if each not in (None, ""):
                pairs += [(name, str(each).lower() if isinstance(each, bool) else str(each))]
    return urlencode(pairs)


def _scope(
    request: Request[Any, Any, Any], method: str, path: str, query: str, headers: list[tuple[bytes, bytes]]
) -> dict[str, Any]:
    outer: Any = request.scope
    return {
        "type": "http",
        "asgi": outer["asgi"],
        "http_version": outer["http_version"],
        "method": method,
        "scheme": outer["scheme"],
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": headers,
        "client": outer["client"],
        "server": outer["server"],
        "extensions": {},
    }


async def _call(request: Request[Any, Any, Any], scope: dict[str, Any], body: bytes) -> Answer:
    started: dict[str, Any] = {}
    pieces: list[bytes] = []

    unread = [{"type": "http.request", "body": body, "more_body": False}]

    answered = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if unread:
            return unread.pop()
        await answered.wait()  # whoever waits for the page does not leave; a streamed answer ends when it is told so
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            started.update(message)
            return
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            answered.set()

    await request.app.state.service(scope, receive, send)
    return Answer(started["status"], [(name.lower(), value) for name, value in started["headers"]], b"".join(pieces))
