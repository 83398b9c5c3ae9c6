"""Whole files: encodings, line ends, formats, bounds and memory."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gateway.datasets import lines, problems, validation
from gateway.datasets.validation import MAX_PROBLEMS, Interrupted, validate_path
from tests.gateway.datasets.files import chat, jsonl, pair, report

MB = 1024 * 1024


class TestLines:
    def test_blank_lines_crlf_and_byte_order_mark_are_fine(self) -> None:
        line = jsonl(chat("ümlaut")).rstrip()
        found = report(b"\xef\xbb\xbf" + line + b"\r\n\r\n   \n" + line + b"\n" + line)
        assert (found.examples, found.bad_examples, found.problems) == (3, 0, [])
        assert (found.lines, found.blank_lines) == (5, 2)

    def test_problem_names_example_and_line(self) -> None:
        found = report(b"\n" + jsonl(chat()) + b"\n\n{}\n" + jsonl(chat()))
        assert [str(problem) for problem in found.problems] == [
            "Example 2 (line 5): `messages`: is missing. "
            'Write {"messages": [{"role": "user", ...}, {"role": "assistant", ...}]}.'
        ]
        assert (found.examples, found.bad_examples, found.good_examples) == (3, 1, 2)

    def test_problems_are_counted_but_only_some_are_kept(self) -> None:
        found = report(b'{"x": 1}\n' * 1000)
        assert (found.bad_examples, found.problem_count) == (1000, 2000)
        assert len(found.problems) == MAX_PROBLEMS

    def test_every_problem_of_a_line_is_told(self) -> None:
        found = report(
            jsonl({"messages": [{"role": "bot"}, {"role": "user"}, {"role": "assistant", "content": "a"}], "x": 1})
        )
        assert [problem.path for problem in found.problems] == ["x", "messages[0].role", "messages[1].content"]

    def test_line_that_is_too_long_does_not_hide_those_behind_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in (lines, problems, validation):
            monkeypatch.setattr(module, "MAX_LINE", 1000)
        long = jsonl(chat("x" * 5000))
        found = report(jsonl(chat()) + long + jsonl(chat()) + b"{}\n" + long.rstrip(b"\n"))
        assert found.examples == 5
        assert [(problem.example, problem.line) for problem in found.problems] == [(2, 2), (4, 4), (5, 5)]
        assert "the line is longer than" in found.problems[0].message

    def test_line_of_just_the_limit_is_fine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        line = jsonl(chat("x" * 500)).rstrip()
        for module in (lines, problems, validation):
            monkeypatch.setattr(module, "MAX_LINE", len(line) + 1)
        assert report((line + b"\n") * 3).bad_examples == 0

    def test_three_lines_are_examples(self) -> None:
        assert report(jsonl(chat()) * 3).examples == 3

    @pytest.mark.parametrize("content", [b"", b"\n\r\n  \n", b"\xef\xbb\xbf"])
    def test_empty_file_holds_nothing(self, content: bytes) -> None:
        found = report(content)
        assert (found.examples, found.tokens.total, found.problems) == (0, 0, [])

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (jsonl(chat()).decode().encode("utf-16"), "the file is in UTF-16"),
            (b"\x1f\x8b\x08\x00", "the file is compressed"),
            (b"PK\x03\x04....", "the file is compressed"),
            (b"PAR1....", "the file is a Parquet table"),
        ],
    )
    def test_file_of_another_kind_is_told_once(self, content: bytes, message: str) -> None:
        found = report(content * 10)
        assert [problem.message for problem in found.problems] == [message]

    def test_other_bytes_break_their_line_only(self) -> None:
        found = report(jsonl(chat()) + b"\xff\xfe\n" + b"\x00\n" + jsonl(chat()))
        assert [problem.line for problem in found.problems] == [2, 3]
        assert found.good_examples == 2


class TestStop:
    def test_ends_between_two_lines(self) -> None:
        stop = threading.Event()
        assert report(jsonl(chat()), stop=stop).examples == 1
        stop.set()
        with pytest.raises(Interrupted):
            report(jsonl(chat()), stop=stop)


class TestFormats:
    def test_whole_file_of_the_other_format(self) -> None:
        assert report(jsonl(pair()) * 3).other_format == "preference"
        assert report(jsonl(chat()) * 3, "dpo").other_format == "chat"
        assert report(jsonl({"prompt": "a", "completion": "b"})).other_format == "completions"

    def test_mixed_file_is_told_line_by_line(self) -> None:
        found = report(jsonl(chat(), pair(), chat(), {"prompt": "a", "completion": "b"}, [1]))
        assert found.other_format is None
        assert [(problem.line, problem.message) for problem in found.problems] == [
            (2, "the line is in the preference format, not in the chat format"),
            (4, "the line is in the prompt/completion format, not in the chat format"),
            (5, "expected a JSON object, got an array"),
        ]

    def test_method_is_read_off_the_first_line_that_shows_it(self) -> None:
        assert report(b"{oops\n" + jsonl(pair()), None).method == "dpo"
        assert report(jsonl(chat(), pair()), None).method == "supervised"
        assert report(b"\xef\xbb\xbf" + jsonl(pair()), None).bad_examples == 0
        assert report(jsonl({"prompt": "a", "completion": "b"}, pair()), None).method == "supervised"
        assert report(b"", None).method == "supervised"

    def test_good_pairs(self) -> None:
        found = report(jsonl(pair()) * 2, "dpo")
        assert (found.examples, found.bad_examples, found.format) == (2, 0, "preference")
        assert found.roles == {"user": 2, "assistant": 4}


PEAK = """
import resource, sys
from pathlib import Path
from gateway.datasets.validation import validate_path
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform != "darwin" else 1024**2)
validate_path(Path(sys.argv[1]))
before = peak()
report = validate_path(Path(sys.argv[2]))
print(report.examples, peak() - before)
"""


class TestMemory:
    def test_does_not_grow_with_the_file(self, tmp_path: Path) -> None:
        """Ten times the file of a first look, with every example its own; 8 bytes of hash a line and text are all that stays."""
        small, large = tmp_path / "small.jsonl", tmp_path / "large.jsonl"
        for path, megabytes in ((small, 4), (large, 40)):
            with path.open("wb") as file:
                number = 0
                while file.tell() < megabytes * MB:
                    number += 1
                    file.write(jsonl(chat(f"{number} " + "question " * 40, f"{number} " + "answer " * 80)))
        command = [sys.executable, "-c", PEAK, str(small), str(large)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        examples, grown = map(int, done.stdout.split())
        assert examples > 30_000
        assert grown < 16

    def test_path_and_size(self, tmp_path: Path) -> None:
        path = tmp_path / "a.jsonl"
        path.write_bytes(jsonl(chat()))
        assert validate_path(path, "supervised").bytes == path.stat().st_size
