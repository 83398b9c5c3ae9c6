"""What goes into the sandbox, and what its end means."""

import json

import pytest

from judges.ask import SandboxEnd
from judges.grade import GraderFailed
from judges.graders import Python
from judges.python_grader import read_end, request
from judges.sample import Sample

STARTED = b'{"started": true}\n'


class TestRequest:
    def test_sample_and_item_as_openais_guide_shows_them(self) -> None:
        body = json.loads(
            request(Python(name="p", source="s", image_tag="2025-05-08"), Sample.of_text("hi"), {"k": [1]})
        )
        assert (body["source"], body["image_tag"], body["item"]) == ("s", "2025-05-08", {"k": [1]})
        assert set(body["sample"]) == {"choices", "output_text", "output_json", "output_tools", "output_audio"}
        assert (body["sample"]["output_text"], body["sample"]["output_json"]) == ("hi", None)

    def test_json_of_the_sample(self) -> None:
        assert json.loads(request(Python(source="s"), Sample.of_text('{"a": 1}'), {}))["sample"]["output_json"] == {
            "a": 1
        }


class TestEnd:
    def test_a_reward(self) -> None:
        assert read_end(SandboxEnd(STARTED + b'{"reward": 0.5}', 0)) == 0.5
        assert read_end(SandboxEnd(STARTED + b'{"reward": -2}\n', 0)) == -2

    @pytest.mark.parametrize(
        ("end", "flag", "told"),
        [
            (SandboxEnd(), "python_grader_server_error", "could not be started"),
            (SandboxEnd(b"", 1), "python_grader_server_error", "did not start"),
            (SandboxEnd(b"docker: not found\n", 127), "python_grader_server_error", "did not start"),
            (SandboxEnd(b"", -9, "timeout"), "python_grader_server_error", "did not start"),
            (SandboxEnd(STARTED, -9, "timeout"), "unresponsive_reward_error", "longer than 120 seconds"),
            (SandboxEnd(STARTED + b"x" * 70_000, -9, "output"), "python_grader_runtime_error", "too much"),
            (SandboxEnd(STARTED, -9), "python_grader_runtime_error", "killed by signal 9"),
            (SandboxEnd(STARTED, 137), "python_grader_runtime_error", "exit status 137"),
            (SandboxEnd(STARTED + b'{"reward": ', 0), "python_grader_runtime_error", "without a result"),
            (SandboxEnd(STARTED + b'{"reward": 1}{"reward": 1}', 0), "python_grader_runtime_error", "without a result"),
            (SandboxEnd(STARTED + b'{"reward": "1"}', 0), "python_grader_runtime_error", "without a result"),
            (SandboxEnd(STARTED + b"{}", 0), "python_grader_runtime_error", "returned nothing"),
            (SandboxEnd(STARTED + b'{"error": "KeyError: 1"}', 0), "python_grader_runtime_error", "KeyError: 1"),
        ],
    )
    def test_no_reward(self, end: SandboxEnd, flag: str, told: str) -> None:
        with pytest.raises(GraderFailed) as error:
            read_end(end)
        assert error.value.failure.flag == flag
        assert told in error.value.failure.details
