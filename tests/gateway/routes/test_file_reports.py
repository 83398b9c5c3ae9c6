"""/v1/files/{file_id}/report through the application, made in a process of its own."""

from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import text

from gateway.db.tables import FileRow
from gateway.services import Services
from gateway.settings import EngineSettings, Settings
from tests.fakes.fine_tuning import TEN, jsonl, upload
from tests.gateway.datasets.files import pair, varied

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
STARTER = Path(__file__).parents[3] / "trainer" / "starter" / "model"


async def report_of(client: Client, file_id: str, query: str = "") -> dict[str, Any]:
    answer = await client.get(f"/v1/files/{file_id}/report{query}")
    assert answer.status_code == 200, answer.text
    assert answer.json()["object"] == "file.report"
    assert answer.json()["file_id"] == file_id
    return answer.json()["report"]


class TestReport:
    async def test_of_a_chat_file(self, client: Client) -> None:
        report = await report_of(client, await upload(client, jsonl(*varied(120), {"x": 1})))
        assert (report["method"], report["format"], report["examples"], report["bad_examples"]) == (
            "supervised", "chat", 121, 1,
        )  # fmt: skip
        assert [(problem["line"], problem["path"]) for problem in report["problems"]] == [(121, "x"), (121, "messages")]
        assert [finding["code"] for finding in report["findings"]] == ["bad_examples"]
        assert report["suggested_split"] == {"training": 96, "validation": 24}
        assert report["tokens"]["source"] == "estimated"

    async def test_of_either_method(self, client: Client) -> None:
        file_id = await upload(client, jsonl(pair(), pair()))
        assert (await report_of(client, file_id))["method"] == "dpo"
        assert (await report_of(client, file_id, "?method=dpo"))["bad_examples"] == 0
        supervised = await report_of(client, file_id, "?method=supervised")
        assert (supervised["bad_examples"], supervised["other_format"]) == (2, "preference")

    async def test_is_made_once(self, client: Client, sv: Services) -> None:
        file_id = await upload(client)
        first = await report_of(client, file_id)
        async with sv.database.session() as session:
            row = await session.get(FileRow, file_id)
            assert row is not None
            assert row.report is not None
            changed = {"auto": row.report["reports"]["auto"] | {"score": 7}}
            row.report = row.report | {"reports": changed}
        assert await report_of(client, file_id) == first | {"score": 7}

    async def test_of_another_version_is_made_again(self, client: Client, sv: Services) -> None:
        file_id = await upload(client)
        first = await report_of(client, file_id)
        async with sv.database.session() as session:
            await session.execute(text("""UPDATE files SET report = '{"version": 0, "old": "shape"}'"""))
        assert await report_of(client, file_id) == first

    async def test_odd_bytes_are_told_and_stored(self, client: Client) -> None:
        odd = b'{"messages": [{"role": "bot\\u0000", "content": "x"}]}\n\xff\n\x00\n'
        file_id = await upload(client, TEN + odd)
        report = await report_of(client, file_id)
        assert report["bad_examples"] == 3
        assert await report_of(client, file_id) == report

    async def test_leaves_no_file_behind(self, client: Client, settings: Settings) -> None:
        await report_of(client, await upload(client))
        assert list((settings.data_dir / "files-at-work").iterdir()) == []


class TestRefusals:
    async def test_other_purposes(self, client: Client) -> None:
        file_id = await upload(client, purpose="evals")
        answer = await client.get(f"/v1/files/{file_id}/report")
        assert answer.status_code == 400
        assert "purpose 'evals'" in answer.json()["error"]["message"]

    async def test_unknown_method(self, client: Client) -> None:
        answer = await client.get(f"/v1/files/{await upload(client)}/report?method=ppo")
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "method")

    async def test_another_projects_file(self, client: Client, stranger: Client) -> None:
        file_id = await upload(client)
        assert (await stranger.get(f"/v1/files/{file_id}/report")).status_code == 404
        assert (await client.get("/v1/files/file-unknown/report")).status_code == 404

    async def test_content_that_vanished(self, client: Client, settings: Settings) -> None:
        file_id = await upload(client)
        (settings.data_dir / "blobs" / file_id).unlink()
        assert (await client.get(f"/v1/files/{file_id}/report")).status_code == 404


class TestTokenizer:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return msgspec.structs.replace(settings, engine=EngineSettings(model_path=str(STARTER)))

    async def test_of_the_base_model_counts(self, client: Client) -> None:
        tokens = (await report_of(client, await upload(client)))["tokens"]
        assert tokens["source"] == "counted"
        assert tokens["context_length"] > 0
