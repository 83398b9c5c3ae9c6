"""The path of a call, in-process, in front of an upstream that fails on command."""

from typing import Any

import httpx
import pytest

from gateway.db.database import Database
from gateway.services import Services
from tests.conftest import chat

URL = "/v1/chat/completions"


@pytest.mark.anyio
class TestWhole:
    async def test_answers_with_the_upstreams_bytes(self, client: httpx.AsyncClient) -> None:
        answer = await client.post(URL, json=chat("echo", unknown_field={"kept": True}))
        assert answer.status_code == 200, answer.text
        assert answer.json()["choices"][0]["message"]["content"] == "hello"
        print(answer.headers)
