"""Lines of datasets whose exchanges were erased."""

import hashlib
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from gateway.datasets.validation import validate_path
from gateway.db.tables import DatasetItemRow, DatasetVersionRow, FileRow
from gateway.files import service
from gateway.files.store import FileStore
from gateway.kit.clock import now
from gateway.services import WorkerServices
from gateway.tasks.blank_erased_lines import blank_erased_lines
from tests.fakes.datasets import add_dataset
from tests.fakes.evals import upload

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
LINES = [
    b'{"messages": [{"role": "user", "content": "%d"}, {"role": "assistant", "content": "%d"}]}' % (n, n)
    for n in range(5)
]


async def version(
    client: Client, wv: WorkerServices, key: dict[str, Any], content: bytes, *erased: int
) -> tuple[str, str]:
    """Of a dataset with these lines, some of them erased: its id, and that of its file."""
    file_id = await upload(client, content, "fine-tune")
    made = await add_dataset(wv.database, key["project_id"], "d", file_id=file_id)
    async with wv.database.session() as session:
        row = (await session.scalars(select(DatasetVersionRow).filter_by(dataset_id=made["dataset_id"]))).one()
        await session.execute(update(DatasetItemRow).values(sha256="f" * 64, erased_at=now() if 1 in erased else None))
        for number in range(2, 6):
            session.add(
                DatasetItemRow(
                    version_id=row.id, number=number, split="training", kind="sft", sha256="f" * 64, cluster="0",
                    judgment_ids=[], erased_at=now() if number in erased else None,
                )
            )  # fmt: skip
    return row.id, file_id


async def content_of(wv: WorkerServices, file_id: str) -> bytes:
    return b"".join([piece async for piece in wv.files.get(file_id)])


class TestErased:
    @pytest.mark.parametrize("end", [b"\n", b""], ids=["ended", "not ended"])
    async def test_become_blank_and_all_others_stay_where_they_are(
        self, client: Client, wv: WorkerServices, project_key: dict[str, Any], end: bytes, tmp_path: Any
    ) -> None:
        id, file_id = await version(client, wv, project_key, b"\n".join(LINES) + end, 2, 5)
        await blank_erased_lines(wv)
        content = await content_of(wv, file_id)
        blank = b" " * len(LINES[0])
        assert content == b"\n".join([LINES[0], blank, LINES[2], LINES[3], blank]) + end
        async with wv.database.session() as session:
            row, file = await session.get_one(DatasetVersionRow, id), await session.get_one(FileRow, file_id)
            items = list(await session.scalars(select(DatasetItemRow).order_by(DatasetItemRow.number)))
        assert file.sha256 == row.content_sha256 == hashlib.sha256(content).hexdigest()
        assert file.bytes == len(content)
        assert [item.sha256 == "" for item in items] == [False, True, False, False, True]
        (path := tmp_path / "x.jsonl").write_bytes(content)
        report = validate_path(path)
        assert (report.examples, report.bad_examples, report.blank_lines) == (3, 0, 2)

    async def test_those_that_are_blank_stay_so_when_another_is_erased(
        self, client: Client, wv: WorkerServices, project_key: dict[str, Any]
    ) -> None:
        _, file_id = await version(client, wv, project_key, b"\n".join(LINES), 2)
        await blank_erased_lines(wv)
        async with wv.database.session() as session:
            await session.execute(update(DatasetItemRow).where(DatasetItemRow.number == 4).values(erased_at=now()))
        await blank_erased_lines(wv)
        lines = (await content_of(wv, file_id)).split(b"\n")
        assert [bool(line.strip()) for line in lines] == [True, False, True, False, True]

    async def test_one_that_is_erased_while_the_file_is_written_becomes_blank_too(
        self, client: Client, wv: WorkerServices, project_key: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _, file_id = await version(client, wv, project_key, b"\n".join(LINES), 2)
        put = FileStore.put

        async def meanwhile(*given: Any, **named: Any) -> Any:
            stored = await put(*given, **named)
            async with wv.database.session() as session:
                fourth = (DatasetItemRow.number == 4, DatasetItemRow.erased_at.is_(None))
                await session.execute(update(DatasetItemRow).where(*fourth).values(erased_at=now()))
            return stored

        monkeypatch.setattr(FileStore, "put", meanwhile)
        await blank_erased_lines(wv)
        lines = (await content_of(wv, file_id)).split(b"\n")
        assert [bool(line.strip()) for line in lines] == [True, False, True, False, True]

    async def test_lines_that_come_in_pieces(
        self, client: Client, wv: WorkerServices, project_key: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gateway.files.store.PIECE", 7)
        _, file_id = await version(client, wv, project_key, b"\n".join(LINES), 3)
        await blank_erased_lines(wv)
        lines = (await content_of(wv, file_id)).split(b"\n")
        assert lines == [*LINES[:2], b" " * len(LINES[2]), *LINES[3:]]

    async def test_a_file_that_was_deleted_stays_so(
        self, client: Client, wv: WorkerServices, project_key: dict[str, Any]
    ) -> None:
        id, file_id = await version(client, wv, project_key, b"\n".join(LINES), 2)
        await service.delete(wv.database, wv.files, project_key["project_id"], file_id)
        await blank_erased_lines(wv)
        async with wv.database.session() as session:
            assert (await session.get_one(DatasetVersionRow, id)).content_sha256 is None
            left = select(DatasetItemRow.number).where(DatasetItemRow.sha256 == "")
            assert list(await session.scalars(left)) == [2]
        assert not list((wv.settings.data_dir / "blobs").glob(file_id))

    async def test_whoever_dies_before_it_is_noted_does_it_again(
        self, client: Client, wv: WorkerServices, project_key: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        id, file_id = await version(client, wv, project_key, b"\n".join(LINES), 1)
        put = FileStore.put

        async def dies(*given: Any, **named: Any) -> Any:
            await put(*given, **named)
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(FileStore, "put", dies)
            with pytest.raises(KeyboardInterrupt):
                await blank_erased_lines(wv)
        await blank_erased_lines(wv)
        async with wv.database.session() as session:
            row = await session.get_one(DatasetVersionRow, id)
        assert row.content_sha256 == hashlib.sha256(await content_of(wv, file_id)).hexdigest()
