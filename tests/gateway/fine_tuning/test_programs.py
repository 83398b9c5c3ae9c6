import pytest

from gateway.fine_tuning.programs import NoAnswer, answer_of

pytestmark = pytest.mark.anyio

ECHO = "json.tool"
"""Answers the JSON that it is asked, and fails on anything else."""


class TestAnswerOf:
    async def test_is_what_the_program_prints(self) -> None:
        assert await answer_of(ECHO, b"[]", seconds=60) == b"[]\n"

    async def test_failure_tells_its_last_words(self) -> None:
        with pytest.raises(NoAnswer, match=r"json\.tool failed: Expecting value"):
            await answer_of(ECHO, b"no JSON", seconds=60)

    async def test_one_that_takes_too_long_is_ended(self) -> None:
        with pytest.raises(NoAnswer, match="took more than 0 s"):
            await answer_of(ECHO, b"[]", seconds=0)

    async def test_one_that_cannot_be_started(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.executable", "/nowhere/python")
        with pytest.raises(NoAnswer, match="cannot be started"):
            await answer_of(ECHO, seconds=60)
