"""`python -m deploy.demo`, as `make demo` runs it."""

import importlib.util
import signal
import sys
from pathlib import Path

import psutil
import pytest

from tests.deploy.demo.told import SECONDS, demo, tell
from tests.polling import until

pytestmark = [
    pytest.mark.train,
    pytest.mark.skipif(
        importlib.util.find_spec("torch") is None,
        reason="the demo needs torch: pip install 'tuneway[train]'",
    ),
]


@pytest.mark.slow
def test_the_whole_story() -> None:
    tell()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "told"), [(signal.SIGINT, "ftjob-"), (signal.SIGTERM, "1. The stack")])
async def test_an_interrupt_leaves_no_process_behind(number: signal.Signals, told: str) -> None:
    """While the stack works for it, and while it starts."""
    with demo() as process:
        assert process.stdout is not None
        for line in process.stdout:
            if told in line:
                break
        await until(lambda: len(psutil.Process(process.pid).children(recursive=True)) > 3)
        started = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert "Interrupted; everything is stopped." in output
    assert left_of(started) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
async def test_nothing_is_left_when_it_is_killed(tmp_path: Path) -> None:
    with demo(TMPDIR=str(tmp_path)) as process:
        await until(lambda: len(psutil.Process(process.pid).children(recursive=True)) > 3)
        started = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.communicate(timeout=SECONDS)
    assert left_of(started) == []


def left_of(processes: list[psutil.Process]) -> list[psutil.Process]:
    _gone, alive = psutil.wait_procs(processes, timeout=60)
    return [each for each in alive if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
