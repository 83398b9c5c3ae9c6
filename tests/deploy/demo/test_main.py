"""`python -m deploy.demo`, as `make demo` runs it."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.polling import until

ROOT = Path(__file__).parents[3]
SECONDS = 600

pytestmark = [
    pytest.mark.train,
    pytest.mark.skipif(
        importlib.util.find_spec("torch") is None,
        reason="the demo needs torch: pip install 'tuneway[train]'",
    ),
]


@contextmanager
def demo(**environment: str) -> Generator[subprocess.Popen[str]]:
    """The demo at work; ended like a Ctrl-C would if the test has not waited for it."""
    process = subprocess.Popen(
        (sys.executable, "-m", "deploy.demo"),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment},
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=SECONDS)


@pytest.mark.slow
def test_the_whole_story() -> None:
    """From nothing to a tuned model that is better, and nothing is left."""
    with demo() as process:
        output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, output
    [base], [tuned] = (re.findall(rf"{model}  ([01]\.\d\d) exact", output) for model in ("starter", "tuned"))
    assert float(base) <= 0.2
    assert float(tuned) >= 0.9
    assert re.search(r"ft:starter:tuneway:support:\w{8}", output)
    bill = output.partition("6. The bill")[2]
    assert bill.count("evaluation") == 2
    assert len(re.findall(r"0\.0\d{5}\b", bill)) == 3


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
