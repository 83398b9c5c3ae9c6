"""A trainer whose caller has died: through whatever starts it, it stops, and ends where it does not."""

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trainer.contract import OWNER, STOPPED

PATIENCE = 20.0
TRAINER = textwrap.dedent(
    """
    import pathlib, sys, time
    from trainer import stopping
    stopping.PATIENCE_SECONDS = 0.1
    stop = stopping.Stop()
    stop.watch()
    {more}
    pathlib.Path(sys.argv[1]).write_text("ready")
    time.sleep(600)
    """
)
LAUNCHER = (
    "import pathlib, subprocess, sys\n"
    "ended = subprocess.run([sys.executable, '-c', sys.argv[2], sys.argv[1]])\n"
    "pathlib.Path(sys.argv[1] + '.ended').write_text(str(ended.returncode))"
)
"""What torchrun is to its processes: it lives on when its own parent dies."""
CALLER = (
    "import os, subprocess, sys, time\n"
    f"environment = os.environ | {{{OWNER!r}: str(os.getpid())}}\n"
    "subprocess.Popen([sys.executable, '-c', *sys.argv[1:]], env=environment, start_new_session=True)\n"
    "time.sleep(600)"
)


@contextmanager
def launched(path: Path, more: str = "") -> Generator[subprocess.Popen[bytes]]:
    """The caller of a trainer that is at work; there is a launcher between the two."""
    command = [sys.executable, "-c", CALLER, LAUNCHER, str(path), TRAINER.format(more=more)]
    with subprocess.Popen(command) as caller:
        try:
            wait_for(path)
            yield caller
        finally:
            caller.kill()


def wait_for(path: Path, seconds: float = PATIENCE) -> str:
    deadline = time.monotonic() + seconds
    while not path.exists() or not path.read_text():
        assert time.monotonic() < deadline, f"{path.name} never came"
        time.sleep(0.02)
    return path.read_text()


class TestOrphans:
    def test_stop_when_the_caller_of_their_launcher_has_died(self, tmp_path: Path):
        with launched(tmp_path / "trainer") as caller:
            caller.kill()
            assert wait_for(tmp_path / "trainer.ended") == str(STOPPED)

    def test_end_where_stopping_takes_too_long(self, tmp_path: Path):
        with launched(tmp_path / "trainer", "stop.from_now_on_gracefully()") as caller:
            caller.kill()
            assert wait_for(tmp_path / "trainer.ended") == "1"

    def test_notice_a_caller_that_died_before_they_began(self, tmp_path: Path):
        dead = subprocess.Popen([sys.executable, "-c", ""])
        dead.wait()
        ended = subprocess.run(
            [sys.executable, "-c", TRAINER.format(more=""), str(tmp_path / "trainer")],
            env=os.environ | {OWNER: str(dead.pid)},
            check=False,
            timeout=PATIENCE,
        )
        assert ended.returncode == STOPPED

    def test_are_none_while_their_caller_lives(self, tmp_path: Path):
        with launched(tmp_path / "trainer"), pytest.raises(AssertionError, match="never came"):
            wait_for(tmp_path / "trainer.ended", seconds=1.5)
