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
SECONDS = 900
"""Two trainings, on a machine that has other things to do."""


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
    """The whole story, from nothing to a tuned model that is better, and from what a reviewer said to the next one, told by
    a demo with these arguments."""
    with demo(*arguments) as process:
        output, _ = process.communicate(timeout=SECONDS)
    sys.stdout.write(output)  # pytest shows it beside what is missing in it
    assert process.returncode == 0
    [base], [tuned] = (re.findall(rf"{model}  ([01]\.\d\d) exact", output) for model in ("starter", "tuned"))
    assert float(base) <= 0.2
    assert float(tuned) >= 0.9
    assert re.search(r"ft:starter:tuneway:support:\w{8}", output)
    bill, _, second = output.partition("6. The bill")[2].partition("7. Feedback")
    assert bill.count("evaluation") == 2
    assert len(re.findall(r"0\.0\d{5}\b", bill)) == 3
    tell_second(second)


def tell_second(output: str) -> None:
    """300 answers with feedback, rules, a dataset, a job, and an eval whose interval keeps away from the base's."""
    assert re.search(r"300 answers in \d+ s: the reviewer liked \d+, and wrote \d+", output)
    [judged] = re.findall(r"\d+ of (\d+) answers passed, 0 could not be judged", output)
    assert 300 <= int(judged) < 360  # a judge watches from the beginning of the second that it was made in
    assert re.search(r"\d+ rows to train on and \d+ beside them, never alike \(\d+ by edit, \d+ by human\)", output)
    [name] = set(re.findall(r"ft:starter:tuneway:reviewed:\w{8}", output))
    [base] = re.findall(r"^starter +\d+ +56 +\S+ +(\S+) to (\S+)", output, re.MULTILINE)
    [tuned] = re.findall(rf"^{name} +\d+ +56 +\S+ +(\S+) to (\S+)", output, re.MULTILINE)
    assert float(base[1]) < float(tuned[0])
    assert re.search(r"better by \d\.\d\d \(\d\.\d\d to \d\.\d\d\), p = ", output)
