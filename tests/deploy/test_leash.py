import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from tests.deploy.support import alive
from tests.polling import until

LEASH = (sys.executable, "-P", "-m", "deploy.leash")
SLEEP = "import time; time.sleep(600)"
FAMILY = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); {SLEEP}"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"
PARENT = "import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True); print(flush=True); sys.stdin.read()"


def leashed(program: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*LEASH, sys.executable, "-c", program], start_new_session=True, stderr=subprocess.PIPE)


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[bytes]]:
    """Holds a program with a child on a leash."""
    argv = [sys.executable, "-c", PARENT, *LEASH, sys.executable, "-c", FAMILY]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


class TestLeash:
    def test_ends_with_the_programs_status(self):
        with leashed("raise SystemExit(3)") as process:
            assert process.wait(30) == 3

    def test_ends_by_the_programs_signal(self):
        for number in (signal.SIGKILL, signal.SIGABRT):
            with leashed(f"import os; os.kill(os.getpid(), {int(number)})") as process:
                assert process.wait(30) == -number

    def test_says_what_cannot_be_run(self):
        with subprocess.Popen([*LEASH, "/no/such/program"], stderr=subprocess.PIPE) as process:
            _, said = process.communicate(timeout=30)
        assert process.returncode == 1
        assert b"/no/such/program cannot be started: " in said

    async def test_a_stop_reaches_the_program(self):
        with leashed(SLEEP) as process:
            await until(lambda: psutil.Process(process.pid).children())
            (program,) = psutil.Process(process.pid).children()
            process.terminate()
            assert process.wait(30) == -signal.SIGTERM
        assert not alive(program.pid)

    async def test_nothing_is_left_when_the_parent_is_killed(self, parent: subprocess.Popen[bytes]):
        await until(lambda: len(psutil.Process(parent.pid).children(recursive=True)) == 3)
        family = psutil.Process(parent.pid).children(recursive=True)
        parent.kill()
        gone, left = psutil.wait_procs(family, timeout=30)
        assert [process for process in left if alive(process.pid)] == []
        assert len(gone) + len(left) == 3
