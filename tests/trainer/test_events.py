from pathlib import Path

import pytest

from trainer.contract import CheckpointSaved, Message, Metrics, decode_event
from trainer.events import EventLog


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def sequences(path: Path) -> list[int]:
    return [decode_event(line).sequence for line in path.read_bytes().splitlines()]


class TestEventLog:
    def test_counts_from_one(self, path: Path):
        with EventLog(path) as events:
            events.say("one")
            events.warn("two")
        assert sequences(path) == [1, 2]

    def test_a_line_is_in_the_file_at_once(self, path: Path):
        with EventLog(path) as events:
            events.fail("no")
            event = decode_event(path.read_bytes())
        assert isinstance(event, Message)
        assert (event.level, event.message) == ("error", "no")

    @pytest.mark.parametrize("tail", [b"", b'{"type":"mess', b'{"type":"message","seq\n', b"\0\0\0\0\n"])
    def test_goes_on_after_a_restart_and_drops_a_torn_line(self, path: Path, tail: bytes):
        with EventLog(path) as events:
            events.say("one")
        with path.open("ab") as file:
            file.write(tail)
        with EventLog(path) as events:
            events.say("two")
        assert sequences(path) == [1, 2]

    def test_knows_which_checkpoints_are_announced(self, path: Path):
        with EventLog(path) as events:
            events.append(CheckpointSaved, path="checkpoints/step-5", step=5, epoch=1, metrics=Metrics(step=5))
        with EventLog(path) as events:
            assert events.announced_checkpoints == {5}
