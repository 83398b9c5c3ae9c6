"""A browser without scripts: pages, links and forms, over ASGI."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from typing import Any

import httpx

from gateway.app import App
from tests.conftest import client_of
from tests.gateway.people import ORIGIN, PASSWORD

EMAIL = "ada@example.com"


class Browser:
    """Keeps cookies, and fills in what forms have hidden."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    @classmethod
    @asynccontextmanager
    async def of(cls, app: App) -> "AsyncIterator[Browser]":
        async with client_of(app, None) as client:
            client.headers.update({"origin": ORIGIN, "sec-fetch-site": "same-origin"})
            client.follow_redirects = True
            yield cls(client)

    async def sign_in(self, email: str, password: str = PASSWORD) -> str:
        """The page that comes then."""
        return await self.send("/console/sign-in", email=email, password=password)

    async def open(self, url: str, status: int = 200) -> str:
        """The page's HTML."""
        answer = await self.client.get(url)
        assert answer.status_code == status, answer.text
        return answer.text

    async def send(self, url: str, status: int = 200, /, **fields: Any) -> str:
        """Post a form; the page that is shown then."""
        answer = await self.client.post(url, data={"_csrf": await self._csrf(), **fields})
        assert answer.status_code == status, answer.text
        return answer.text

    async def _csrf(self) -> str:
        if "tuneway_session" not in self.client.cookies:
            return ""
        return (
            (await self.client.get("/v1/sessions/current")).json().get("csrf_token", "")
        )  # none of a session that is over


def text_of(html: str) -> str:
    """What is read of a page, in one line."""
    body = re.sub(r"<(script|style)\b.*?</\1>", " ", html, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())
