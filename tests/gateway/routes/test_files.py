"""/v1/files through the application."""

import os
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import text

from gateway.files import service
from gateway.files.buckets import open_store
from gateway.files.store import PART
from gateway.services import Services
from gateway.settings import Settings
from tests.contract import conforms
from tests.fakes.fine_tuning import TEN, upload
from tests.places import PLACES, blobs, with_files

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
MB = 1024 * 1024
EXPIRY = {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}


def error_of(answer: httpx.Response, status: int = 400) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    return answer.json()["error"]


async def post(client: Client, name: str = "a.jsonl", content: bytes = TEN, **fields: str) -> httpx.Response:
    return await client.post("/v1/files", files={"file": (name, content)}, data={"purpose": "fine-tune", **fields})


@pytest.fixture(params=PLACES)
def settings(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """Files on disk, and in a bucket."""
    return with_files(request, settings)


class TestUpload:
    async def test_answers_openais_file(self, client: Client) -> None:
        made = (await post(client)).json()
        conforms("OpenAIFile", {name: value for name, value in made.items() if value is not None})
        assert re.fullmatch(r"file-\w{24}", made["id"])
        assert (made["bytes"], made["filename"], made["status"]) == (len(TEN), "a.jsonl", "processed")
        assert (await client.get(f"/v1/files/{made['id']}")).json() == made

    @pytest.mark.parametrize("purpose", ["assistants", "batch", "fine-tune", "vision", "user_data", "evals"])
    async def test_every_purpose_of_openai_is_taken(self, client: Client, purpose: str) -> None:
        assert (await post(client, purpose=purpose)).json()["purpose"] == purpose

    @pytest.mark.parametrize("purpose", ["", "fine_tune", "fine-tune-results", "x" * 10_000])
    async def test_other_purposes_are_refused(self, client: Client, settings: Settings, purpose: str) -> None:
        error = error_of(await post(client, purpose=purpose))
        assert error["param"] == "purpose"
        assert "is not one of" in error["message"]
        assert len(error["message"]) < 300
        assert await blobs(settings) == []

    async def test_missing_parts_are_named(self, client: Client) -> None:
        file = {"file": ("a.jsonl", TEN)}
        assert error_of(await client.post("/v1/files", files=file))["param"] == "purpose"
        other = {"other": ("a.jsonl", TEN)}
        error = error_of(await client.post("/v1/files", files=other, data={"purpose": "evals"}))
        assert (error["param"], error["code"]) == ("file", "missing_required_parameter")

    async def test_file_without_a_filename_is_told_what_to_do(self, client: Client) -> None:
        body = (
            b'--b\r\ncontent-disposition: form-data; name="file"\r\n\r\n{}\r\n'
            b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nevals\r\n--b--\r\n'
        )
        headers = {"content-type": "multipart/form-data; boundary=b"}
        error = error_of(await client.post("/v1/files", content=body, headers=headers))
        assert (error["param"], "with a filename" in error["message"]) == ("file", True)

    async def test_two_files_or_purposes_are_refused(self, client: Client) -> None:
        two = [("file", ("a.jsonl", TEN)), ("file", ("b.jsonl", TEN))]
        assert error_of(await client.post("/v1/files", files=two, data={"purpose": "evals"}))["param"] == "file"
        fields = {"purpose": ["evals", "batch"]}
        one = {"file": ("a.jsonl", TEN)}
        assert error_of(await client.post("/v1/files", files=one, data=fields))["param"] == "purpose"

    @pytest.mark.parametrize(
        ("content_type", "body"),
        [
            ("application/json", b"{}"),
            ("multipart/form-data", b"--b\r\n"),
            ("multipart/form-data; boundary=b", b""),
            ("multipart/form-data; boundary=b", b"nonsense"),
            ("multipart/form-data; boundary=b", b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\ncut'),
            ("multipart/form-data; boundary=b", b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\n\xff\r\n--b--'),
        ],
    )  # fmt: skip
    async def test_body_that_is_no_form_is_refused(self, client: Client, content_type: str, body: bytes) -> None:
        error_of(await client.post("/v1/files", content=body, headers={"content-type": content_type}))

    @pytest.mark.parametrize("name", ["../../etc/passwd.jsonl", "é 日本 🙂.jsonl", "x" * 600 + ".jsonl"])
    async def test_odd_names_are_only_names(self, client: Client, settings: Settings, name: str) -> None:
        made = (await post(client, name)).json()
        assert made["filename"] == name[:512]
        assert await blobs(settings) == [made["id"]]

    async def test_empty_file_is_a_file(self, client: Client) -> None:
        made = (await post(client, content=b"")).json()
        assert made["bytes"] == 0
        answer = await client.get(f"/v1/files/{made['id']}/content")
        assert (answer.status_code, answer.content) == (200, b"")

    async def test_needs_a_projects_key(self, admin: Client, app: Any) -> None:
        error_of(await post(admin), 403)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as nobody:
            error_of(await post(nobody), 401)


class TestExpiry:
    async def test_is_told_and_then_the_file_is_gone(self, client: Client, sv: Services) -> None:
        made = (await post(client, **EXPIRY)).json()
        assert made["expires_at"] == made["created_at"] + 3600
        async with sv.database.session() as session:
            await session.execute(text("UPDATE files SET expires_at = now() - interval '1 second'"))
        for path in ("", "/content"):
            error_of(await client.get(f"/v1/files/{made['id']}{path}"), 404)
        assert (await client.get("/v1/files")).json()["data"] == []
        error_of(await client.delete(f"/v1/files/{made['id']}"), 404)

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"expires_after[anchor]": "created_at"}, "expires_after.seconds"),
            ({"expires_after[seconds]": "3600"}, "expires_after.anchor"),
            (EXPIRY | {"expires_after[anchor]": "now"}, "expires_after.anchor"),
            (EXPIRY | {"expires_after[seconds]": "3599"}, "expires_after.seconds"),
            (EXPIRY | {"expires_after[seconds]": "2592001"}, "expires_after.seconds"),
            (EXPIRY | {"expires_after[seconds]": "soon"}, "expires_after.seconds"),
            (EXPIRY | {"expires_after[seconds]": ""}, "expires_after.seconds"),
        ],
    )
    async def test_both_fields_within_bounds(
        self, client: Client, settings: Settings, fields: dict[str, str], param: str
    ) -> None:
        error = error_of(await post(client, **fields))
        assert error["param"] == param
        assert await blobs(settings) == []

    @pytest.mark.parametrize("seconds", ["3600", "2592000"])
    async def test_bounds_themselves_are_fine(self, client: Client, seconds: str) -> None:
        assert (await post(client, **(EXPIRY | {"expires_after[seconds]": seconds}))).status_code == 200


