import os
import time
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from gateway.files import repository
from gateway.services import WorkerServices
from gateway.settings import Settings
from gateway.tasks.remove_expired_files import remove_expired_files
from tests.fakes.fine_tuning import upload
from tests.places import PLACES, blobs, with_files

pytestmark = pytest.mark.anyio


class TestRemoveExpiredFiles:
    async def test_contents_of_expired_files_are_removed_and_no_others(
        self, client: httpx.AsyncClient, wv: WorkerServices, settings: Settings
    ) -> None:
        expiry = {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
        past, future = [await upload(client, **expiry) for _ in range(2)]
        lasting = await upload(client)
        async with wv.database.session() as session:
            expire = "UPDATE files SET expires_at = now() - interval '1 second' WHERE id = :id"
            await session.execute(text(expire), {"id": past})
        await remove_expired_files(wv)
        await remove_expired_files(wv)
        assert await blobs(settings) == sorted([future, lasting])

    async def test_content_that_was_never_completed_is_removed_when_nobody_writes_it_any_more(
        self, wv: WorkerServices, settings: Settings
    ) -> None:
        dead, writing = (settings.data_dir / "blobs" / name for name in ("file-dead#1", "file-new#1"))
        dead.write_bytes(b"half")
        writing.write_bytes(b"half")
        day_ago = time.time() - 25 * 3600
        os.utime(dead, (day_ago, day_ago))
        await remove_expired_files(wv)
        assert (dead.exists(), writing.exists()) == (False, True)


class TestUploads:
    @pytest.fixture(params=PLACES)
    def settings(self, request: pytest.FixtureRequest, settings: Settings) -> Settings:
        return with_files(request, settings)

    async def test_parts_go_when_their_upload_has_ended(
        self, client: httpx.AsyncClient, wv: WorkerServices, settings: Settings
    ) -> None:
        completed, cancelled, expired, completing, pending = [await start(client) for _ in range(5)]
        await client.post(f"/v1/uploads/{completed['id']}/complete", json={"part_ids": [completed["part"]]})
        await client.post(f"/v1/uploads/{cancelled['id']}/cancel")
        await set_expiry(wv, expired["id"], "now() - interval '61 minutes'")
        await set_expiry(wv, completing["id"], "now() - interval '59 minutes'")
        await remove_expired_files(wv)
        await remove_expired_files(wv)
        left = [name for name in await blobs(settings) if name.startswith("part_")]
        assert left == sorted([completing["part"], pending["part"]])
        async with wv.database.session() as session:
            assert sorted(await session.scalars(text("SELECT id FROM upload_parts"))) == left
            states = {row.id: row.status for row in await session.execute(text("SELECT id, status FROM uploads"))}
        names = ("completed", "cancelled", "expired", "pending", "pending")
        ids = [each["id"] for each in (completed, cancelled, expired, completing, pending)]
        assert states == dict(zip(ids, names, strict=True))
        file_id = (await client.get("/v1/files")).json()["data"][0]["id"]
        assert (await client.get(f"/v1/files/{file_id}/content")).content == b"{}"

    async def test_more_parts_than_one_round_reads(
        self, client: httpx.AsyncClient, wv: WorkerServices, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(repository.leftover_parts, "__defaults__", (2,))
        upload = await start(client)
        for _ in range(4):
            await client.post(f"/v1/uploads/{upload['id']}/parts", files={"data": ("upload", b"")})
        await client.post(f"/v1/uploads/{upload['id']}/cancel")
        await remove_expired_files(wv)
        assert await blobs(settings) == []


async def start(client: httpx.AsyncClient) -> dict[str, Any]:
    """An upload with one part."""
    about = {"filename": "a.jsonl", "purpose": "fine-tune", "bytes": 2, "mime_type": "application/jsonl"}
    upload = (await client.post("/v1/uploads", json=about)).json()
    part = await client.post(f"/v1/uploads/{upload['id']}/parts", files={"data": ("upload", b"{}")})
    return {"id": upload["id"], "part": part.json()["id"]}


async def set_expiry(wv: WorkerServices, upload_id: str, moment: str) -> None:
    async with wv.database.session() as session:
        await session.execute(text(f"UPDATE uploads SET expires_at = {moment} WHERE id = :id"), {"id": upload_id})
