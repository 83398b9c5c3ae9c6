"""POST /v1/training_examples/import"""

import json
from typing import Any

import httpx
import msgspec
import pytest

from gateway.exchanges import erasure
from gateway.exchanges.subjects import subject
from gateway.keys.ring import ApiKey
from gateway.routes import example_imports
from gateway.services import Services
from gateway.settings import ExchangeSettings, Settings
from tests.conftest import chat
from tests.gateway.routes.test_training_examples import pair, said
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

IMPORT = "/v1/training_examples/import"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Drained when the test says so."""
    return msgspec.structs.replace(settings, exchanges=ExchangeSettings(drain_seconds=60, drain="inside"))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody drains meanwhile, so that there is nothing to wait for."""
    monkeypatch.setattr("gateway.routes.new_exchanges.SPARE_SECONDS", -1000)


async def imported(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post(IMPORT, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def uploaded(client: httpx.AsyncClient, content: bytes) -> str:
    form = {"file": ("x.jsonl", content), "purpose": (None, "user_data")}
    return (await client.post("/v1/files", files=form)).json()["id"]


async def rows(client: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    return (await client.get("/v1/training_examples", params=query)).json()["data"]


async def asked(client: httpx.AsyncClient, sv: Services, *questions: str, **more: Any) -> list[str]:
    """Ids of exchanges: `echo` answers with the question."""
    ids: list[str] = []
    for question in questions:
        body = chat("echo", **more) | {"messages": [{"role": "user", "content": question}]}
        ids.append((await client.post("/v1/chat/completions", json=body)).headers["x-request-id"])
    await sv.drain.drain()
    return ids


async def judged(client: httpx.AsyncClient, id: str, **words: Any) -> None:
    answer = await client.post("/v1/feedback", json={"completion_id": id, **words})
    assert answer.status_code == 200, answer.text


def questions(found: list[dict[str, Any]]) -> list[str]:
    return [row["line"]["messages"][0]["content"] for row in found]


class TestFromAFile:
    async def test_takes_good_lines_once_and_tells_of_bad_ones(self, client: httpx.AsyncClient) -> None:
        lines = [said("a"), said("a"), pair("b"), {"messages": []}, said("nul \x00")]
        content = b"\n".join(json.dumps(line).encode() for line in lines) + b"\n\nnot json\n"
        file_id = await uploaded(client, content)
        found = await imported(client, file_id=file_id, tags=["t"])
        assert (found["object"], found["created"], found["duplicates"]) == ("training_example.import", 2, 1)
        (skipped,) = found["skipped"]
        assert (skipped["reason"], skipped["count"]) == ("invalid_line", 3)
        assert [each.split(":")[0] for each in skipped["first"]] == ["line 4", "line 5", "line 7"]
        made = await rows(client)
        assert {(row["kind"], row["source"], row["file_id"], row["status"], *row["tags"]) for row in made} == {
            ("sft", "upload", file_id, "draft", "t"), ("preference", "upload", file_id, "draft", "t"),
        }  # fmt: skip

    async def test_twice_adds_nothing_and_changes_nothing(self, client: httpx.AsyncClient) -> None:
        file_id = await uploaded(client, json.dumps(said("a")).encode())
        await imported(client, file_id=file_id)
        before = await rows(client)
        found = await imported(client, file_id=file_id, validated=True, score=1.0)
        assert (found["created"], found["duplicates"]) == (0, 1)
        assert await rows(client) == before

    async def test_may_be_validated_at_once(self, client: httpx.AsyncClient, project_key: dict[str, Any]) -> None:
        file_id = await uploaded(client, json.dumps(said("a")).encode())
        await imported(client, file_id=file_id, validated=True, score=0.7)
        (row,) = await rows(client)
        assert (row["status"], row["score"], row["validated_by"]) == ("validated", 0.7, project_key["id"])

    async def test_that_is_none_is_refused(self, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
        error_in(await client.post(IMPORT, json={"file_id": "file-x"}), 404)
        assert (await imported(client, file_id=await uploaded(client, b"PK\x03\x04")))["skipped"][0]["count"] == 1
        monkeypatch.setattr("gateway.routes.example_imports.FILE_LINES", 1)
        two = await uploaded(client, b"\n".join(json.dumps(said(each)).encode() for each in "ab"))
        assert error_in(await client.post(IMPORT, json={"file_id": two}), 400)["param"] == "file_id"
        assert await rows(client) == []

    async def test_one_source_and_no_score_for_drafts(self, client: httpx.AsyncClient) -> None:
        for body in ({}, {"file_id": "x", "exchanges": {}}):
            assert error_in(await client.post(IMPORT, json=body), 400)["param"] == "file_id"
        assert error_in(await client.post(IMPORT, json={"exchanges": {}, "score": 1}), 400)["param"] == "score"

    async def test_a_project_has_room_for_so_many(
        self, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gateway.examples.repository.MOST", 1)
        file_id = await uploaded(client, b"\n".join(json.dumps(said(each)).encode() for each in "ab"))
        error = error_in(await client.post(IMPORT, json={"file_id": file_id}), 400)
        assert error["code"] == "too_many_examples"
        assert await rows(client) == []


class TestFromTheLog:
    async def test_takes_what_people_liked(self, client: httpx.AsyncClient, sv: Services) -> None:
        up, down, both, four, three, none = await asked(client, sv, "up", "down", "both", "four", "three", "none")
        await judged(client, up, thumbs="up")
        await judged(client, down, thumbs="down")
        await judged(client, both, thumbs="up", rating=1)
        await judged(client, four, rating=4)
        await judged(client, three, rating=3)
        found = await imported(client, exchanges={})
        assert (found["created"], found["has_more"]) == (2, False)
        made = await rows(client)
        assert sorted(questions(made)) == ["four", "up"]
        assert {row["exchange_id"] for row in made} == {up, four}
        assert {row["source"] for row in made} == {"exchange"}
        assert made[0]["line"]["messages"][1]["role"] == "assistant"
        assert none

    async def test_an_edit_is_what_is_learnt_even_of_a_disliked_answer(
        self, client: httpx.AsyncClient, sv: Services
    ) -> None:
        (id,) = await asked(client, sv, "q")
        await judged(client, id, thumbs="down", correction="As it should be.")
        assert (await imported(client, exchanges={"min_score": 1}))["created"] == 1
        (row,) = await rows(client)
        assert (row["source"], row["line"]["messages"][1]["content"]) == ("edit", "As it should be.")

    async def test_by_score_time_and_metadata(self, client: httpx.AsyncClient, sv: Services) -> None:
        (four,) = await asked(client, sv, "four", metadata={"team": "a"})
        (five,) = await asked(client, sv, "five")
        await judged(client, four, rating=4)
        await judged(client, five, rating=5)
        began = (await client.get(f"/v1/exchanges/{four}")).json()["created_at"]
        for exchanges in (
            {"created_before": began - 100},
            {"created_after": began + 100},
            {"metadata": {"team": "b"}},
            {"models": ["other"]},
            {"routes": ["other"]},
        ):
            assert (await imported(client, exchanges=exchanges))["created"] == 0, exchanges
        assert (await imported(client, exchanges={"min_score": 0.9}))["created"] == 1
        assert questions(await rows(client)) == ["five"]
        found = await imported(client, exchanges={"metadata": {"team": "a"}, "created_after": began - 100})
        assert found["created"] == 1

    async def test_up_to_a_limit_newest_first(self, client: httpx.AsyncClient, sv: Services) -> None:
        for id in await asked(client, sv, "1", "2", "3"):
            await judged(client, id, thumbs="up")
        found = await imported(client, exchanges={"limit": 2})
        assert (found["created"], found["has_more"]) == (2, True)
        assert sorted(questions(await rows(client))) == ["2", "3"]
        assert (await imported(client, exchanges={"limit": 3}))["has_more"] is False

    async def test_named_ones_whatever_was_said_of_them(self, client: httpx.AsyncClient, sv: Services) -> None:
        first, second = await asked(client, sv, "first", "second")
        await judged(client, second, thumbs="down")
        found = await imported(client, exchanges={"ids": [first, second, first, "req_nothing"]}, validated=True)
        assert found["created"] == 2
        assert found["skipped"] == [{"reason": "not_in_the_log", "count": 1, "first": ["req_nothing"]}]

    async def test_nothing_of_another_project(
        self, client: httpx.AsyncClient, stranger: httpx.AsyncClient, sv: Services
    ) -> None:
        (id,) = await asked(client, sv, "mine")
        await judged(client, id, thumbs="up")
        assert (await imported(stranger, exchanges={}))["created"] == 0
        assert (await imported(stranger, exchanges={"ids": [id]}))["created"] == 0

    async def test_nothing_that_was_erased(
        self, client: httpx.AsyncClient, sv: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nor what is erased between reading and writing; and erasing takes the copies, too."""
        kept, gone = await asked(client, sv, "kept", "gone")
        for id in (kept, gone):
            await judged(client, id, thumbs="up")
        write = example_imports._write  # type: ignore[reportPrivateUsage]

        async def meanwhile(sv: Services, caller: ApiKey, *more: Any) -> Any:
            async with sv.database.session() as session:
                await erasure.announce(session, caller.project_id, [gone], caller.id)
            return await write(sv, caller, *more)

        monkeypatch.setattr(example_imports, "_write", meanwhile)
        assert (await imported(client, exchanges={}))["created"] == 1
        assert questions(await rows(client)) == ["kept"]
        assert (await client.delete(f"/v1/exchanges/{kept}")).status_code == 200
        assert await rows(client) == []

    @pytest.mark.parametrize("when", ["before", "meanwhile", "after"])
    async def test_no_correction_that_its_person_had_erased(
        self, client: httpx.AsyncClient, sv: Services, monkeypatch: pytest.MonkeyPatch, when: str
    ) -> None:
        """The call is not theirs: it stays, with what others wrote of it."""
        id, other = await asked(client, sv, "q", "r")
        await judged(client, id, correction="Ann's.", user="ann")
        await judged(client, other, correction="Bob's.", user="bob")
        write = example_imports._write  # type: ignore[reportPrivateUsage]

        async def erased() -> None:
            assert (await client.delete("/v1/exchanges", params={"user": "ann"})).status_code == 200

        async def meanwhile(*arguments: Any) -> Any:
            if when == "meanwhile":
                await erased()
            return await write(*arguments)

        monkeypatch.setattr(example_imports, "_write", meanwhile)
        if when == "before":
            await erased()
        await imported(client, exchanges={})
        if when == "after":
            await erased()
        assert questions(await rows(client)) == ["r"]

    async def test_one_that_cannot_be_read_is_told(
        self, client: httpx.AsyncClient, sv: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        good, bad = await asked(client, sv, "good", "bad")

        def breaks(request: bytes, *rest: Any) -> Any:
            if b"bad" in request:
                raise OverflowError
            return subject(request, *rest)

        monkeypatch.setattr(example_imports, "subject", breaks)
        found = await imported(client, exchanges={"ids": [good, bad]})
        assert (found["created"], found["skipped"]) == (1, [{"reason": "unusable", "count": 1, "first": [bad]}])
