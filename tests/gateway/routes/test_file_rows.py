"""/v1/files/{file_id}/rows through the application."""

import json
from typing import Any

import httpx
import pytest

from gateway.routes import file_rows
from tests.fakes.fine_tuning import jsonl, upload
from tests.gateway.datasets.files import chat, pair, varied

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient


async def rows_of(client: Client, file_id: str, query: str = "") -> dict[str, Any]:
    answer = await client.get(f"/v1/files/{file_id}/rows{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


class TestRows:
    async def test_are_pages_of_lines(self, client: Client) -> None:
        lines = varied(7)
        file_id = await upload(client, jsonl(*lines))
        first = await rows_of(client, file_id, "?limit=3")
        assert ([each["line"] for each in first["data"]], first["has_more"]) == ([1, 2, 3], True)
        assert [each["example"] for each in first["data"]] == lines[:3]
        last = await rows_of(client, file_id, "?limit=4&after=3")
        assert ([each["line"] for each in last["data"]], last["has_more"]) == ([4, 5, 6, 7], False)

    async def test_have_a_score_and_its_reason(self, client: Client) -> None:
        good = chat("Where is my parcel, which I ordered on Monday last week?", "On its way.")
        damaged = chat("Where is my parcel, which I ordered on Monday last week?", "On its w\ufffdy.")
        file_id = await upload(client, jsonl(good, damaged, pair()))
        told = [(each["score"], each["note"]) for each in (await rows_of(client, file_id))["data"]]
        assert told[:2] == [(100, "good"), (80, "damaged characters")]
        assert told[2][0] > 0, "a pair is held to the rules of pairs"

    async def test_what_is_no_example_says_why(self, client: Client) -> None:
        content = b"\xef\xbb\xbf" + jsonl(chat("Hello", "Hi")) + b'\n\n{"x": 1}\nno json\n'
        rows = (await rows_of(client, await upload(client, content)))["data"]
        assert [each["example"] for each in rows] == [chat("Hello", "Hi"), {"x": 1}, None]
        assert [each["score"] for each in rows][1:] == [0, 0]
        assert all(each["note"] for each in rows)

    async def test_one_that_is_too_long_is_not_shown(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(file_rows, "LONGEST", 1000)
        file_id = await upload(client, jsonl(chat("Hello", "x" * 2000), chat("Hello", "Hi")))
        long, short = (await rows_of(client, file_id))["data"]
        assert (long["example"], long["score"]) == (None, None)
        assert short["example"] == chat("Hello", "Hi")

    async def test_no_more_is_read_than_a_call_may(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        content = jsonl(*varied(20))
        monkeypatch.setattr(file_rows, "MOST_READ", len(content.split(b"\n")[0]) + 9)
        found = await rows_of(client, await upload(client, content))
        assert ([each["line"] for each in found["data"]], found["has_more"], found["cut"]) == ([1], False, True)

    @pytest.mark.parametrize("query", ["after=-1", "after=x", "limit=101", "limit=%C2%B2"])
    async def test_refuses_nonsense(self, client: Client, query: str) -> None:
        answer = await client.get(f"/v1/files/{await upload(client)}/rows?{query}")
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == query.partition("=")[0]

    async def test_of_another_purpose_there_are_none(self, client: Client) -> None:
        sent = {"file": ("a.jsonl", json.dumps({"x": 1}).encode())}
        made = await client.post("/v1/files", data={"purpose": "user_data"}, files=sent)
        answer = await client.get(f"/v1/files/{made.json()['id']}/rows")
        assert answer.json()["error"]["param"] == "file_id"
