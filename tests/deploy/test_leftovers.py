import subprocess
import sys
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from deploy.leftovers import stop_leftovers
from deploy.parts_file import PartStatus, read_parts, write_parts
from tests.deploy.support import alive

SLEEP = "import time; time.sleep(600)"
PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); print(flush=True); {SLEEP}"


@pytest.fixture
def leftover() -> Generator[psutil.Process]:
    """A process with a child, both in a session of their own, as a killed supervisor leaves them."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, start_new_session=True) as popen:
        assert popen.stdout is not None
        popen.stdout.readline()
        process = psutil.Process(popen.pid)
        members = [process, *process.children()]
        yield process
        for member in members:
            if member.is_running():
                member.kill()


def recorded(process: psutil.Process) -> PartStatus:
    return PartStatus(pid=process.pid, state="running", restarts=0, since=0, created=process.create_time())


class TestStopLeftovers:
    async def test_stops_the_process_and_its_group(self, tmp_path: Path, leftover: psutil.Process):
        (child,) = leftover.children()
        write_parts(tmp_path / "parts.json", {"gateway": recorded(leftover)})
        assert await stop_leftovers(tmp_path / "parts.json", {}) == ["gateway"]
        assert not alive(leftover.pid)
        assert not alive(child.pid)

    async def test_stops_the_group_of_a_process_that_has_ended(self, tmp_path: Path, leftover: psutil.Process):
        (child,) = leftover.children()
        write_parts(tmp_path / "parts.json", {"gateway": recorded(leftover)})
        leftover.kill()
        leftover.wait()
        assert await stop_leftovers(tmp_path / "parts.json", {}) == ["gateway"]
        assert not alive(child.pid)

    @pytest.mark.parametrize("earlier", [3600.0, 1e9], ids=["pid used again", "before this boot"])
    async def test_leaves_a_stranger_alone(self, tmp_path: Path, leftover: psutil.Process, earlier: float):
        status = replace(recorded(leftover), created=leftover.create_time() - earlier)
        write_parts(tmp_path / "parts.json", {"gateway": status})
        assert await stop_leftovers(tmp_path / "parts.json", {}) == []
        assert alive(leftover.pid)


class TestReadParts:
    @pytest.mark.parametrize("content", ["", "[]", '{"parts": {"a": {"pid": 1}}}', '{"parts": []}'])
    def test_what_cannot_be_understood_is_empty(self, tmp_path: Path, content: str):
        (tmp_path / "parts.json").write_text(content)
        assert read_parts(tmp_path / "parts.json") == {}

    def test_reads_what_was_written(self, tmp_path: Path):
        parts = {"redis": PartStatus(pid=None, state="restarting", restarts=2, since=1767225600, created=None)}
        write_parts(tmp_path / "parts.json", parts)
        assert read_parts(tmp_path / "parts.json") == parts
