"""The demo in a process of its own, as `make demo` runs it, and what it must have told."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[3]
SECONDS = 600


@contextmanager
def demo(*arguments: str, **environment: str) -> Generator[subprocess.Popen[str]]:
    """The demo at work; ended like a Ctrl-C would if the test has not waited for it."""
    process = subprocess.Popen(
        (sys.executable, "-m", "deploy.demo", *arguments),
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


def tell(*arguments: str) -> None:
    """The whole story, from nothing to a tuned model that is better, told by a demo with these arguments."""
    with demo(*arguments) as process:
        output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, output
    [base], [tuned] = (re.findall(rf"{model}  ([01]\.\d\d) exact", output) for model in ("starter", "tuned"))
    assert float(base) <= 0.2
    assert float(tuned) >= 0.9
    assert re.search(r"ft:starter:tuneway:support:\w{8}", output)
    bill = output.partition("6. The bill")[2]
    assert bill.count("evaluation") == 2
    assert len(re.findall(r"0\.0\d{5}\b", bill)) == 3
