"""The program inside the sandbox, as a process of its own."""

import json
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from judges import python_runner

RUNNER = Path(python_runner.__file__)
PROBES = ("gateway", "judges", "trainer", "msgspec", "torch")


def run(source: str, sample: Any = None, item: Any = None) -> dict[str, Any]:
    """Its result, after the line that says it started."""
    body = {"source": textwrap.dedent(source), "sample": sample or {}, "item": item or {}, "image_tag": None}
    done = subprocess.run(
        [sys.executable, "-I", RUNNER], input=json.dumps(body).encode(), capture_output=True, check=True, timeout=120
    )
    first, second = done.stdout.split(b"\n")
    assert json.loads(first) == {"started": True}
    return json.loads(second)


def returning(expression: str) -> dict[str, Any]:
    return run(f"def grade(sample, item):\n    return {expression}")


class TestReward:
    def test_of_sample_and_item(self) -> None:
        source = """
            import re

            def grade(sample, item) -> float:
                return 0.5 * (sample["output_text"] == item["answer"]) + 0.25 * bool(re.search("P", sample["output_text"]))
        """
        assert run(source, {"output_text": "Paris"}, {"answer": "Paris"}) == {"reward": 0.75}

    @pytest.mark.parametrize(
        ("expression", "reward"),
        [("1", 1.0), ("True", 1.0), ("-0.5", -0.5), ("__import__('fractions').Fraction(1, 4)", 0.25)],
    )
    def test_of_any_number(self, expression: str, reward: float) -> None:
        assert returning(expression) == {"reward": reward}

    def test_what_it_prints_is_no_result(self) -> None:
        source = """
            import os, sys

            def grade(sample, item):
                print('{"reward": 1}')
                os.write(1, b'{"reward": 1}')
                sys.stdout.write("x" * 200_000)
                return 0
        """
        assert run(source) == {"reward": 0.0}

    def test_threads_that_it_leaves_behind_do_not_hold_it_up(self) -> None:
        source = """
            import threading, time

            threading.Thread(target=time.sleep, args=(600,)).start()

            def grade(sample, item):
                return 1
        """
        assert run(source) == {"reward": 1.0}


class TestError:
    @pytest.mark.parametrize(
        ("expression", "told"),
        [
            ("'0.5'", "must return a float, not str"), ("None", "not NoneType"), ("[1]", "not list"), ("1j", "not complex"),
            ("float('nan')", "finite number, not nan"), ("float('inf')", "finite number, not inf"), ("10**400", "OverflowError"),
        ],
    )  # fmt: skip
    def test_no_finite_float(self, expression: str, told: str) -> None:
        assert told in returning(expression)["error"]

    @pytest.mark.parametrize(
        ("source", "told"),
        [
            ("def score(s, i): return 1", "defines no function `grade(sample, item)`"),
            ("grade = 3", "defines no function"),
            ("def grade(s): return 1", "takes 1 positional argument"),
            ("def grade(s, i)\n  return 1", "SyntaxError"),
            ("import nothing_of_that_name\ndef grade(s, i): return 1", "ModuleNotFoundError"),
            ("async def grade(s, i): return 1", "not coroutine"),
            ("def grade(s, i): raise SystemExit(3)", "SystemExit: 3"),
            ("def grade(s, i): return grade(s, i)", "RecursionError"),
        ],
    )
    def test_no_grade(self, source: str, told: str) -> None:
        assert told in run(source)["error"]

    def test_an_exception_with_its_place_in_the_source(self) -> None:
        error = run("def grade(sample, item):\n    return item['missing'] + 1\n")["error"]
        assert 'File "grader.py", line 2, in grade' in error
        assert "return item['missing'] + 1" in error
        assert error.endswith("KeyError: 'missing'")
        assert "python_runner" not in error

    def test_a_long_error_is_cut(self) -> None:
        assert len(run("def grade(s, i): raise ValueError('x' * 1_000_000)")["error"]) <= python_runner.DETAIL_LIMIT


class TestLimits:
    def test_memory(self) -> None:
        source = """
            def grade(sample, item):
                kept = []
                while True:
                    kept.append(bytearray(50_000_000))
        """
        assert run(source) == {"error": "MemoryError: the grader needs more than 2 GB"}

    def test_are_set_before_the_grader_runs(self) -> None:
        source = """
            import resource

            def grade(sample, item):
                kinds = resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE, resource.RLIMIT_NOFILE
                raise ValueError([resource.getrlimit(kind) for kind in kinds])
        """
        most = min(256, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        assert run(source)["error"].endswith(f"[(120, 120), ({1024**3}, {1024**3}), (0, 0), ({most}, {most})]")

    def test_it_does_not_outlive_a_starter_that_died(self) -> None:
        source = """
            import signal

            def grade(sample, item):
                assert 100 < signal.alarm(1) <= 130
                signal.pause()
                return 1
        """
        with pytest.raises(subprocess.CalledProcessError) as error:
            run(source)
        assert error.value.returncode == 128 + signal.SIGALRM


class TestAlone:
    def test_nothing_of_ours_can_be_imported(self) -> None:
        """-I leaves the current directory out; the packages are only found where this environment installs them."""
        source = f"""
            import sys

            def grade(sample, item):
                raise ValueError([name for name in {PROBES!r} if name in sys.modules], "" in sys.path)
        """
        assert run(source)["error"].endswith("([], False)")
