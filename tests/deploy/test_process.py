import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from deploy.process import Child, Command, how_it_ended, run_to_end
from tests.deploy.support import alive, until

SLEEP = (sys.executable, "-c", "import time; time.sleep(600)")


class TestChild:
    async def test_has_a_session_of_its_own(self, tmp_path: Path):
        child = Child(Command(SLEEP), tmp_path / "log")
        assert os.getsid(child.pid) == child.pid
        assert await child.stop() == -signal.SIGTERM

    async def test_gets_only_the_given_environment(self, tmp_path: Path):
        script = "import os; print(os.environ.get('HOME'), os.environ['GIVEN'])"
        assert await run_to_end(Command((sys.executable, "-c", script), {"GIVEN": "value"}), tmp_path / "log") == 0
        assert (tmp_path / "log").read_text() == "None value\n"

    async def test_several_may_wait(self, tmp_path: Path):
        child = Child(Command((sys.executable, "-c", "raise SystemExit(3)")), tmp_path / "log")
        assert await asyncio.gather(child.wait(), child.wait()) == [3, 3]

    async def test_is_waited_for_without_pidfd(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.delattr(os, "pidfd_open", raising=False)
        assert await run_to_end(Command((sys.executable, "-c", "raise SystemExit(3)")), tmp_path / "log") == 3

    async def test_stopping_twice_is_harmless(self, tmp_path: Path):
        child = Child(Command(SLEEP), tmp_path / "log")
        assert await child.stop() == await child.stop()


class TestRunToEnd:
    async def test_stops_the_child_when_cancelled(self, tmp_path: Path):
        log = tmp_path / "log"
        script = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
        running = asyncio.ensure_future(run_to_end(Command((sys.executable, "-c", script)), log))
        await until(lambda: log.exists() and log.read_text().endswith("\n"))
        running.cancel()
        await asyncio.wait((running,))
        assert not alive(int(log.read_text()))


class TestHowItEnded:
    def test_names_status_and_signal(self):
        assert how_it_ended(3) == "exited with status 3"
        assert how_it_ended(-signal.SIGSEGV) == "was killed by SIGSEGV"
        assert how_it_ended(-63) == "was killed by signal 63"
