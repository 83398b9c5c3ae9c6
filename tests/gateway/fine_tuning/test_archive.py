import asyncio
import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from gateway.fine_tuning.archive import BLOCK, PIECE, Archive

pytestmark = pytest.mark.anyio

SIZES = {"block": BLOCK, "empty": 0, "large": 2 * PIECE + 3, "odd": BLOCK + 1}
CREATED = 1_700_000_000


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    directory.mkdir()
    for name, size in SIZES.items():
        (directory / name).write_bytes(name[:1].encode() * size)
    (directory / "within").mkdir()
    return directory


async def written(archive: Archive) -> bytes:
    return b"".join([piece async for piece in archive.pieces()])


class TestArchive:
    async def test_holds_every_file_and_is_as_long_as_it_says(self, directory: Path) -> None:
        archive = Archive("folder", directory, {"README.md": b"# Read"}, created=CREATED)
        raw = await written(archive)
        assert len(raw) == archive.size
        with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
            sizes = {member.name: member.size for member in tar}
            assert {member.mtime for member in tar} == {CREATED}
        assert sizes == {"folder/README.md": 6, **{f"folder/{name}": size for name, size in SIZES.items()}}

    async def test_is_read_by_tar_itself(self, directory: Path, tmp_path: Path) -> None:
        (tmp_path / "x.tar").write_bytes(await written(Archive("folder", directory, {}, created=CREATED)))
        command = ["tar", "-xf", tmp_path / "x.tar", "-C", tmp_path]
        await asyncio.to_thread(subprocess.run, command, check=True)
        for name, size in SIZES.items():
            assert (tmp_path / "folder" / name).read_bytes() == name[:1].encode() * size

    async def test_text_stands_for_the_file_of_its_name(self, directory: Path) -> None:
        raw = await written(Archive("folder", directory, {"block": b"text"}, created=CREATED))
        with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
            assert [member.size for member in tar if member.name == "folder/block"] == [4]

    async def test_probe_stays_here(self, directory: Path) -> None:
        """It holds tokens of the training file."""
        (directory / "probe.json").write_text("{}")
        archive = Archive("folder", directory, {}, created=CREATED)
        raw = await written(archive)
        assert len(raw) == archive.size
        with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
            assert tar.getnames() == [f"folder/{name}" for name in SIZES]

    async def test_long_names_and_sizes_beyond_8_gib(self, tmp_path: Path) -> None:
        directory = tmp_path / "model"
        directory.mkdir()
        with (directory / ("n" * 150)).open("wb") as sparse:
            sparse.truncate(9 * 2**30)
        archive = Archive("f" * 80, directory, {}, created=CREATED)
        pieces = archive.pieces()
        await anext(pieces)  # texts
        member = tarfile.TarFile(fileobj=io.BytesIO(await anext(pieces) + bytes(BLOCK))).next()
        await pieces.aclose()
        assert member is not None
        assert (len(member.name), member.size) == (231, 9 * 2**30)
        assert archive.size > 9 * 2**30

    def test_directory_that_is_gone(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            Archive("folder", tmp_path / "nothing", {}, created=CREATED)
