import httpx
import pytest
from sqlalchemy import text

from gateway.services import WorkerServices
from gateway.settings import Settings
from gateway.tasks.remove_expired_files import remove_expired_files
from tests.fakes.fine_tuning import upload

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
        kept = {path.name for path in (settings.data_dir / "blobs").iterdir()}
        assert kept == {future, lasting}
