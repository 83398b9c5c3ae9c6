"""/v1/uploads through the application, with parts on disk and in a bucket."""

import asyncio
import hashlib
import os
import re
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import text

from gateway.files import uploads
from gateway.files.store import PART
from gateway.services import Services
from gateway.settings import Settings
from tests.contract import conforms
from tests.places import PLACES, blobs, with_files

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
MB = 1024 * 1024
LINES = [b'{"n": 1}\n', b'{"n": 22}\n', b'{"n": 333}\n']
WHOLE = b"".join(LINES)


@pytest.fixture(params=PLACES)
def settings(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """Files on disk, and in a bucket."""
    return with_files(request, settings)


def error_of(answer: httpx.Response, status: int = 400) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    return answer.json()["error"]


async def create(client: Client, **fields: Any) -> dict[str, Any]:
    answer = await announce(client, **fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def announce(client: Client, **fields: Any) -> httpx.Response:
    wanted = {"filename": "a.jsonl", "purpose": "fine-tune", "bytes": len(WHOLE), "mime_type": "application/jsonl"}
    return await client.post("/v1/uploads", json={k: v for k, v in (wanted | fields).items() if v is not None})


async def send(client: Client, upload_id: str, content: bytes) -> httpx.Response:
    return await client.post(f"/v1/uploads/{upload_id}/parts", files={"data": ("upload", content)})


async def part(client: Client, upload_id: str, content: bytes) -> str:
    answer = await send(client, upload_id, content)
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


async def complete(client: Client, upload_id: str, part_ids: list[str], **more: Any) -> httpx.Response:
    return await client.post(f"/v1/uploads/{upload_id}/complete", json={"part_ids": part_ids, **more})


async def cancel(client: Client, upload_id: str) -> httpx.Response:
    """As the SDKs send it."""
    headers = {"content-type": "application/json", "content-length": "0"}
    return await client.post(f"/v1/uploads/{upload_id}/cancel", headers=headers)


async def let_expire(sv: Services, seconds: int = 1) -> None:
    async with sv.database.session() as session:
        await session.execute(text(f"UPDATE uploads SET expires_at = now() - interval '{seconds} seconds'"))


class TestCreate:
    async def test_answers_openais_upload(self, client: Client) -> None:
        made = await create(client)
        conforms("Upload", made)
        assert re.fullmatch(r"upload_\w{24}", made["id"])
        assert made["expires_at"] == made["created_at"] + 3600
        assert (made["status"], made["bytes"], made["filename"]) == ("pending", len(WHOLE), "a.jsonl")

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"bytes": None}, "bytes"),
            ({"bytes": -1}, "bytes"),
            ({"bytes": "many"}, "bytes"),
            ({"bytes": 8 * 1024**3 + 1}, "bytes"),
            ({"purpose": "batch", "bytes": 200 * MB + 1}, "bytes"),
            ({"filename": None}, "filename"),
            ({"filename": ""}, "filename"),
            ({"filename": "a.csv"}, "filename"),
            ({"purpose": "fine-tune-results"}, "purpose"),
            ({"purpose": None}, "purpose"),
            ({"mime_type": None}, "mime_type"),
            ({"expires_after": {"anchor": "now", "seconds": 3600}}, "expires_after.anchor"),
            ({"expires_after": {"anchor": "created_at", "seconds": 10}}, "expires_after.seconds"),
            ({"colour": "red"}, "colour"),
        ],
    )
    async def test_what_is_wrong_is_named(self, client: Client, fields: dict[str, Any], param: str) -> None:
        assert error_of(await announce(client, **fields))["param"] == param

    async def test_eight_gigabytes_are_fine(self, client: Client) -> None:
        assert (await create(client, bytes=8 * 1024**3))["bytes"] == 8 * 1024**3