class TestSize:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        """Small limits: of JSON bodies, which is not that of files, and of files."""
        files = msgspec.structs.replace(settings.files, max_bytes=3 * MB, max_batch_bytes=2 * MB)
        return msgspec.structs.replace(settings, max_body_bytes=MB, files=files)

    async def test_limit_is_that_of_files_not_of_json(self, client: Client) -> None:
        assert (await post(client, content=b"x" * 3 * MB)).json()["bytes"] == 3 * MB

    @pytest.mark.parametrize("size", [3 * MB + 1, 4 * MB])
    async def test_larger_is_refused_and_leaves_nothing(self, client: Client, settings: Settings, size: int) -> None:
        error = error_of(await post(client, content=b"x" * size), 413)
        assert error["param"] == "file"
        assert "larger than the limit of 3 MB" in error["message"]
        assert await blobs(settings) == []
        assert (await client.get("/v1/files")).json()["data"] == []

    async def test_batches_have_their_own_limit(self, client: Client, settings: Settings) -> None:
        assert (await post(client, content=b"x" * 2 * MB, purpose="batch")).status_code == 200
        error = error_of(await post(client, content=b"x" * (2 * MB + 1), purpose="batch"), 413)
        assert "larger than the limit of 2 MB" in error["message"]
        assert len(await blobs(settings)) == 1

    async def test_project_has_its_own_limit(self, client: Client, sv: Services, stranger: Client) -> None:
        await post(client, content=b"x" * 2 * MB)
        async with sv.database.session() as session:
            await session.execute(text("UPDATE files SET bytes = 2500000000000"))
        error = error_of(await post(client))
        assert (error["code"], "Delete files" in error["message"]) == ("storage_limit_exceeded", True)
        announced = {"filename": "a", "purpose": "user_data", "bytes": 1, "mime_type": "text/plain"}
        assert error_of(await client.post("/v1/uploads", json=announced))["param"] == "bytes"
        assert (await post(stranger)).status_code == 200

    async def test_body_without_length_is_not_read_beyond_the_limit(self, client: Client) -> None:
        sent = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal sent
            yield b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
            while sent < 100 * MB:
                sent += MB
                yield b"x" * MB

        headers = {"content-type": "multipart/form-data; boundary=b"}
        error_of(await client.post("/v1/files", content=endless(), headers=headers), 413)
        assert sent < 10 * MB


