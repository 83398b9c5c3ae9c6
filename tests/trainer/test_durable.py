from pathlib import Path

from trainer.durable import write_atomically, write_once


class TestWriteAtomically:
    def test_replaces_and_leaves_no_draft(self, tmp_path: Path):
        path = tmp_path / "result.json"
        write_atomically(path, b"old")
        write_atomically(path, b"new")
        assert path.read_bytes() == b"new"
        assert list(tmp_path.iterdir()) == [path]


class TestWriteOnce:
    def test_the_first_process_wins_and_no_draft_stays(self, tmp_path: Path):
        path = tmp_path / "result.json"
        write_once(path, b"the reason", name="1")
        write_once(path, b"what followed from it", name="0")
        assert path.read_bytes() == b"the reason"
        assert list(tmp_path.iterdir()) == [path]