class TestParts:
    async def test_answer_openais_part(self, client: Client) -> None:
        upload = await create(client)
        made = (await send(client, upload["id"], LINES[0])).json()
        conforms("UploadPart", made)
        assert re.fullmatch(r"part_\w{24}", made["id"])
        assert made["upload_id"] == upload["id"]

    async def test_form_without_data_is_refused(self, client: Client, settings: Settings) -> None:
        upload = await create(client)
        url = f"/v1/uploads/{upload['id']}/parts"
        assert error_of(await client.post(url, files={"file": ("a", b"x")}))["param"] == "data"
        two = [("data", ("a", b"x")), ("data", ("b", b"y"))]
        assert error_of(await client.post(url, files=two))["param"] == "data"
        error_of(await client.post(url, json={"data": "x"}))
        assert await blobs(settings) == []

    async def test_endless_parts_are_refused(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        upload = await create(client, bytes=10)
        for _ in range(3):
            await part(client, upload["id"], b"0123456789")
        assert error_of(await send(client, upload["id"], b"0123456789"))["param"] == "data"
        other = await create(client)
        monkeypatch.setattr(uploads, "PARTS_LIMIT", 2)
        for _ in range(2):
            await part(client, other["id"], b"")
        assert "has 2 parts" in error_of(await send(client, other["id"], b""))["message"]


class TestLimit:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        files = msgspec.structs.replace(settings.files, max_part_bytes=2 * MB)
        return msgspec.structs.replace(settings, max_body_bytes=MB, files=files)

    async def test_of_a_part_is_not_that_of_json(self, client: Client, settings: Settings) -> None:
        upload = await create(client, bytes=10 * MB)
        await part(client, upload["id"], b"x" * 2 * MB)
        for size in (2 * MB + 1, 3 * MB):
            error = error_of(await send(client, upload["id"], b"x" * size), 413)
            assert (error["param"], "part is larger than the limit of 2 MB" in error["message"]) == ("data", True)
        assert len(await blobs(settings)) == 1


class TestComplete:
    async def test_puts_parts_in_the_order_of_their_ids(self, client: Client) -> None:
        upload = await create(client)
        sent = await asyncio.gather(*(part(client, upload["id"], line) for line in reversed(LINES)))
        done = (await complete(client, upload["id"], sent[::-1])).json()
        conforms("Upload", {**done, "file": {k: v for k, v in done["file"].items() if v is not None}})
        assert done == upload | {"status": "completed", "file": done["file"]}
        assert (done["file"]["bytes"], done["file"]["filename"]) == (len(WHOLE), "a.jsonl")
        file_url = f"/v1/files/{done['file']['id']}"
        assert (await client.get(file_url)).json() == done["file"]
        assert (await client.get(f"{file_url}/content")).content == WHOLE

    async def test_large_parts(self, client: Client) -> None:
        contents = [os.urandom(PART + 1), os.urandom(2 * PART), os.urandom(5)]
        whole = b"".join(contents)
        upload = await create(client, filename="a.bin", purpose="user_data", bytes=len(whole))
        ids = [await part(client, upload["id"], content) for content in contents]
        md5 = hashlib.md5(whole).hexdigest()
        done = (await complete(client, upload["id"], ids, md5=md5.upper())).json()
        assert (await client.get(f"/v1/files/{done['file']['id']}/content")).content == whole

    async def test_parts_that_are_not_named_are_left_out(self, client: Client) -> None:
        upload = await create(client)
        ids = [await part(client, upload["id"], line) for line in (*LINES, LINES[0])]
        done = (await complete(client, upload["id"], ids[:3])).json()
        assert (await client.get(f"/v1/files/{done['file']['id']}/content")).content == WHOLE

    async def test_again_it_is_the_same_file(self, client: Client, settings: Settings) -> None:
        upload = await create(client)
        ids = [await part(client, upload["id"], line) for line in LINES]
        answers = await asyncio.gather(*(complete(client, upload["id"], ids) for _ in range(3)))
        answers.append(await complete(client, upload["id"], ids))
        assert [answer.status_code for answer in answers] == [200] * 4
        assert len({answer.json()["file"]["id"] for answer in answers}) == 1
        assert len((await client.get("/v1/files")).json()["data"]) == 1
        assert [each for each in await blobs(settings) if each.startswith("file-")] == [answers[0].json()["file"]["id"]]

    async def test_of_nothing_is_an_empty_file(self, client: Client) -> None:
        upload = await create(client, bytes=0)
        assert (await complete(client, upload["id"], [])).json()["file"]["bytes"] == 0

    async def test_other_size_names_both_numbers(self, client: Client) -> None:
        upload = await create(client)
        ids = [await part(client, upload["id"], line) for line in LINES]
        error = error_of(await complete(client, upload["id"], ids[:2]))
        assert error["param"] == "part_ids"
        assert str(len(LINES[0] + LINES[1])) in error["message"]
        assert str(len(WHOLE)) in error["message"]
        assert (await complete(client, upload["id"], ids)).status_code == 200

    async def test_parts_that_do_not_belong_are_named(self, client: Client) -> None:
        upload, other = await create(client), await create(client)
        ids = [await part(client, upload["id"], line) for line in LINES]
        foreign = await part(client, other["id"], LINES[2])
        for wrong in (foreign, "part_unknown", ids[0]):
            error = error_of(await complete(client, upload["id"], [*ids[:2], wrong]))
            assert (error["param"], wrong in error["message"]) == ("part_ids[2]", True)
        assert (await complete(client, upload["id"], ids)).status_code == 200

    async def test_other_checksum_leaves_nothing_and_the_upload_open(self, client: Client, settings: Settings) -> None:
        upload = await create(client)
        ids = [await part(client, upload["id"], line) for line in LINES]
        right = hashlib.md5(WHOLE).hexdigest()
        for md5, order in (("0" * 32, ids), (right, ids[::-1])):
            assert error_of(await complete(client, upload["id"], order, md5=md5))["param"] == "md5"
        assert error_of(await complete(client, upload["id"], ids, md5="short"))["param"] == "md5"
        assert await blobs(settings) == sorted(ids)
        assert (await client.get("/v1/files")).json()["data"] == []
        assert (await complete(client, upload["id"], ids, md5=right)).status_code == 200

    async def test_expiry_is_the_files(self, client: Client) -> None:
        expiry = {"anchor": "created_at", "seconds": 7200}
        upload = await create(client, bytes=0, expires_after=expiry)
        file = (await complete(client, upload["id"], [])).json()["file"]
        assert file["expires_at"] == file["created_at"] + 7200
        batch = await create(client, bytes=0, purpose="batch")
        file = (await complete(client, batch["id"], [])).json()["file"]
        assert file["expires_at"] == file["created_at"] + 30 * 24 * 3600

    @pytest.mark.parametrize("body", [b"", b"{}", b'{"part_ids": "x"}', b'{"part_ids": [1]}'])
    async def test_body_must_name_parts(self, client: Client, body: bytes) -> None:
        upload = await create(client)
        error_of(await client.post(f"/v1/uploads/{upload['id']}/complete", content=body))


class TestCancel:
    async def test_takes_nothing_more_and_may_be_repeated(self, client: Client) -> None:
        upload = await create(client)
        first = await part(client, upload["id"], LINES[0])
        for _ in range(2):
            assert (await cancel(client, upload["id"])).json() == upload | {"status": "cancelled"}
        assert "is cancelled" in error_of(await send(client, upload["id"], LINES[1]))["message"]
        assert "is cancelled" in error_of(await complete(client, upload["id"], [first]))["message"]

    async def test_not_what_is_completed(self, client: Client) -> None:
        upload = await create(client, bytes=0)
        done = (await complete(client, upload["id"], [])).json()
        assert "is completed" in error_of(await cancel(client, upload["id"]))["message"]
        assert "is completed" in error_of(await send(client, upload["id"], b""))["message"]
        assert (await client.get(f"/v1/files/{done['file']['id']}")).status_code == 200


class TestExpiry:
    async def test_ends_everything_from_the_very_second(self, client: Client, sv: Services) -> None:
        upload = await create(client)
        ids = [await part(client, upload["id"], line) for line in LINES]
        await let_expire(sv)
        for answer in (
            await send(client, upload["id"], LINES[0]),
            await complete(client, upload["id"], ids),
            await cancel(client, upload["id"]),
        ):
            assert "is expired" in error_of(answer)["message"]


class TestProjects:
    async def test_another_projects_upload_does_not_exist(self, client: Client, stranger: Client) -> None:
        upload = await create(client)
        for answer in (
            await send(stranger, upload["id"], LINES[0]),
            await complete(stranger, upload["id"], []),
            await cancel(stranger, upload["id"]),
            await cancel(client, "upload_unknown"),
        ):
            assert "No such Upload object" in error_of(answer, 404)["message"]
        assert (await cancel(client, upload["id"])).status_code == 200

    async def test_needs_a_projects_key(self, admin: Client) -> None:
        error_of(await announce(admin), 403)