class TestList:
    async def test_newest_first_page_by_page(self, client: Client) -> None:
        ids = [await upload(client) for _ in range(5)]
        page = (await client.get("/v1/files?limit=2")).json()
        seen = [file["id"] for file in page["data"]]
        assert (page["first_id"], page["last_id"], page["has_more"]) == (seen[0], seen[-1], True)
        while page["has_more"]:
            page = (await client.get(f"/v1/files?limit=2&after={page['last_id']}")).json()
            seen += [file["id"] for file in page["data"]]
        assert seen == ids[::-1]
        oldest = (await client.get("/v1/files?order=asc&limit=1")).json()
        assert [file["id"] for file in oldest["data"]] == ids[:1]

    async def test_by_purpose(self, client: Client) -> None:
        await upload(client)
        other = await upload(client, purpose="evals")
        assert [file["id"] for file in (await client.get("/v1/files?purpose=evals")).json()["data"]] == [other]
        assert (await client.get("/v1/files?purpose=unknown")).json()["data"] == []

    async def test_empty_list_has_null_ids(self, client: Client) -> None:
        empty = {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
        assert (await client.get("/v1/files")).json() == empty

    @pytest.mark.parametrize(
        ("query", "param"),
        [("limit=0", "limit"), ("limit=10001", "limit"), ("after=file-1", "after"), ("order=up", "order")],
    )
    async def test_wrong_queries_are_named(self, client: Client, query: str, param: str) -> None:
        assert error_of(await client.get(f"/v1/files?{query}"))["param"] == param

    async def test_limit_of_ten_thousand_is_openais(self, client: Client) -> None:
        assert (await client.get("/v1/files?limit=10000")).status_code == 200


class TestContent:
    async def test_is_the_same_bytes(self, client: Client) -> None:
        content = os.urandom(3 * MB)
        file_id = await upload(client, content, name="a.bin", purpose="user_data")
        answer = await client.get(f"/v1/files/{file_id}/content", headers={"accept": "application/binary"})
        assert answer.content == content
        assert answer.headers["content-length"] == str(len(content))
        assert answer.headers["content-type"] == "application/octet-stream"

    async def test_that_vanished_is_a_clean_404(self, client: Client, settings: Settings) -> None:
        file_id = await upload(client)
        await open_store(settings.files, settings.data_dir).delete_async(file_id)
        error = error_of(await client.get(f"/v1/files/{file_id}/content"), 404)
        assert "upload it again" in error["message"]


class TestRange:
    @pytest.fixture
    async def file_id(self, client: Client) -> str:
        return await upload(client, b"0123456789", name="a.bin", purpose="user_data")

    @pytest.mark.parametrize(
        ("asked", "content", "told"),
        [
            ("bytes=0-3", b"0123", "bytes 0-3/10"),
            ("bytes=8-", b"89", "bytes 8-9/10"),
            ("bytes=5-500", b"56789", "bytes 5-9/10"),
            ("bytes=-3", b"789", "bytes 7-9/10"),
            ("bytes=9-9", b"9", "bytes 9-9/10"),
        ],
    )
    async def test_part_of_the_content(
        self, client: Client, file_id: str, asked: str, content: bytes, told: str
    ) -> None:
        answer = await client.get(f"/v1/files/{file_id}/content", headers={"range": asked})
        assert (answer.status_code, answer.content) == (206, content)
        assert (answer.headers["content-range"], answer.headers["content-length"]) == (told, str(len(content)))

    @pytest.mark.parametrize(
        "asked", ["bytes=0-", "bytes=-10", "bytes=-", "bytes=3-1", "bytes=0-1,3-4", "lines=1-2", "x"]
    )
    async def test_everything_when_that_or_nothing_sensible_is_asked(
        self, client: Client, file_id: str, asked: str
    ) -> None:
        answer = await client.get(f"/v1/files/{file_id}/content", headers={"range": asked})
        assert (answer.status_code, answer.content) == (200, b"0123456789")
        assert answer.headers["accept-ranges"] == "bytes"

    @pytest.mark.parametrize("asked", ["bytes=10-", "bytes=10-20", "bytes=-0"])
    async def test_behind_the_end_is_refused(self, client: Client, file_id: str, asked: str) -> None:
        answer = await client.get(f"/v1/files/{file_id}/content", headers={"range": asked})
        error_of(answer, 416)
        assert answer.headers["content-range"] == "bytes */10"

    async def test_across_the_pieces_that_the_storage_gives(self, client: Client) -> None:
        content = os.urandom(PART + MB)
        file_id = await upload(client, content, name="a.bin", purpose="user_data")
        asked = {"range": f"bytes={PART - 5}-{PART + 4}"}
        answer = await client.get(f"/v1/files/{file_id}/content", headers=asked)
        assert answer.content == content[PART - 5 : PART + 5]


class TestOrder:
    @pytest.mark.parametrize("file_first", [True, False])
    async def test_of_fields_does_not_matter(self, client: Client, file_first: bool) -> None:
        file = [("file", ("a.jsonl", TEN, "application/jsonl"))]
        fields = [(name, (None, value)) for name, value in {"purpose": "fine-tune", **EXPIRY}.items()]
        form: Any = file + fields if file_first else fields + file
        made = (await client.post("/v1/files", files=form)).json()
        assert (made["purpose"], made["expires_at"] - made["created_at"]) == ("fine-tune", 3600)

    async def test_what_is_wrong_behind_the_file_leaves_nothing(self, client: Client, settings: Settings) -> None:
        form: Any = [("file", ("a.jsonl", TEN)), ("purpose", (None, "homework"))]
        assert error_of(await client.post("/v1/files", files=form))["param"] == "purpose"
        assert await blobs(settings) == []

    async def test_purpose_with_a_filename_is_told_what_to_do(self, client: Client) -> None:
        form: Any = [("purpose", ("p.txt", b"evals")), ("file", ("a.jsonl", TEN))]
        error = error_of(await client.post("/v1/files", files=form))
        assert (error["param"], "text field" in error["message"]) == ("purpose", True)

    async def test_endless_text_is_refused(self, client: Client) -> None:
        assert error_of(await post(client, note="x" * 70_000))["param"] == "note"


class TestInternal:
    async def test_what_the_service_stored_is_a_file_like_any_other(
        self, client: Client, stranger: Client, sv: Services, project_key: dict[str, Any], settings: Settings
    ) -> None:
        csv = service.Upload(
            filename="step_metrics.csv",
            purpose="fine-tune-results",
            pieces=service.one_piece(b"step\n1\n"),
            expires_after=None,
        )
        row = await service.store_internal(sv.database, sv.files, project_key["project_id"], csv)
        url = f"/v1/files/{row.id}"
        told = (await client.get(url)).json()
        conforms("OpenAIFile", {name: value for name, value in told.items() if value is not None})
        assert (told["purpose"], told["filename"]) == ("fine-tune-results", "step_metrics.csv")
        assert (await client.get("/v1/files?purpose=fine-tune-results")).json()["data"] == [told]
        assert (await client.get(f"{url}/content")).content == b"step\n1\n"
        error_of(await stranger.get(url), 404)
        assert (await client.delete(url)).status_code == 200
        assert await blobs(settings) == []


class TestDelete:
    async def test_file_and_content_are_gone(self, client: Client, settings: Settings) -> None:
        file_id = await upload(client)
        answer = (await client.delete(f"/v1/files/{file_id}")).json()
        assert answer == {"id": file_id, "object": "file", "deleted": True}
        assert await blobs(settings) == []
        for path in ("", "/content"):
            error_of(await client.get(f"/v1/files/{file_id}{path}"), 404)
        error_of(await client.delete(f"/v1/files/{file_id}"), 404)


class TestProjects:
    async def test_another_projects_file_does_not_exist(self, client: Client, stranger: Client) -> None:
        file_id = await upload(client)
        for answer in (
            await stranger.get(f"/v1/files/{file_id}"),
            await stranger.get(f"/v1/files/{file_id}/content"),
            await stranger.delete(f"/v1/files/{file_id}"),
        ):
            error = error_of(answer, 404)
            assert error["message"] == f"No such File object: {file_id}"
        assert (await stranger.get("/v1/files")).json()["data"] == []
        assert error_of(await stranger.get(f"/v1/files?after={file_id}"))["param"] == "after"
        assert (await client.get(f"/v1/files/{file_id}")).status_code == 200

    async def test_unknown_id(self, client: Client) -> None:
        for file_id in ("file-unknown", "..%2F..%2Fetc%2Fpasswd", "x" * 3000, "file-%00"):
            assert (await client.get(f"/v1/files/{file_id}")).status_code in (400, 404)
            assert (await client.get(f"/v1/files/{file_id}/content")).status_code in (400, 404)
