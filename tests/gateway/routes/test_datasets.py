"""/v1/datasets/import through the application."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from gateway.datasets.isolated import Isolated
from gateway.errors import Unavailable
from gateway.files import service
from gateway.routes import datasets
from gateway.services import Services
from gateway.settings import FileSettings, Settings
from tests.contract import conforms
from tests.fakes.fine_tuning import upload
from tests.gateway.datasets.bombs import parquet_bomb
from tests.gateway.datasets.files import spelt

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
URL = "/v1/datasets/import"


def table_of(names: tuple[str, str] = ("question", "answer"), rows: int = 30) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=";")
    writer.writerow(names)
    writer.writerows([f"Where is parcel {spelt(row)}, please?", f"It is {spelt(row)}."] for row in range(rows))
    return text.getvalue().encode()


async def send(
    client: Client, content: bytes | None = None, name: str = "support.csv", **fields: Any
) -> httpx.Response:
    return await client.post(URL, files={"file": (name, table_of() if content is None else content)}, data=fields)


async def imported(client: Client, *arguments: Any, **fields: Any) -> dict[str, Any]:
    answer = await send(client, *arguments, **fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def error_of(answer: httpx.Response, status: int = 400) -> dict[str, Any]:
    assert answer.status_code == status, answer.text[:500]
    return answer.json()["error"]


async def stored(client: Client) -> list[str]:
    return [file["filename"] for file in (await client.get("/v1/files")).json()["data"]]


class TestPreview:
    async def test_shows_everything_and_stores_nothing(self, client: Client, settings: Settings) -> None:
        found = await imported(client)
        assert (found["object"], found["layout"], found["format"], found["confidence"]) == (
            "dataset.import",
            "table",
            "chat",
            99,
        )
        assert found["mapping"] == {"user": "question", "assistant": "answer"}
        source = found["source"]
        assert (source["container"], source["encoding"], source["delimiter"], source["rows"]) == (
            "csv",
            "utf-8",
            ";",
            30,
        )
        assert [column["name"] for column in source["columns"]] == ["question", "answer"]
        assert len(found["examples"]) == 10
        assert found["examples"][0]["row"] == 1
        assert found["report"]["examples"] == 30
        assert (found["file"], found["validation_file"]) == (None, None)
        assert await stored(client) == []
        assert list((settings.data_dir / "files-at-work").iterdir()) == []

    async def test_low_confidence_asks_for_a_mapping(self, client: Client) -> None:
        found = await imported(client, table_of(("a", "b")))
        assert (found["mapping_required"], found["examples"], found["report"]) == (True, [], None)
        mapping = json.dumps({"user": "a", "assistant": "b"})
        assert (await imported(client, table_of(("a", "b")), mapping=mapping))["confidence"] == 100
        fields = {"mapping[user]": "a", "mapping[assistant]": "b"}
        assert (await imported(client, table_of(("a", "b")), **fields))["mapping"] == {"user": "a", "assistant": "b"}


class TestStore:
    async def test_makes_a_file_to_train_on(self, client: Client) -> None:
        found = await imported(client, store="true", system="Be kind.")
        file = found["file"]
        conforms("OpenAIFile", {name: value for name, value in file.items() if value is not None})
        assert (file["filename"], file["purpose"], found["validation_file"]) == ("support.jsonl", "fine-tune", None)
        content = (await client.get(f"/v1/files/{file['id']}/content")).content
        assert len(content) == file["bytes"] == found["report"]["bytes"]
        lines = [json.loads(line) for line in content.splitlines()]
        assert lines[:10] == [each["example"] for each in found["examples"]]
        assert {line["messages"][0]["content"] for line in lines} == {"Be kind."}
        report = (await client.get(f"/v1/files/{file['id']}/report")).json()["report"]
        assert (report["examples"], report["bad_examples"]) == (30, 0)

    async def test_a_long_name_keeps_its_ending(self, client: Client) -> None:
        found = await imported(client, table_of(rows=100), "n" * 600 + ".csv", store="true", split="0.2")
        assert found["file"]["filename"].endswith("n.jsonl")
        assert found["validation_file"]["filename"].endswith("n.validation.jsonl")

    async def test_split_makes_two(self, client: Client) -> None:
        found = await imported(client, table_of(rows=100), store="true", split="0.2")
        assert await stored(client) == ["support.validation.jsonl", "support.jsonl"]
        ids = [found[name]["id"] for name in ("file", "validation_file")]
        sizes = [(await client.get(f"/v1/files/{each}/content")).content.count(b"\n") for each in ids]
        assert sizes == [found["training_examples"], found["validation_examples"]]
        assert sum(sizes) == 100

    async def test_of_a_file_that_is_there_by_form_and_json(self, client: Client, stranger: Client) -> None:
        file_id = await upload(client, table_of(), name="table.csv", purpose="user_data")
        by_form = await client.post(URL, data={"file_id": file_id}, files={"system": (None, "x")})
        assert by_form.json()["report"]["examples"] == 30
        by_json = await client.post(
            URL, json={"file_id": file_id, "store": True, "mapping": {"user": "answer", "assistant": "question"}}
        )
        assert by_json.json()["file"]["filename"] == "table.jsonl"
        assert by_json.json()["confidence"] == 100
        assert error_of(await stranger.post(URL, json={"file_id": file_id}), 404)["code"] == "not_found"

    async def test_both_files_or_none(
        self, client: Client, monkeypatch: pytest.MonkeyPatch, settings: Settings
    ) -> None:
        store_one = datasets._store_one

        async def fails_at_the_second(sv: Services, caller: Any, filename: str, content: Any) -> Any:
            if "validation" in filename:
                raise Unavailable("the storage is away")
            return await store_one(sv, caller, filename, content)

        monkeypatch.setattr(datasets, "_store_one", fails_at_the_second)
        error_of(await send(client, table_of(rows=100), store="true", split="0.2"), 503)
        assert await stored(client) == []
        assert list((settings.data_dir / "blobs").iterdir()) == []

    @pytest.mark.parametrize(
        ("name", "kept"),
        [
            ("../../etc/x.csv", "x.jsonl"),
            ("C:\\data\\d.parquet", "d.jsonl"),
            (".csv", ".csv.jsonl"),
            ("日本.json", "日本.jsonl"),
        ],
    )
    async def test_odd_names_are_only_names(self, client: Client, name: str, kept: str) -> None:
        assert (await imported(client, None, name, store="true"))["file"]["filename"] == kept


class TestLeavingOut:
    async def test_by_form_and_by_json(self, client: Client) -> None:
        table = b"question,answer\nWhere is it?,Here.\nWhere is it?,Here.\nWhen?,S\xef\xbf\xbdon.\nWhy?,Because.\n"
        preview = await imported(client, table, leave_out="duplicates, encoding", excluded_rows="4")
        assert [row["row"] for row in preview["skipped"]["rows"]] == [2, 3, 4]
        kept = await client.post(
            "/v1/files", data={"purpose": "user_data"}, files={"file": ("t.csv", table, "text/csv")}
        )
        body = {"file_id": kept.json()["id"], "leave_out": ["duplicates"], "excluded_rows": [4]}
        again = (await client.post("/v1/datasets/import", json=body)).json()
        assert [row["row"] for row in again["skipped"]["rows"]] == [2, 4]

    async def test_an_unknown_fault_is_named(self, client: Client) -> None:
        answer = await client.post("/v1/datasets/import", json={"file_id": "file-1", "leave_out": ["bad"]})
        assert error_of(answer)["param"] == "leave_out[0]"


class TestRefusals:
    async def test_store_without_confidence(self, client: Client) -> None:
        error = error_of(await send(client, table_of(("a", "b")), store="true"))
        assert error["param"] == "mapping"
        assert "'a' (such as 'Where is parcel" in error["message"]
        assert await stored(client) == []

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"mapping": "{oops"}, "mapping"), ({"mapping": "[1]"}, "mapping"), ({"mapping[user]": "question"}, "mapping"),
            ({"mapping": '{"user": "x", "assistant": "answer"}'}, "mapping.user"), ({"mapping[bot]": "answer"}, "mapping.bot"),
            ({"split": "2"}, "split"), ({"split": "many"}, "split"), ({"store": "perhaps"}, "store"),
            ({"format": "xml"}, "format"), ({"other": "x"}, "other"), ({"system": "x" * 16_001}, "system"),
            ({"file_id": "file-1"}, "file_id"), ({"mapping[user]": "\x01" * 30_000}, "mapping"),
        ],
    )  # fmt: skip
    async def test_options_are_named(self, client: Client, fields: dict[str, str], param: str) -> None:
        error = error_of(await send(client, None, **fields))
        assert str(error["param"]).startswith(param), error

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b'[{"a": 1}, {', b"PAR1garbagePAR1"])
    async def test_files_that_cannot_be_read(self, client: Client, content: bytes) -> None:
        assert error_of(await send(client, content))["param"] == "file"

    async def test_nothing_sent(self, client: Client) -> None:
        assert error_of(await client.post(URL, json={}))["param"] == "file"
        assert error_of(await client.post(URL, files={"store": (None, "true")}))["param"] == "file"
        assert error_of(await client.post(URL, content=b""))["message"]
        assert error_of(await client.post(URL, json={"file_id": "x", "system": "x" * 70_000}), 413)

    async def test_too_large(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(datasets, "IMPORT_BYTES", 100)
        assert error_of(await send(client), 413)["param"] == "file"
        file_id = await upload(client, table_of(), name="t.csv", purpose="user_data")
        assert error_of(await client.post(URL, json={"file_id": file_id}), 413)["param"] == "file_id"

    async def test_table_that_unpacks_to_far_more(self, client: Client, sv: Services, tmp_path: Path) -> None:
        error = error_of(await send(client, parquet_bomb(tmp_path, value=1 << 23, rows=400), "bomb.parquet"))
        assert "more memory" in error["message"]
        assert (await imported(client))["report"]["examples"] == 30

    async def test_too_many_at_once(self, client: Client, sv: Services, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sv.datasets, "_turns", Isolated(at_once=0)._turns)
        monkeypatch.setattr(sv.datasets, "_wait", 0.01)
        answer = await send(client)
        assert error_of(answer, 503)["code"] == "service_unavailable"
        assert answer.headers["retry-after"] == "10"

    async def test_needs_a_projects_key(self, admin: Client) -> None:
        error_of(await send(admin), 403)


class TestRoom:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return msgspec.structs.replace(settings, files=FileSettings(max_project_bytes=1000))

    async def test_of_the_project_is_kept(self, client: Client) -> None:
        error = error_of(await send(client, store="true"))
        assert (error["code"], error["param"]) == ("storage_limit_exceeded", "file")
        assert (await imported(client))["report"]["examples"] == 30
        assert service.LARGEST > 1000
