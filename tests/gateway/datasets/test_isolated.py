"""The process that reads strangers' files: its bounds, and its end."""

import asyncio
import io
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO

import msgspec
import psutil
import pytest

from gateway.datasets import isolated
from gateway.datasets.isolated import Isolated, fill, path_of, pieces_of, temporary
from gateway.errors import InvalidRequest, Surprise, Unavailable
from gateway.protocol.datasets import Import, Report
from tests.fakes.fine_tuning import until
from tests.gateway.datasets.bombs import parquet_bomb
from tests.gateway.datasets.files import jsonl, varied

pytestmark = pytest.mark.anyio

SLOW = "import sys, time; time.sleep(60)"


@pytest.fixture
def content(tmp_path: Path) -> Iterator[IO[bytes]]:
    with temporary(tmp_path) as file:
        file.write(jsonl(*varied(12)))
        file.flush()
        yield file


def instead(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Run this in place of the command."""
    monkeypatch.setattr(isolated, "COMMAND", (sys.executable, "-c", program))


class TestRun:
    async def test_answers_what_the_command_prints(self, content: IO[bytes]) -> None:
        answer = await Isolated().run(["report", path_of(content)], [content])
        report = msgspec.json.decode(answer, type=Report)
        assert (report.examples, report.bad_examples) == (12, 0)

    async def test_files_at_fault_are_refusals(self, content: IO[bytes], tmp_path: Path) -> None:
        with temporary(tmp_path) as empty, pytest.raises(InvalidRequest, match="The file is empty") as refused:
            await Isolated().run(["import", path_of(empty)], [empty])
        assert refused.value.param == "file"

    async def test_that_takes_too_long_is_ended(self, content: IO[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
        instead(monkeypatch, SLOW)
        with pytest.raises(InvalidRequest, match="Split it"):
            await Isolated(seconds=0.2).run([], [content])
        assert _children() == []

    async def test_that_is_cancelled_is_ended(self, content: IO[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
        instead(monkeypatch, SLOW)
        running = asyncio.ensure_future(Isolated().run([], [content]))
        await until(lambda: bool(_children()))
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert _children() == []

    async def test_more_than_its_memory_is_a_refusal(self, content: IO[bytes], tmp_path: Path) -> None:
        with temporary(tmp_path) as bomb:
            bomb.write(parquet_bomb(tmp_path, value=1 << 23, rows=400))
            bomb.flush()
            assert os.fstat(bomb.fileno()).st_size < 2_000_000
            with pytest.raises(InvalidRequest, match="more memory"):
                await Isolated().run(["import", path_of(bomb)], [bomb])

    @pytest.mark.parametrize(
        ("program", "refusal"),
        [
            ("import os; os.kill(os.getpid(), 11)", InvalidRequest),
            ("import sys; sys.exit(3)", InvalidRequest),
            ("raise ValueError('a bug')", Surprise),
        ],
    )
    async def test_every_end_has_its_refusal(
        self, content: IO[bytes], monkeypatch: pytest.MonkeyPatch, program: str, refusal: type[Exception]
    ) -> None:
        instead(monkeypatch, program)
        with pytest.raises(refusal):
            await Isolated().run([], [content])

    async def test_only_so_many_at_once(self, content: IO[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
        instead(monkeypatch, SLOW)
        narrow = Isolated(at_once=1, wait=0.1)
        running = asyncio.ensure_future(narrow.run([], [content]))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await narrow.run([], [content])
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        monkeypatch.undo()
        assert await narrow.run(["report", path_of(content)], [content])

    async def test_a_stored_file_is_brought_in_its_turn(
        self, content: IO[bytes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        brought: list[str] = []

        async def bring() -> None:
            brought.append("copy")

        narrow = Isolated(at_once=1, wait=0.1)
        assert await narrow.run(["report", path_of(content)], [content], first=bring)
        assert brought == ["copy"]
        instead(monkeypatch, SLOW)
        running = asyncio.ensure_future(narrow.run([], [content]))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await narrow.run([], [content], first=bring)
        assert brought == ["copy"]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    async def test_secrets_stay_here(self, content: IO[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TUNEWAY_SECRET_KEY", "s" * 32)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s" * 32)
        instead(monkeypatch, "import os; print([name for name in os.environ if name.startswith(('TUNEWAY_', 'AWS_'))])")
        assert await Isolated().run([], [content]) == b"[]\n"

    async def test_imports_nothing_of_the_service(self, content: IO[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
        """A process a call must start quickly."""
        instead(
            monkeypatch,
            "import sys, gateway.datasets.__main__; print('litestar' in sys.modules, 'sqlalchemy' in sys.modules)",
        )
        assert await Isolated().run([], [content]) == b"False False\n"


PARENT = """
import asyncio, sys, tempfile
from gateway.datasets import isolated
isolated.COMMAND = (sys.executable, "-c", "import time; from gateway.datasets.bounds import bind; bind(1 << 40); time.sleep(60)")
async def main():
    with tempfile.TemporaryFile() as file:
        await isolated.Isolated().run([], [file])
asyncio.run(main())
"""


def test_ends_with_its_parent_however_that_ends() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT])
    try:
        deadline = time.monotonic() + 30
        while not (children := psutil.Process(parent.pid).children()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        parent.kill()
        parent.wait()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []


class TestFiles:
    async def test_have_no_name_and_come_back_as_they_were(self, tmp_path: Path) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"one "
            yield b"two"

        with temporary(tmp_path / "new") as file:
            assert await fill(file, pieces()) == 7
            assert b"".join([piece async for piece in pieces_of(file)]) == b"one two"
            assert list((tmp_path / "new").iterdir()) == []

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
    async def test_full_disk_is_a_refusal(self) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"x" * 100_000

        with io.FileIO("/dev/full", "wb") as full, pytest.raises(Unavailable, match="no room"):
            await fill(full, pieces())  # type: ignore[arg-type]


class TestCommandLine:
    def test_for_people(self, tmp_path: Path) -> None:
        table, output = tmp_path / "table.csv", tmp_path / "out.jsonl"
        table.write_text("question,answer\nWhere is it?,Here it is.\n")
        command = [sys.executable, "-m", "gateway.datasets", "import", str(table), "--training", str(output)]
        done = subprocess.run(command, capture_output=True, check=True)
        assert msgspec.json.decode(done.stdout, type=Import).training_examples == 1
        report = subprocess.run([*command[:3], "report", str(output)], capture_output=True, check=True)
        assert msgspec.json.decode(report.stdout, type=Report).examples == 1


def _children() -> list[psutil.Process]:
    """Of this process, except what servers of the test session run."""
    return [
        child
        for child in psutil.Process().children()
        if "-c" in child.cmdline() and "time.sleep" in str(child.cmdline())
    ]
